"""Named rerankers: the entries of every installed `catalog.toml`."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata, resources
from typing import Any

from ..errors import BadData, unknown
from .shapes import WIDTH

CATALOGS = "rerank_bench.catalogs"
MANY = "many"
"""What `languages` holds for a model of more languages than its entry names."""


@dataclass(frozen=True)
class Entry:
    """A named reranker.

    revision: the hub commit of the model that the entry describes. A run loads the newest one, or
        what the option `revision` says, and records it.
    url: where the model is. code: the official code of the method.
    notes: what was verified, where, and what is only claimed.
    context: the most tokens that its model reads and writes.
    parameters: those of the model and its adapter, in billions; None where not known.
    engines: of the engines here the only ones that can run the model; none means any that answers
        its requests.
    languages: codes such as `en` of those that its makers name or evaluate it in, or `many`, or
        `not stated`.
    """

    name: str
    method: str
    model: str | None = None
    revision: str | None = None
    paper: str = ""
    url: str = ""
    code: str = ""
    licence: str = ""
    notes: str = ""
    context: int | None = None
    parameters: float | None = None
    engines: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def memory(self) -> float | None:
        """Bytes of the weights in 16 bits and a fifth more; None where their number is not known.

        The fifth is for activations and the keys and values of a few requests.
        """
        return None if self.parameters is None else self.parameters * 1e9 * WIDTH * 1.2

    def reads(self, language: str) -> bool:
        """Return whether it is known to rerank texts in the language of this code."""
        return language in self.languages or MANY in self.languages


@functools.cache
def catalogue() -> Mapping[str, Entry]:
    """Every named reranker of the installed catalogues. BadData for one that is broken."""
    entries: dict[str, Entry] = {}
    for point in sorted(metadata.entry_points(group=CATALOGS), key=lambda e: e.name):
        text = (resources.files(point.value) / "catalog.toml").read_text(encoding="utf-8")
        for name, table in tomllib.loads(text).items():
            entries[name] = _entry(name, table)
    return entries


def _entry(name: str, table: Mapping[str, Any]) -> Entry:
    known = {f.name for f in fields(Entry)} - {"name"}
    for key in table:
        if key not in known:
            raise unknown(f"key in catalogue entry {name}:", key, known)
    if "method" not in table:
        raise BadData(f"catalogue entry {name} names no method")
    lists = {key: tuple(table.get(key, ())) for key in ("engines", "languages")}
    return Entry(name, **{**table, **lists})
