"""Describe public tasks by what the TOML files next to this one say of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from .task import QRELS, Task, TaskOptions

HAKARI_CORE = "hakari-core"
"""The tasks that HAKARI-Bench's audit finds suited to rerankers, under one name."""

MTEB = "mteb:"
"""Prefix of the names of MTEB's tasks."""

MTEB_KINDS = {
    "nDCG": "ndcg",
    "MAP": "map",
    "recall": "recall",
    "precision": "precision",
    "MRR": "mrr",
    "hit": "hit_rate",
}
"""Our name of a measure, without its cut-off -> that of MTEB."""

_HAKARI = "github.com/hakari-bench/hakari-bench, task_docs/metadata/{}/*.json (commit 217c872)"


@dataclass(frozen=True)
class CatalogueEntry:
    """One public task.

    source: where counts and published values are taken from.
    revision: the commit that is read unless another is asked for.
    positives: number of positive judgements.
    safeguards: number of queries with a safeguard in the shipped `reranking_hybrid` pool.
    published: profile -> measure -> value; its recall@100 is micro.
    convention: `binary` if every positive gains 1 in the published nDCG, whatever its grade.
    main_measure: the measure that the task's makers report.
    suited: HAKARI-Bench's verdict for rerankers: Core, Extended, Specialized or No; empty without.
    licence: of the source data; empty if it is not known.
    dense: config of the shipped dense list.
    leakage: which models have seen the task in training.
    remarks: facts to know when reading its values.
    query_language: regular expression whose group `language` is matched in query ids.
    """

    name: str
    hub: str
    split: str
    source: str
    language: str | None = None
    queries: int | None = None
    documents: int | None = None
    positives: int | None = None
    safeguards: int | None = None
    instruction: str | None = None
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    revision: str | None = None
    convention: str = ""
    main_measure: str = "nDCG@10"
    suited: str = ""
    licence: str = ""
    dense: str | None = None
    leakage: str | None = None
    remarks: tuple[str, ...] = ()
    query_language: str | None = None
    exclude_identical: bool = False
    identical_by: str = "text"

    @property
    def is_mteb(self) -> bool:
        """Whether its files are read as MTEB reads them."""
        return self.name.startswith(MTEB)


@cache
def sets() -> Mapping[str, tuple[CatalogueEntry, ...]]:
    """Return set name -> its tasks, in the order of the data set."""
    found = {own["name"]: tuple(_entries(own)) for own in _facts("tasks.toml")["set"]}
    hakari, mteb = _facts("hakari.toml"), _facts("mteb.toml")
    for own in hakari["set"]:
        found[own["name"]] = tuple(_hakari(own["name"], hakari["columns"], own["tasks"]))
    rows = (dict(zip(mteb["columns"], row, strict=True)) for row in mteb["tasks"])
    return {**found, **{f"{MTEB}{row['name']}": (_of_mteb(row),) for row in rows}}


def catalogue() -> Mapping[str, CatalogueEntry]:
    """Return the tasks that have a name (`NanoMMTEB-v2/belebele`), in catalogue order."""
    return {entry.name: entry for entries in sets().values() for entry in entries}


def collections() -> Mapping[str, tuple[CatalogueEntry, ...]]:
    """Return name -> tasks of several data sets."""
    return {HAKARI_CORE: tuple(e for e in catalogue().values() if e.suited == "Core")}


def _facts(name: str) -> Mapping[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _entries(found: Mapping[str, Any]) -> Iterator[CatalogueEntry]:
    shared = {key: found[key] for key in ("hub", "source", "dense", "convention")}
    for row in found["task"]:
        facts = {"split": row["name"], **shared, **row}
        facts["name"] = f"{found['name']}/{row['name']}"
        facts["remarks"] = tuple(row.get("remarks", ()))
        facts["published"] = {
            profile: dict(zip(_MEASURES, values, strict=True))
            for profile, values in row["published"].items()
        }
        yield CatalogueEntry(**facts)


_MEASURES = ("nDCG@10", "hit@10", "recall@100")
_PROFILES = ("bm25", "harrier_oss_v1_270m", "reranking_hybrid")


def _hakari(
    name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Iterator[CatalogueEntry]:
    """Yield the tasks of one of HAKARI-Bench's data sets, of which each row is one."""
    group = "MNanoBEIR" if name.startswith("NanoBEIR-") else name
    for row in rows:
        facts = dict(zip(columns, row, strict=True))
        # a row may lack the recall
        published = {p: dict(zip(_MEASURES, facts.pop(p), strict=False)) for p in _PROFILES}
        facts["split"] = facts["split"] or facts["name"]
        facts["language"] = facts["language"] or None
        facts["name"] = f"{name}/{facts['name']}"
        yield CatalogueEntry(
            hub=f"hakari-bench/{name}",
            source=_HAKARI.format(group),
            published=published,
            dense="harrier_oss_v1_270m",
            convention="binary",
            **facts,
        )


def _of_mteb(row: Mapping[str, Any]) -> CatalogueEntry:
    name = f"{MTEB}{row['name']}/{row['split']}"
    source = "github.com/embeddings-benchmark/mteb 2.26.24"
    return CatalogueEntry(**{**row, "name": name, "source": source, "identical_by": "id"})


def with_catalogue_facts(task: Task, entry: CatalogueEntry, options: TaskOptions) -> Task:
    """Return the task under its catalogue name, with the facts of the catalogue.

    Published values are left out if the options change pools or judgements.
    """
    asked = options.exclude_identical
    excluded = entry.exclude_identical if asked is None else asked
    usual = (excluded, task.min_grade, options.judgements) == (entry.exclude_identical, 1, QRELS)
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
        main_measure=entry.main_measure,
        main_score=_mteb_score(entry.main_measure) if entry.is_mteb else None,
    )


def _mteb_score(measure: str) -> str:
    kind, _, cut = measure.partition("@")
    return f"{MTEB_KINDS[kind]}_at_{cut}"


def query_languages(task: Task, pattern: str | None) -> Mapping[str, str]:
    """Return query id -> language for the ids that `pattern` matches, if there is a pattern."""
    if pattern is None:
        return {}
    found = ((query_id, re.search(pattern, query_id)) for query_id in task.queries)
    return {query_id: match["language"] for query_id, match in found if match}
