"""Choose rerankers of the catalogue by what they need and may be used for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..engines import NO_ENGINE, could_answer, engine_class
from ..errors import BadOption, unknown
from ..reranking import GIB, Declared, Defaults, Entry, build, catalogue, methods

ANY_MODEL = Defaults(model="any")
"""Builds a method that names no model, without opening one."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:GB|GiB)?", re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True)
class RerankerFilter:
    """What a listed reranker must meet; None for anything.

    kinds: methods.
    engine: one that answers its requests and is not known to lack the model; whether it can open
        the model shows when it does.
    licence: the beginning of the licence's name, in any case.
    language: a code such as `en`.
    fits: bytes of memory.
    """

    kinds: Sequence[str] = ()
    engine: str | None = None
    licence: str | None = None
    language: str | None = None
    fits: float | None = None

    @classmethod
    def of(cls, flags: Mapping[str, Any]) -> RerankerFilter:
        """Read the flags of `list rerankers`; UnknownName or BadOption for one that is wrong."""
        for kind in flags["kind"]:
            if kind not in methods():
                raise unknown("kind of reranker", kind, methods())
        if flags["engine"] is not None:
            engine_class(flags["engine"])
        language = flags["language"]
        if language is not None and not _LANGUAGE.fullmatch(language):
            raise BadOption(f"--language takes a code such as en, not {language!r}")
        size = None if flags["fits"] is None else memory_bytes(flags["fits"])
        return cls(flags["kind"], flags["engine"], flags["licence"], language, size)

    def matches(self, entry: Entry) -> bool:
        """Return whether an entry meets all; a fact that an entry does not state is not met."""
        return (
            (not self.kinds or entry.method in self.kinds)
            and entry.licence.casefold().startswith((self.licence or "").casefold())
            and (self.language is None or entry.reads(self.language))
            and (self.fits is None or (entry.memory is not None and entry.memory <= self.fits))
            and (self.engine is None or answered_by(entry, self.engine))
        )


def memory_bytes(text: str) -> float:
    """Return the bytes of a GPU's memory, such as `24GB`; BadOption for another form."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadOption(f"--fits takes a memory such as 24GB, not {text!r}")
    return float(match[1]) * GIB


def request_kinds(entry: Entry) -> frozenset[type] | None:
    """Return the request types that a reranker may yield, None where it does not say."""
    return Declared.of(build(entry.name, {}, ANY_MODEL).reranker).asks


def answered_by(entry: Entry, engine: str) -> bool:
    """Return whether an engine answers all that a reranker is known to ask."""
    kinds = request_kinds(entry)
    known = not entry.engines or engine in entry.engines or not engine_class(engine).is_real
    if kinds is None or not known:
        return False
    return not kinds or (engine != NO_ENGINE.name and could_answer(engine, kinds))


def records(wanted: RerankerFilter | None) -> Iterator[Mapping[str, Any]]:
    """Yield what is printed of each method and named reranker that is `wanted`."""
    for name in sorted(methods()):
        if wanted is None or wanted.matches(Entry(name, method=name)):
            yield {"reranker": name, "method": name, "model": "", "licence": "", "paper": ""}
    for name, entry in sorted(catalogue().items()):
        if wanted is None or wanted.matches(entry):
            yield {
                "reranker": name,
                "method": entry.method,
                "model": entry.model or "",
                "licence": entry.licence,
                "paper": entry.paper,
                "context": entry.context,
                "billions": entry.parameters,
                "languages": entry.languages,
            }
