"""Write the four files of a run folder and read them back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from itertools import compress
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ..reranking import Usage
from .manifest import read_manifest, unreadable
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


_GROUP = 5_000  # queries of a row group
_AT_ONCE = 250  # queries whose rows are held at once


def parquet_files(folder: Path) -> tuple[Path, Path, Path]:
    """Return the files of rankings, usage and judgements of a run folder."""
    return folder / "rankings.parquet", folder / "usage.parquet", folder / "qrels.parquet"


def write_files(folder: Path, run: Run) -> None:
    """Write the four files of `run` into the existing `folder`; raises OSError."""
    counts = {_COUNT + name: "int64" for r in run.results for name in r.counts}
    spent = _SPENT | dict(sorted(counts.items())) | _ABOUT
    ranked = {**_RANKINGS, "failed": "bool", **_FIRST_STAGE}
    rankings, usage, qrels = parquet_files(folder)
    _write(rankings, ranked, run.results, _ranking_rows)
    _write(usage, spent, run.results, _usage_rows)
    _write(qrels, _JUDGED, run.results, partial(_judged_rows, run.qrels))
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


def _usage_rows(result: QueryResult) -> Iterable[dict[str, Any]]:
    yield {
        "query_id": result.query_id,
        **asdict(result.usage),
        "failed": result.failed,
        **{_COUNT + name: count for name, count in result.counts.items()},
        **{name: getattr(result, name) for name in _ABOUT},
    }


def _judged_rows(
    qrels: Mapping[str, Mapping[str, int]], result: QueryResult
) -> Iterable[dict[str, Any]]:
    for doc_id, grade in qrels.get(result.query_id, {}).items():
        yield {"query_id": result.query_id, "doc_id": doc_id, "grade": grade}


def _write(
    file: Path,
    kinds: Mapping[str, str],
    results: Sequence[QueryResult],
    rows_of: Callable[[QueryResult], Iterable[Mapping[str, Any]]],
) -> None:
    """Write the rows of all results, in row groups of `_GROUP` queries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(list(kinds.items()))
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for start in range(0, max(len(results), 1), _GROUP):
            group = results[start : start + _GROUP]
            parts = [
                pa.Table.from_pylist(
                    [row for one in group[at : at + _AT_ONCE] for row in rows_of(one)], schema
                )
                for at in range(0, max(len(group), 1), _AT_ONCE)
            ]
            writer.write_table(pa.concat_tables(parts).combine_chunks())


def read_run(folder: Path) -> Run:
    """Read a run; raise BadData, naming the file, where one is missing or broken.

    The order of queries is the task's; the judgements are those of the run's queries.
    """
    manifest = read_manifest(folder)
    ranked, spent, judged = parquet_files(folder)
    rankings = {q: _ranking(ranked, q, rows) for q, rows in _by_query(ranked, _RANKINGS)}
    grades = {q: _once(judged, q, rows) for q, rows in _by_query(judged, _JUDGED)}
    columns = {name: column.to_pylist() for name, column in _read(spent, _SPENT).items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    results = {row["query_id"]: _result(row, rankings.pop(row["query_id"], ())) for row in rows}
    if len(results) < len(rows):
        raise unreadable(spent, "it has a query twice")
    if rankings:
        raise unreadable(ranked, f"query {next(iter(rankings))} is not in usage.parquet")
    for result in results.values():
        if result.pool_chars is not None and not result.doc_ids:
            raise unreadable(ranked, f"query {result.query_id} had candidates but has no ranking")
        check_result(result, str(ranked))
    qrels = {query_id: grades.get(query_id, {}) for query_id in results}
    return Run(manifest, tuple(results.values()), qrels)


def _ranking(file: Path, query_id: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sort rows by their ranks, which they need not be in the file; return the other columns."""
    rows.sort(key=itemgetter(0))
    ranks, *columns = zip(*rows, strict=True)
    if list(ranks) != list(range(1, len(rows) + 1)):
        raise unreadable(file, f"the ranks of query {query_id} are not 1 to {len(rows)}")
    return columns


def _once(file: Path, query_id: str, rows: Sequence[tuple[Any, ...]]) -> dict[str, int]:
    grades = dict(rows)
    if len(grades) < len(rows):
        raise unreadable(file, f"query {query_id} has two grades for a document")
    return grades


def _result(spent: Mapping[str, Any], ranking: Sequence[tuple[Any, ...]]) -> QueryResult:
    doc_ids, scores, first_stage_ranks, is_safeguard, *known = ranking or ((),) * 4
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


def _by_query(
    file: Path, columns: Mapping[str, str]
) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Yield each query of a file with its rows, without their first column, the query's id."""
    known: dict[str, str] = {}
    for groups in _groups(file):
        yield from _grouped(_read(file, columns, groups), known)


def _groups(file: Path) -> list[list[int] | None]:
    """Return the row groups one by one, so that one at a time is read; None for all together.

    They are read together where a query is in two of them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file)
        if parquet.num_row_groups < 2 or "query_id" not in parquet.schema_arrow.names:
            return [None]
        numbers = range(parquet.num_row_groups)
        columns = (parquet.read_row_group(n, ["query_id"])["query_id"] for n in numbers)
        queries = [name for column in columns for name in column.unique().to_pylist()]
    except (OSError, pa.ArrowException) as error:
        raise unreadable(file, error) from error
    return [[n] for n in numbers] if len(set(queries)) == len(queries) else [None]


def _grouped(
    read: Mapping[str, Any], known: dict[str, str]
) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Yield each query of some columns with its rows.

    known: texts that were read before; those of `read` are added.
    """
    names, *others = read.values()
    queries = names.combine_chunks().dictionary_encode()
    codes = queries.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    if (order[1:] < order[:-1]).any():
        others = [column.take(order) for column in others]
    slices = [_slices(column.combine_chunks(), known) for column in others]
    start = 0
    for name, size in zip(queries.dictionary.to_pylist(), np.bincount(codes), strict=True):
        yield name, list(zip(*(own(start, start + size) for own in slices), strict=True))
        start += size


def _slices(column: Any, known: dict[str, str]) -> Callable[[int, int], list[Any]]:
    """Return the function that returns a part of a column; texts of `known` are one object."""
    if column.type != "string":
        return lambda start, end: column[start:end].to_pylist()
    encoded = column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    codes, names = encoded.indices.to_numpy(), [known.setdefault(text, text) for text in texts]
    return lambda start, end: [names[code] for code in codes[start:end].tolist()]


def _read(
    file: Path, columns: Mapping[str, str], groups: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return the named columns, cast to their types, and those that a file need not have.

    groups: the row groups that are read; None for all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file)
        table = parquet.read() if groups is None else parquet.read_row_groups(groups)
        names = set(table.column_names)
        counts = {name: "int64" for name in table.column_names if name.startswith(_COUNT)}
        about = {n: kind for n, kind in {**_ABOUT, **_FIRST_STAGE}.items() if n in names}
        kinds = {**columns, **about, **counts}
        read = {n: table[n].cast(kind) for n, kind in kinds.items() if n in names}
    except (OSError, pa.ArrowException) as error:
        raise unreadable(file, error) from error
    for name in columns:
        if name not in read:
            raise unreadable(file, f"it has no column {name}")
        if name not in _OPTIONAL and read[name].null_count:
            raise unreadable(file, f"a row has no {name}")
    return read
