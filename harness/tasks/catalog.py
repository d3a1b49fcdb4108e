"""What is known of public tasks before a row is read: `tasks.toml`, and how it describes a task."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from .task import Task


@dataclass(frozen=True)
class CatalogueEntry:
    """One public task; counts and `published` values are those of `source`.

    `positives` counts judgements, `safeguards` the queries of the shipped `reranking_hybrid` pool
    that have one. `published` maps profile -> measure -> value; its recall@100 is micro, and its
    `convention` is `binary` where every positive gains 1 in nDCG, whatever its grade. `dense` is
    the shipped dense list; `leakage` says what models have seen the task in training; `remarks` are
    facts to know when reading its figures. `query_language` is a regular expression whose group
    `language` finds the language in a query's id.
    """

    name: str
    hub: str
    split: str
    source: str
    language: str | None
    queries: int
    documents: int
    positives: int
    safeguards: int
    instruction: str
    published: Mapping[str, Mapping[str, float]]
    convention: str = ""
    dense: str | None = None
    leakage: str | None = None
    remarks: tuple[str, ...] = ()
    query_language: str | None = None
    exclude_identical: bool = False
    identical_by: str = "text"


@cache
def sets() -> Mapping[str, tuple[CatalogueEntry, ...]]:
    """Return set name -> its tasks, in the order of the data set."""
    text = Path(__file__).with_name("tasks.toml").read_text(encoding="utf-8")
    return {found["name"]: tuple(_entries(found)) for found in tomllib.loads(text)["set"]}


def catalogue() -> Mapping[str, CatalogueEntry]:
    """Return the tasks that are known by name (`NanoMMTEB-v2/belebele`), in catalogue order."""
    return {entry.name: entry for entries in sets().values() for entry in entries}


def _entries(found: Mapping[str, Any]) -> Iterator[CatalogueEntry]:
    shared = {key: found[key] for key in ("hub", "source", "dense", "convention")}
    for row in found["task"]:
        facts = {"split": row["name"], "language": None, **shared, **row}
        facts["name"] = f"{found['name']}/{row['name']}"
        facts["remarks"] = tuple(row.get("remarks", ()))
        facts["published"] = {
            profile: dict(zip(found["measures"], values, strict=True))
            for profile, values in row["published"].items()
        }
        yield CatalogueEntry(**facts)


def described(
    task: Task, entry: CatalogueEntry, *, exclude_identical: bool | None, qrels: str = "qrels"
) -> Task:
    """Return the task under its catalogue name, with what the catalogue knows of it.

    `exclude_identical` overrides the catalogue unless it is None. What is published is left out
    where the pools or judgements (`qrels`, the least grade) are others than those it was made with.
    """
    excluded = entry.exclude_identical if exclude_identical is None else exclude_identical
    usual = (excluded, task.min_grade, qrels) == (entry.exclude_identical, 1, "qrels")
    return replace(
        task,
        name=entry.name,
        language=entry.language,
        query_languages=query_languages(task, entry.query_language) or task.query_languages,
        instruction=entry.instruction,
        exclude_identical=excluded,
        identical_by=entry.identical_by,
        published=entry.published if usual else {},
        convention=entry.convention,
        dense=entry.dense,
    )


def query_languages(task: Task, pattern: str | None) -> Mapping[str, str]:
    """Return query id -> language for the ids that `pattern` matches, none without a pattern."""
    if pattern is None:
        return {}
    found = ((query_id, re.search(pattern, query_id)) for query_id in task.queries)
    return {query_id: match["language"] for query_id, match in found if match}
