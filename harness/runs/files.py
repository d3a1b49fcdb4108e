"""Write the four files of a run folder and read them back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import compress, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ..reranking import Usage
from .manifest import broken, read_manifest
from .results import QueryResult, Run, check_result

_RANKINGS = {
    "query_id": "string", "rank": "int32", "doc_id": "string", "score": "float64",
    "first_stage_rank": "int32", "is_safeguard": "bool",
}  # fmt: skip
_JUDGED = {"query_id": "string", "doc_id": "string", "grade": "int32"}
_USAGE = {f.name: "int64" for f in fields(Usage)} | {"seconds": "float64"}
_SPENT = {"query_id": "string", **_USAGE, "failed": "string"}
_COUNT = "counts."
_ABOUT = {"language": "string", "base": "string", "query_chars": "int64", "pool_chars": "int64"}
_FIRST_STAGE = {"first_stage_score": "float64"}
_OPTIONAL = {"score", "failed", *_ABOUT, *_FIRST_STAGE}


def write_files(folder: Path, run: Run) -> None:
    """Write the four files of `run` into the existing `folder`; raises OSError."""
    counts = {_COUNT + name: "int64" for r in run.results for name in r.counts}
    spent = _SPENT | dict(sorted(counts.items())) | _ABOUT
    rankings = [row for result in run.results for row in _ranking_rows(result)]
    columns = {**_RANKINGS, "failed": "bool", **_FIRST_STAGE}
    _write(folder / "rankings.parquet", columns, rankings)
    _write(folder / "usage.parquet", spent, [_usage_row(result) for result in run.results])
    qrels = [
        {"query_id": r.query_id, "doc_id": doc_id, "grade": grade}
        for r in run.results
        for doc_id, grade in run.qrels.get(r.query_id, {}).items()
    ]
    _write(folder / "qrels.parquet", _JUDGED, qrels)
    text = json.dumps(run.manifest, indent=2, ensure_ascii=False, default=dict)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def _ranking_rows(result: QueryResult) -> Iterable[dict[str, Any]]:
    known = result.first_stage_scores or (None,) * len(result.doc_ids)
    ranking = zip(result.doc_ids, result.scores, result.first_stage_ranks, known, strict=True)
    for rank, (doc_id, score, first_stage_rank, of_pool) in enumerate(ranking, start=1):
        yield {
            "query_id": result.query_id,
            "rank": rank,
            "doc_id": doc_id,
            "score": score,
            "first_stage_rank": first_stage_rank,
            "is_safeguard": doc_id == result.safeguard,
            "failed": result.failed is not None,
            "first_stage_score": of_pool,
        }


def _usage_row(result: QueryResult) -> dict[str, Any]:
    return {
        "query_id": result.query_id,
        **asdict(result.usage),
        "failed": result.failed,
        **{_COUNT + name: count for name, count in result.counts.items()},
        **{name: getattr(result, name) for name in _ABOUT},
    }


def _write(file: Path, kinds: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: pa.array([row.get(name) for row in rows], k) for name, k in kinds.items()}
    pq.write_table(pa.table(columns), file, compression="zstd")


def read_run(folder: Path) -> Run:
    """Read a run; raise BadData, naming the file, where one is missing or broken.

    The order of queries is the task's; the judgements are those of the run's queries.
    """
    manifest = read_manifest(folder)
    ranked, judged, spent = (folder / f"{n}.parquet" for n in ("rankings", "qrels", "usage"))
    rankings = {q: _ranking(ranked, q, rows) for q, rows in _by_query(ranked, _RANKINGS).items()}
    grades = {q: _once(judged, q, rows) for q, rows in _by_query(judged, _JUDGED).items()}
    columns = _read(spent, _SPENT)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    results = {row["query_id"]: _result(row, rankings.pop(row["query_id"], [])) for row in rows}
    if len(results) < len(rows):
        raise broken(spent, "it has a query twice")
    if rankings:
        raise broken(ranked, f"query {next(iter(rankings))} is not in usage.parquet")
    for result in results.values():
        if result.pool_chars is not None and not result.doc_ids:
            raise broken(ranked, f"query {result.query_id} had candidates but has no ranking")
        check_result(result, str(ranked))
    qrels = {query_id: grades.get(query_id, {}) for query_id in results}
    return Run(manifest, tuple(results.values()), qrels)


def _ranking(file: Path, query_id: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sort rows by their ranks, which they need not be in the file, and leave the ranks out."""
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
    doc_ids, scores, first_stage_ranks, is_safeguard, *known = (
        zip(*ranking, strict=True) if ranking else ((),) * 4
    )
    of_pool = known[0] if known else ()
    counts = {k.removeprefix(_COUNT): v for k, v in spent.items() if k.startswith(_COUNT)}
    return QueryResult(
        query_id=spent["query_id"],
        doc_ids=doc_ids,
        scores=scores,
        first_stage_ranks=first_stage_ranks,
        safeguard=next(compress(doc_ids, is_safeguard), None),
        failed=spent["failed"],
        usage=Usage(**{name: spent[name] for name in _USAGE}),
        counts={name: count for name, count in counts.items() if count is not None},
        first_stage_scores=() if set(of_pool) <= {None} else of_pool,
        **{name: spent.get(name) for name in _ABOUT},
    )


def _by_query(file: Path, columns: Mapping[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    """Group a file's rows by their first column, which is dropped."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    rows = zip(*_read(file, columns).values(), strict=True)
    for query_id, group in groupby(rows, itemgetter(0)):
        found.setdefault(query_id, []).extend(row[1:] for row in group)
    return found


def _read(file: Path, columns: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the named columns, cast to their types, and those that a file need not have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file).read()
        names = set(table.column_names)
        counts = {name: "int64" for name in table.column_names if name.startswith(_COUNT)}
        about = {n: kind for n, kind in {**_ABOUT, **_FIRST_STAGE}.items() if n in names}
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
