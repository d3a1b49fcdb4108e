"""Write the four files of a run folder and read them back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadData
from ..reranking import Usage
from .manifest import broken, read_manifest

if TYPE_CHECKING:
    import pyarrow as pa

_USAGE = tuple(f.name for f in fields(Usage))
_COUNT = "counts."
_ABOUT = {"language": "string", "base": "string", "query_chars": "int64", "pool_chars": "int64"}
_RANKINGS = {
    "query_id": "string", "rank": "int64", "doc_id": "string", "score": "float64",
    "first_stage_rank": "int64", "is_safeguard": "bool",
}  # fmt: skip
_JUDGED = {"query_id": "string", "doc_id": "string", "grade": "int64"}
_SPENT = {
    "query_id": "string", **dict.fromkeys(_USAGE, "int64"), "seconds": "float64",
    "failed": "string",
}  # fmt: skip
_OPTIONAL = {"score", "failed", *_ABOUT}


@dataclass(frozen=True, slots=True)
class QueryResult:
    """One query's finished ranking and what it cost.

    doc_ids: best first, the safeguard included. scores: None where a document was not reranked.
    first_stage_ranks: each document's rank in the pool, from 1. failed: the reason, None if served.
    language and base: the query's own, where known; versions of one question have equal bases.
    query_chars, pool_chars: the length of the query and the mean length of its candidates, uncut.
    """

    query_id: str
    doc_ids: tuple[str, ...]
    scores: tuple[float | None, ...]
    first_stage_ranks: tuple[int, ...]
    safeguard: str | None = None
    failed: str | None = None
    usage: Usage = field(default_factory=Usage)
    counts: Mapping[str, int] = field(default_factory=dict)
    language: str | None = None
    base: str | None = None
    query_chars: int | None = None
    pool_chars: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Results in task order; `qrels` holds grades by query id and document id."""

    manifest: Mapping[str, Any]
    results: tuple[QueryResult, ...]
    qrels: Mapping[str, Mapping[str, int]]

    @property
    def min_grade(self) -> int:
        """The least grade that counts as positive, at least 1."""
        return max(self.manifest["settings"].get("min_grade") or 1, 1)


def check_result(result: QueryResult, where: str) -> None:
    """Raise BadData if a ranking is no ranking: it would be measured wrongly, and silently."""
    documents = set(result.doc_ids)
    if len(documents) != len(result.doc_ids):
        raise BadData(f"{where}: query {result.query_id} ranks a document twice")
    ranks = set(result.first_stage_ranks)
    if not len(result.doc_ids) == len(result.scores) == len(ranks):
        raise BadData(
            f"{where}: query {result.query_id} has not one score and first-stage rank per document"
        )
    if result.safeguard is not None and result.safeguard not in documents:
        raise BadData(f"{where}: query {result.query_id} does not rank its safeguard")


def write_files(folder: Path, run: Run) -> None:
    """Write the four files of `run` into the existing `folder`; raises OSError."""
    import pyarrow.parquet as pq

    tables = {"rankings": _rankings(run), "usage": _usage(run), "qrels": _qrels(run)}
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    text = json.dumps(run.manifest, indent=2, ensure_ascii=False, default=dict)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def _rankings(run: Run) -> pa.Table:
    import pyarrow as pa

    rows = [(r, place) for r in run.results for place in range(len(r.doc_ids))]
    return pa.table(
        {
            "query_id": pa.array([r.query_id for r, _ in rows], pa.string()),
            "doc_id": pa.array([r.doc_ids[i] for r, i in rows], pa.string()),
            "rank": pa.array([i + 1 for _, i in rows], pa.int32()),
            "score": pa.array([r.scores[i] for r, i in rows], pa.float64()),
            "first_stage_rank": pa.array([r.first_stage_ranks[i] for r, i in rows], pa.int32()),
            "is_safeguard": pa.array([r.doc_ids[i] == r.safeguard for r, i in rows], pa.bool_()),
            "failed": pa.array([r.failed is not None for r, _ in rows], pa.bool_()),
        }
    )


def _usage(run: Run) -> pa.Table:
    import pyarrow as pa

    def spent(name: str) -> pa.Array:
        kind = pa.float64() if name == "seconds" else pa.int64()
        return pa.array([getattr(r.usage, name) for r in run.results], kind)

    def counted(name: str) -> pa.Array:
        return pa.array([r.counts.get(name) for r in run.results], pa.int64())

    def about(name: str) -> pa.Array:
        kind = pa.int64() if name.endswith("chars") else pa.string()
        return pa.array([getattr(r, name) for r in run.results], kind)

    counts = sorted({name for r in run.results for name in r.counts})
    return pa.table(
        {
            "query_id": pa.array([r.query_id for r in run.results], pa.string()),
            **{name: spent(name) for name in _USAGE},
            **{_COUNT + name: counted(name) for name in counts},
            "failed": pa.array([r.failed for r in run.results], pa.string()),
            **{name: about(name) for name in _ABOUT},
        }
    )


