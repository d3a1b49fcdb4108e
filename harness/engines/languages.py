"""Which language adapter of a model reads a text."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadOption, EngineFault
from ..tasks import TWO_LETTERS
from ..types import Failure, PairScore
from .checkpoint import Checkpoint, adapter_files
from .identity import packages
from .late import Encode
from .prepare import Answered, Prepared

DEFAULT = "default"
PAIR_LANGUAGES = ("document", "query")
_SAME = {"nb": "no"}
"""Codes of one language."""
_REGIONS = {"hans": "cn", "hant": "tw"}


@dataclass(frozen=True)
class Adapters:
    """The language adapters of a model.

    names: by language, as the model names them; none for a model that has none.
    fixed: the one that reads every text. default: the one for texts of no known language.
    places: where PEFT adapters are, by name; none for a model that brings its own (XMOD).
    pair_side: whose language chooses the adapter for a pair in one sequence: `document`, `query`.
    """

    names: tuple[str, ...] = ()
    fixed: str | None = None
    default: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    pair_side: str = PAIR_LANGUAGES[0]

    @property
    def identity(self) -> dict[str, str]:
        """What of a reply depends on the adapters, besides the languages of a request."""
        found = {"language": self.fixed, "pair_language": self.pair_side if self.names else None}
        files = {name: adapter_files(place) for name, place in self.places.items()}
        found["language_adapters"] = json.dumps(files, sort_keys=True) if files else None
        found["peft"] = packages(("peft",)) if files else None
        return {key: value for key, value in found.items() if value is not None}

    def refuse(self, model: str) -> None:
        """Raise EngineFault for adapters of a model that is more than one network."""
        if self.names:
            raise EngineFault(f"model {model} is more than one module: no language adapters for it")

    def of(self, language: str | None) -> str | None:
        """Return the adapter for texts in a language, None where there is none."""
        if self.fixed is not None or language is None:
            return self.fixed or self.default
        found = _nearest(language, self.names)
        return found or (DEFAULT if DEFAULT in self.places else None)

    def split(
        self, sequences: Iterable[Prepared]
    ) -> tuple[dict[str | None, list[Prepared]], list[Answered]]:
        """Return the sequences by the adapter that reads them, and failures for all others."""
        parts: dict[str | None, list[Prepared]] = {}
        refused: list[Answered] = []
        for one in sequences:
            side, text, language = self._read(one.request)
            adapter = self.of(language) if self.names else None
            if self.names and adapter is None:
                refused.append((one.index, self._refusal(f"the {side} {text[:40]!r}", language)))
            else:
                parts.setdefault(adapter, []).append(one)
        return parts, refused

    def _read(self, request: Any) -> tuple[str, str, str | None]:
        """Return what is read of a request by an adapter: its side, its text and its language."""
        if isinstance(request, Encode):
            return "text", request.text, request.language
        if not isinstance(request, PairScore):
            return "prompt of", type(request).__name__, None
        if self.pair_side == "query":
            return "query", request.query, request.query_language
        return "document", request.document, request.document_language

    def _refusal(self, what: str, language: str | None) -> Failure:
        known = "has no known language" if language is None else f"is in {language!r}"
        has = ", ".join(name for name in self.names if name != DEFAULT)
        stated = f", or add a {DEFAULT} adapter" if self.places else ""
        return Failure(
            f"{what} {known}, and the model has language adapters for {has}: set language= to the "
            f"one that is to read every text{stated}"
        )


def find_adapters(
    checkpoint: Checkpoint, *, language: str | None, folder: str | None, pair_side: str
) -> Adapters:
    """Return the language adapters of a checkpoint: an XMOD's own, or PEFT adapters.

    language: the one that reads every text. folder: of a folder with a PEFT adapter for each
    language, or a TOML file that maps each language to one.

    Raises BadOption for a language that there is no adapter for, or a model without any.
    """
    config, name = checkpoint.config, checkpoint.name
    if pair_side not in PAIR_LANGUAGES:
        raise BadOption(f"pair_language is {' or '.join(PAIR_LANGUAGES)}, not {pair_side}")
    own = config.model_type == "xmod"
    if own and folder is not None:
        raise BadOption(f"model {name} has its own adapters: leave out language_adapters")
    if not own and folder is None:
        if language is not None:
            raise BadOption(f"language={language}: model {name} has no language adapters")
        if pair_side != PAIR_LANGUAGES[0]:
            raise BadOption(f"pair_language={pair_side}: model {name} has no language adapters")
        return Adapters()
    places = {} if folder is None else _places(folder)
    names = tuple(config.languages) if own else tuple(places)
    default = config.default_language if own else (DEFAULT if DEFAULT in places else None)
    fixed = None if language is None else _nearest(language, names)
    if language is not None and fixed is None:
        raise BadOption(f"language={language}: model {name} has adapters for {', '.join(names)}")
    return Adapters(names, fixed, default, places, pair_side)


def _places(folder: str) -> dict[str, str]:
    """Return adapter by language, from a folder of folders or a TOML file."""
    path = Path(folder).expanduser()
    if path.suffix == ".toml":
        return _listed(path)
    found = {file.parent.name: str(file.parent) for file in path.glob("*/adapter_config.json")}
    if not found:
        raise BadOption(
            f"language_adapters={folder} holds no PEFT adapters: name a folder with a folder for "
            "each language (de/adapter_config.json), or a .toml file of language = 'adapter'"
        )
    return dict(sorted(found.items()))


def _listed(path: Path) -> dict[str, str]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadOption(f"language_adapters={path} cannot be read: {error}") from error
    wrong = [key for key, value in table.items() if not isinstance(value, str)]
    if wrong or not table:
        raise BadOption(f"language_adapters={path} maps no language to an adapter: {wrong}")
    beside = {key: path.parent / value for key, value in table.items()}
    return {key: str(beside[key]) if beside[key].is_dir() else table[key] for key in table}


def _nearest(language: str, names: Sequence[str]) -> str | None:
    """Return the first name of a language with its region or script, else the first of it."""
    wanted, where = _tag(language)
    same = [name for name in names if _tag(name)[0] == wanted]
    exact = [name for name in same if name == language]
    near = [name for name in same if _tag(name)[1] & where]
    return next(iter([*exact, *near, *same]), None)


def _tag(language: str) -> tuple[str, frozenset[str]]:
    """Return the ISO 639-1 code of a language, and what else a tag says: `zho_Hant` -> zh, tw."""
    first, *others = re.split("[-_]", language.lower())
    code = TWO_LETTERS.get(first, first)
    return _SAME.get(code, code), frozenset(_REGIONS.get(part, part) for part in others)
