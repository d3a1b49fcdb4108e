"""Describe public tasks by what `tasks.toml` says of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from .task import Task, TaskOptions


@dataclass(frozen=True)
class CatalogueEntry:
    """One public task.

    source: where counts and published values are taken from.
    positives: number of positive judgements.
    safeguards: number of queries with a safeguard in the shipped `reranking_hybrid` pool.
    published: profile -> measure -> value; its recall@100 is micro.
    convention: `binary` if every positive gains 1 in the published nDCG, whatever its grade.
    dense: config of the shipped dense list.
    leakage: which models have seen the task in training.
    remarks: facts to know when reading its values.
    query_language: regular expression whose group `language` is matched in query ids.
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
    """Return the tasks that have a name (`NanoMMTEB-v2/belebele`), in catalogue order."""
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


def described(task: Task, entry: CatalogueEntry, options: TaskOptions) -> Task:
    """Return the task under its catalogue name, with the facts of the catalogue.

    Published values are left out if the options change pools or judgements.
    """
    asked = options.exclude_identical
    excluded = entry.exclude_identical if asked is None else asked
    usual = (excluded, task.min_grade, options.qrels) == (entry.exclude_identical, 1, "qrels")
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
    """Return query id -> language for the ids that `pattern` matches, if there is a pattern."""
    if pattern is None:
        return {}
    found = ((query_id, re.search(pattern, query_id)) for query_id in task.queries)
    return {query_id: match["language"] for query_id, match in found if match}
