"""The four files of a run folder: what stands in them, written and read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BadData
from .usage import Usage

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
"""The version of the layout; a manifest's `format`."""

_USAGE = tuple(f.name for f in fields(Usage))
_COUNT = "counts."
_ABOUT = ("language", "base", "query_chars", "pool_chars")
_RANKINGS = ("query_id", "doc_id", "score", "first_stage_rank", "is_safeguard")


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


def check_result(result: QueryResult, where: str) -> None:
    """Raise BadData if a ranking is no ranking: it would be measured wrongly, and silently."""
    documents = set(result.doc_ids)
    if len(documents) != len(result.doc_ids):
        raise BadData(f"{where}: query {result.query_id} ranks a document twice")
    if not len(result.doc_ids) == len(result.scores) == len(result.first_stage_ranks):
        raise BadData(f"{where}: query {result.query_id} has not one score and rank per document")
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
    rankings = _by_query(_read(folder / "rankings.parquet", _RANKINGS))
    judged = _by_query(_read(folder / "qrels.parquet", ("query_id", "doc_id", "grade")))
    spent = _read(folder / "usage.parquet", ("query_id", *_USAGE, "failed"))
    results = tuple(_result(row, rankings.get(row["query_id"], [])) for row in _rows(spent))
    for result in results:
        check_result(result, str(folder / "rankings.parquet"))
    qrels = {r.query_id: dict(judged.get(r.query_id, [])) for r in results}
    return Run(manifest, results, qrels)


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


def _rows(columns: Mapping[str, Sequence[Any]]) -> Iterable[dict[str, Any]]:
    return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _by_query(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[tuple[Any, ...]]]:
    """Group rows by their first column, which is dropped; a query's rows stand together."""
    rows = zip(*columns.values(), strict=True)
    return {query_id: [row[1:] for row in group] for query_id, group in groupby(rows, _first)}


def _first(row: tuple[Any, ...]) -> Any:
    return row[0]


def _read(file: Path, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns named, in that order, and whatever is counted beside them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file).read()
    except (OSError, pa.ArrowException) as error:
        raise _broken(file, error) from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise _broken(file, f"it has no column {missing[0]}")
    further = (n for n in table.column_names if n.startswith(_COUNT) or n in _ABOUT)
    names = [*columns, *further]
    return {name: table[name].to_pylist() for name in names}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a run's manifest; raises BadData where it is missing, broken or of another format."""
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError) as error:
        raise _broken(file, error) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("settings"), dict):
        raise _broken(file, "it holds no settings")
    if manifest.get("format") != FORMAT:
        raise _broken(
            file, f"its format is {manifest.get('format')!r}, this version reads {FORMAT}"
        )
    _check_settings(file, manifest["settings"])
    return manifest


def _check_settings(file: Path, settings: Mapping[str, Any]) -> None:
    """Raise BadData unless the settings name what every reader of a run needs."""
    for path in ("task", "profile.asked", "profile.resolved", "reranker.label"):
        value: Any = settings
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(value, str):
            raise _broken(file, f"its settings are not complete ({path})")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _broken(file: Path, why: object) -> BadData:
    told = " ".join(str(why).split())[:120]
    return BadData(f"cannot read {file}: {told}; remove that run's folder and run it again")
