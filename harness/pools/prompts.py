"""What is written before the queries and the documents that an encoder encodes.

An explicit text comes first, then what the checkpoint saves (`config_sentence_transformers.json`),
then what its authors publish (`prompts.toml`). A model without any of them is given the bare texts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..engines import ModelPlace, small_json
from ..errors import BadOption, EngineFault
from .pool import PoolOptions, Sent

_SAVED = "config_sentence_transformers.json"
_QUERY_NAMES = ("query", "retrieval.query", "search.query", "web.search.query", "s2p.query")
_DOCUMENT_NAMES = (
    "document", "passage", "corpus", "retrieval.passage", "retrieval.document", "search.document",
)  # fmt: skip
"""Names that checkpoints give to their prompts for search, the usual first; `-` and `_` count as a
dot, and upper and lower case are the same."""
_DOCUMENT_WORDS = ("doc", "passage", "corpus")


@dataclass(frozen=True, slots=True)
class Saved:
    """The prompts that a checkpoint saves, without empty ones, and the name of its default."""

    texts: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None


def prompts_of(place: ModelPlace, options: PoolOptions) -> tuple[Sent, Sent]:
    """Return what is written before a query and before a document, each with where it is from.

    Raises BadOption for a prompt name that the model does not have, EngineFault for a saved file
    that cannot be read.
    """
    saved, known = saved_prompts(place), _family(place)
    names = tuple(filter(None, (known.get("query_name"), *_QUERY_NAMES)))
    query = _named(place, saved, options) or _own(saved, names, others=_DOCUMENT_NAMES)
    document = _own(saved, _DOCUMENT_NAMES, others=names)
    if options.query_prompt is not None:
        query = Sent(options.query_prompt, "--query-prompt")
    if options.doc_prompt is not None:
        document = Sent(options.doc_prompt, "--doc-prompt")
    query = query or _published(known, "query")
    document = document or _published(known, "document")
    others = [name for name in saved.texts if any(w in name.lower() for w in _DOCUMENT_WORDS)]
    if query is None and saved.texts.keys() - others:
        raise _unclear(place, saved, "queries", "--query-prompt-name NAME, or --query-prompt TEXT")
    if document is None and others:
        raise _unclear(place, saved, "documents", "--doc-prompt TEXT")
    return query or Sent("", ""), document or Sent("", "")


def _named(place: ModelPlace, saved: Saved, options: PoolOptions) -> Sent | None:
    """Return the saved prompt that was asked for by name; an explicit text makes it needless."""
    name = options.query_prompt_name
    if name is None or options.query_prompt is not None:
        return None
    if name not in saved.texts:
        has = ", ".join(sorted(saved.texts)) or "none"
        raise BadOption(f"model {place.name} has no prompt {name!r}; it has: {has}")
    return _from(saved, name)


def _own(saved: Saved, names: tuple[str, ...], *, others: tuple[str, ...]) -> Sent | None:
    """Return the saved prompt for one side: by its name, or else the model's default."""
    found = {_plain(name): name for name in reversed(list(saved.texts))}
    default = _plain(saved.default or "")
    wanted = [*map(_plain, names), *([] if default in others else [default])]
    name = next((found[name] for name in wanted if name in found), None)
    return None if name is None else _from(saved, name)


def _plain(name: str) -> str:
    return name.lower().replace("_", ".").replace("-", ".")


def _unclear(place: ModelPlace, saved: Saved, texts: str, cure: str) -> BadOption:
    return BadOption(
        f"model {place.name} saves the prompts {', '.join(sorted(saved.texts))}, and none is known "
        f"to be for {texts}; give {cure} ('' for none)"
    )


def _from(saved: Saved, name: str) -> Sent:
    return Sent(saved.texts[name], f"the checkpoint's prompt {name!r}")


def _published(known: Mapping[str, Any], side: str) -> Sent | None:
    return Sent(known[side], known["source"]) if side in known else None


def _family(place: ModelPlace) -> Mapping[str, Any]:
    """Return the row of `prompts.toml` for a model: by the last part of its id or folder.

    Not by the base model that its config names: what was fine-tuned may expect something else.
    """
    names = {_last(text) for text in (place.name, place.source)}
    return next((row for row in _families() if not names.isdisjoint(row["names"])), {})


def _last(text: str) -> str:
    """Return `e5-small` of `intfloat/e5-small` and of its folder in the hub's cache."""
    parts = Path(text).parts
    if len(parts) > 2 and parts[-2] == "snapshots":
        return parts[-3].rpartition("--")[2].lower()
    return Path(text).name.lower()


@cache
def _families() -> list[dict[str, Any]]:
    text = Path(__file__).with_name("prompts.toml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = tomllib.loads(text)["family"]
    return rows


def saved_prompts(place: ModelPlace) -> Saved:
    """Read a checkpoint's prompts without loading it; none where it saves none."""
    try:
        told = small_json(place, _SAVED)
        if told is None:
            return Saved()
        texts = {name: text for name, text in (told.get("prompts") or {}).items() if text}
        if not all(isinstance(text, str) for text in texts.values()):
            raise TypeError("a prompt is no text")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise EngineFault(f"model {place.name}: {_SAVED} cannot be read: {error}") from error
    # sentence-transformers saves empty prompts for models that were trained without any
    return Saved(texts, told.get("default_prompt_name"))