def _qrels(run: Run) -> pa.Table:
    import pyarrow as pa

    rows = [(r.query_id, *j) for r in run.results for j in run.qrels.get(r.query_id, {}).items()]
    return pa.table(
        {
            "query_id": pa.array([query_id for query_id, _, _ in rows], pa.string()),
            "doc_id": pa.array([doc_id for _, doc_id, _ in rows], pa.string()),
            "grade": pa.array([grade for _, _, grade in rows], pa.int32()),
        }
    )


def read_files(folder: Path) -> Run:
    """Read the four files back; raises BadData, naming the file, where one is missing or broken."""
    manifest = read_manifest(folder)
    ranked, judged, spent = (folder / f"{n}.parquet" for n in ("rankings", "qrels", "usage"))
    rankings = {q: _ranking(ranked, q, rows) for q, rows in _by_query(ranked, _RANKINGS).items()}
    grades = {q: _once(judged, q, rows) for q, rows in _by_query(judged, _JUDGED).items()}
    rows = _rows(_read(spent, _SPENT))
    results = {row["query_id"]: _result(row, rankings.pop(row["query_id"], [])) for row in rows}
    if len(results) < len(rows):
        raise broken(spent, "it holds a query twice")
    if rankings:
        raise broken(ranked, f"query {next(iter(rankings))} is not in usage.parquet")
    for result in results.values():
        if result.pool_chars is not None and not result.doc_ids:
            raise broken(ranked, f"query {result.query_id} had candidates but has no ranking")
        check_result(result, str(ranked))
    qrels = {query_id: grades.get(query_id, {}) for query_id in results}
    return Run(manifest, tuple(results.values()), qrels)


def _ranking(file: Path, query_id: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows as they rank, which need not be how they stand in the file; without their ranks."""
    rows.sort(key=itemgetter(0))
    if [row[0] for row in rows] != list(range(1, len(rows) + 1)):
        raise broken(file, f"the ranks of query {query_id} are not 1 to {len(rows)}")
    return [row[1:] for row in rows]


def _once(file: Path, query_id: str, rows: Sequence[tuple[Any, ...]]) -> dict[str, int]:
    grades = dict(rows)
    if len(grades) < len(rows):
        raise broken(file, f"query {query_id} has two grades for a document")
    return grades


def _result(spent: Mapping[str, Any], ranking: Sequence[tuple[Any, ...]]) -> QueryResult:
    counts = {k.removeprefix(_COUNT): v for k, v in spent.items() if k.startswith(_COUNT)}
    return QueryResult(
        query_id=spent["query_id"],
        doc_ids=tuple(row[0] for row in ranking),
        scores=tuple(row[1] for row in ranking),
        first_stage_ranks=tuple(row[2] for row in ranking),
        safeguard=next((row[0] for row in ranking if row[3]), None),
        failed=spent["failed"],
        usage=Usage(*(spent[name] for name in _USAGE)),
        counts={name: count for name, count in counts.items() if count is not None},
        **{name: spent.get(name) for name in _ABOUT},
    )


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _by_query(file: Path, columns: Mapping[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    """Group a file's rows by their first column, which is dropped."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    rows = zip(*_read(file, columns).values(), strict=True)
    for query_id, group in groupby(rows, itemgetter(0)):
        found.setdefault(query_id, []).extend(row[1:] for row in group)
    return found


def _read(file: Path, columns: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the named columns, cast to their types, and the optional columns of a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file).read()
        names = set(table.column_names)
        counts = {name: "int64" for name in table.column_names if name.startswith(_COUNT)}
        about = {name: kind for name, kind in _ABOUT.items() if name in names}
        kinds = {**columns, **about, **counts}
        read = {n: table[n].cast(kind).to_pylist() for n, kind in kinds.items() if n in names}
    except (OSError, pa.ArrowException) as error:
        raise broken(file, error) from error
    for name in columns:
        if name not in read:
            raise broken(file, f"it has no column {name}")
        if name not in _OPTIONAL and None in read[name]:
            raise broken(file, f"a row has no {name}")
    return read
