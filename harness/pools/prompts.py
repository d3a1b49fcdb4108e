"""Find the prompts that an encoder expects before queries and before documents.

Each is the first of: a text of the user, what the checkpoint saves
(`config_sentence_transformers.json`), what its authors publish (`prompts.toml`), and nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..engines import ModelLocation, read_json
from ..errors import BadOption, EngineFault
from .pool import EncoderPrompt, PoolOptions

_SAVED = "config_sentence_transformers.json"
_QUERY_NAMES = ("query", "retrieval.query", "search.query", "web.search.query", "s2p.query")
_DOCUMENT_NAMES = (
    "document", "passage", "corpus", "retrieval.passage", "retrieval.document", "search.document",
)  # fmt: skip
"""Names that checkpoints give to their prompts for search, the usual first, as `_plain` writes."""
_DOCUMENT_WORDS = ("doc", "passage", "corpus")


@dataclass(frozen=True, slots=True)
class SavedPrompts:
    """The prompts that a checkpoint saves, without empty ones, and the name of its default."""

    texts: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    def get(self, name: str) -> EncoderPrompt:
        """Return the prompt of this name."""
        return EncoderPrompt(self.texts[name], f"the checkpoint's prompt {name!r}")

    def find(self, names: tuple[str, ...], *, others: tuple[str, ...]) -> EncoderPrompt | None:
        """Return the prompt with the first of `names`, or else the default if not in `others`."""
        found = {_plain(name): name for name in reversed(list(self.texts))}
        default = _plain(self.default or "")
        wanted = [*map(_plain, names), *([] if default in others else [default])]
        name = next((found[name] for name in wanted if name in found), None)
        return None if name is None else self.get(name)


def _plain(name: str) -> str:
    """Return a name in lower case with dots for `_` and `-`."""
    return name.lower().replace("_", ".").replace("-", ".")


def prompts_of(place: ModelLocation, options: PoolOptions) -> tuple[EncoderPrompt, EncoderPrompt]:
    """Return the prompt before a query and the prompt before a document.

    Raises BadOption for a prompt name that the model does not have, and for saved prompts whose use
    is unknown; EngineFault for a saved file that cannot be read.
    """
    saved, published = saved_prompts(place), _published(place)
    names = tuple(filter(None, (published.get("query_name"), *_QUERY_NAMES)))
    query = saved.find(names, others=_DOCUMENT_NAMES) or _of_authors(published, "query")
    document = saved.find(_DOCUMENT_NAMES, others=names) or _of_authors(published, "document")
    if options.query_prompt is not None:
        query = EncoderPrompt(options.query_prompt, "--query-prompt")
    elif options.query_prompt_name is not None:
        query = _named(place, saved, options.query_prompt_name)
    if options.doc_prompt is not None:
        document = EncoderPrompt(options.doc_prompt, "--doc-prompt")
    others = [name for name in saved.texts if any(w in name.lower() for w in _DOCUMENT_WORDS)]
    if query is None and saved.texts.keys() - others:
        raise _unclear(place, saved, "queries", "--query-prompt-name NAME, or --query-prompt TEXT")
    if document is None and others:
        raise _unclear(place, saved, "documents", "--doc-prompt TEXT")
    return query or EncoderPrompt("", ""), document or EncoderPrompt("", "")


def _unclear(place: ModelLocation, saved: SavedPrompts, texts: str, cure: str) -> BadOption:
    has = ", ".join(sorted(saved.texts))
    what = f"model {place.name} saves the prompts {has}, and none is known to be for {texts}"
    return BadOption(f"{what}; give {cure} ('' for none)")


def _named(place: ModelLocation, saved: SavedPrompts, name: str) -> EncoderPrompt:
    if name not in saved.texts:
        has = ", ".join(sorted(saved.texts)) or "none"
        raise BadOption(f"model {place.name} has no prompt {name!r}; it has: {has}")
    return saved.get(name)


def _of_authors(published: Mapping[str, Any], side: str) -> EncoderPrompt | None:
    return EncoderPrompt(published[side], published["source"]) if side in published else None


def _published(place: ModelLocation) -> Mapping[str, Any]:
    """Return the row of `prompts.toml` for a model, found by the last part of its id or folder.

    The base model in its config is not used: a fine-tuned model may expect another prompt.
    """
    names = {_last(text) for text in (place.name, place.source)}
    return next((row for row in families() if not names.isdisjoint(row["names"])), {})


def _last(text: str) -> str:
    """Return `e5-small` for `intfloat/e5-small` and for its folder in the hub's cache."""
    parts = Path(text).parts
    if len(parts) > 2 and parts[-2] == "snapshots":
        return parts[-3].rpartition("--")[2].lower()
    return Path(text).name.lower()


@cache
def families() -> list[dict[str, Any]]:
    """Return the rows of `prompts.toml`."""
    text = Path(__file__).with_name("prompts.toml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = tomllib.loads(text)["family"]
    return rows


def saved_prompts(place: ModelLocation) -> SavedPrompts:
    """Read the prompts that a checkpoint saves, without loading the model."""
    try:
        config = read_json(place, _SAVED)
        if config is None:
            return SavedPrompts()
        # sentence-transformers saves empty prompts for models that were trained without any
        texts = {name: text for name, text in (config.get("prompts") or {}).items() if text}
        if not all(isinstance(text, str) for text in texts.values()):
            raise TypeError("a prompt is not a string")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise EngineFault(f"model {place.name}: {_SAVED} cannot be read: {error}") from error
    return SavedPrompts(texts, config.get("default_prompt_name"))
