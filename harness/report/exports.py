"""Reports for other programs: JSON, CSV, Parquet, LaTeX, runs and judgements of TREC and ranx.

Where the rules of those files differ, the report's are kept as far as they go:

* scores are made from ranks (n - rank), for trec_eval sorts by score and breaks ties by id;
* a failed query has no ranking, which `trec_eval -c` counts as 0, as the report does;
* grades that count for nothing here are written as 0;
* a query without any judgement cannot be written in a qrels file, so trec_eval leaves it out
  where the report counts 0;
* the floor `random` is written as it was stored; the report's is the mean of twenty shuffles.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadData, RerankBenchError, unknown
from ..evaluation import (
    COLUMNS,
    Evaluation,
    QueryRow,
    StratumRow,
    evaluate,
    first_stage,
    natural,
    written,
)
from ..runs import QueryResult, Run, Variant, find_all_runs, read_run, run_folder
from .hakari import to_hakari
from .latex import to_latex
from .mteb import to_mteb

Columns = Mapping[str, Sequence[Any]]

_ORDERS: dict[str, Callable[[QueryResult], Iterable[str]]] = {
    "first-stage": first_stage,
    "natural": lambda r: () if r.failed is not None else natural(r.doc_ids, r.safeguard),
    "safeguarded": lambda r: () if r.failed is not None else r.doc_ids,
}


def to_json(found: Evaluation) -> str:
    """Return a JSON list of the rows of tasks, then of means: one object a run and measure.

    A first stage's recall has null for its reranker.
    """
    objects = [
        dict(zip(columns, row, strict=True))
        for columns in (written(found.rows()), written(found.means.rows()))
        for row in zip(*columns.values(), strict=True)
    ]
    return json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(found: Evaluation) -> str:
    """Return the same rows as CSV with a header; what a row does not have is left empty."""
    return _csv([written(found.rows()), written(found.means.rows())])


def export(roots: Sequence[Path], out: Path, form: str) -> list[Path]:
    """Write all runs in and below `roots` into the folder `out`, and return the files written.

    form: `trec` and `ranx`, four files per run (see `write_trec`), variants included; `csv` and
    `parquet`, the rows of the report, the means of its data sets, one row per query of every run
    but variants, and gains by language, length and rank of the best positive; `latex`, the tables
    of gains; `mteb`, results and predictions, and `mteb-models`, the same with each first stage as
    a model (see `to_mteb`); `hakari`, results (see `to_hakari`).
    What is there under the same name is written over. Raises UnknownName for another form, BadData
    where there is no run, two are the same or an id cannot be written, RerankBenchError where `out`
    cannot be written.
    """
    if form not in FORMS:
        raise unknown("form", form, FORMS)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return FORMS[form](roots, out)
    except OSError as error:
        raise RerankBenchError(f"cannot write into {out}: {error.strerror or error}") from error


def _per_run(roots: Sequence[Path], out: Path, write: Callable[..., list[Path]]) -> list[Path]:
    """Write the files of each run into a folder of its own, variants included."""
    sources: dict[Path, Path] = {}
    written: list[Path] = []
    for folder in find_all_runs(roots):
        run = read_run(folder)
        settings = run.manifest["settings"]
        label = settings["reranker"]["label"] + Variant.of(settings).suffix
        place = run_folder(out, settings["task"], settings["profile"]["asked"], label)
        if sources.setdefault(place, folder) != folder:
            raise BadData(f"{sources[place]} and {folder} are the same run; export one")
        place.mkdir(parents=True, exist_ok=True)
        written += write(run, place, tag=place.name)
    return written


def write_trec(run: Run, folder: Path, *, tag: str) -> list[Path]:
    """Write `first-stage.run`, `natural.run`, `safeguarded.run` and `qrels.txt` into `folder`.

    `tag` names the run in the files' last column. Raises BadData, naming the id, where an id or the
    tag is empty or has white space, which divides the columns of such a file.
    """
    _checked(tag, "run tag")
    written = {f"{name}.run": list(_run_lines(run, order, tag)) for name, order in _ORDERS.items()}
    written["qrels.txt"] = list(_qrels_lines(run))
    for name, lines in written.items():
        (folder / name).write_text("".join(lines), encoding="utf-8")
    return [folder / name for name in written]


def write_ranx(run: Run, folder: Path, *, tag: str) -> list[Path]:
    """Write the same rankings and judgements as JSON of ranx: query id -> document id -> score.

    A query without a ranking is left out: `ranx.evaluate(…, make_comparable=True)` counts it as 0.
    """
    written = {name: _scored(run, order) for name, order in _ORDERS.items()}
    written["qrels"] = {query_id: own for query_id, own in _counted(run).items() if own}
    for name, content in written.items():
        text = json.dumps(content, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return [folder / f"{name}.json" for name in written]


def _scored(run: Run, order: Callable[[QueryResult], Iterable[str]]) -> dict[str, dict[str, int]]:
    """Return n - rank for the documents of each query that has a ranking."""
    rankings = {result.query_id: list(order(result)) for result in run.results}
    return {
        query_id: {doc_id: len(ids) - rank for rank, doc_id in enumerate(ids, 1)}
        for query_id, ids in rankings.items()
        if ids
    }


def _counted(run: Run) -> dict[str, dict[str, int]]:
    """Return all judgements, with 0 for grades that count for nothing."""
    least = run.min_grade
    return {
        result.query_id: {
            doc_id: grade if grade >= least else 0
            for doc_id, grade in run.qrels.get(result.query_id, {}).items()
        }
        for result in run.results
    }


def _run_lines(run: Run, order: Callable[[QueryResult], Iterable[str]], tag: str) -> Iterator[str]:
    for result in run.results:
        _checked(result.query_id, "query id")
    for query_id, scores in _scored(run, order).items():
        for rank, (doc_id, score) in enumerate(scores.items(), 1):
            yield f"{query_id} Q0 {_checked(doc_id, 'document id')} {rank} {score} {tag}\n"


def _qrels_lines(run: Run) -> Iterator[str]:
    for query_id, grades in _counted(run).items():
        for doc_id, grade in grades.items():
            yield f"{query_id} 0 {_checked(doc_id, 'document id')} {grade}\n"


def _checked(name: str, kind: str) -> str:
    if name.split() != [name]:
        raise BadData(
            f"{kind} {name!r} cannot be written in a TREC file: it is empty or has white space"
        )
    return name


def _tables(roots: Sequence[Path], out: Path, suffix: str) -> list[Path]:
    found = evaluate(roots, detail=find_all_runs(roots))
    kinds = {column.name: column.kind for column in COLUMNS}
    tables = {
        "rows": (written(found.rows()), kinds),
        "means": (written(found.means.rows()), kinds),
        "queries": _listed(QueryRow, found.queries),
        "strata": _listed(StratumRow, found.strata),
    }
    files = [out / f"{name}.{suffix}" for name in tables]
    for file, (columns, types) in zip(files, tables.values(), strict=True):
        if suffix == "csv":
            file.write_text(_csv([columns]), encoding="utf-8")
        else:
            _write_parquet(file, columns, types)
    return files


def _listed(kind: type, items: Sequence[Any]) -> tuple[Columns, Mapping[str, type]]:
    """Return dataclasses as columns, and the type of each, which one without a value keeps."""
    types = {t.__name__: t for t in (str, int, float, bool)}
    kinds = {f.name: types[str(f.type).partition(" |")[0]] for f in fields(kind)}
    return {name: [getattr(item, name) for item in items] for name in kinds}, kinds


def _csv(tables: Sequence[Columns]) -> str:
    """Return tables of the same columns as one CSV text with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(tables[0])
    for columns in tables:
        writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _write_parquet(file: Path, columns: Columns, kinds: Mapping[str, type]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, types[kinds[name]]) for name in columns])
    pq.write_table(pa.table(columns, schema=schema), file, compression="zstd")


def _latex(roots: Sequence[Path], out: Path) -> list[Path]:
    file = out / "report.tex"
    file.write_text(to_latex(evaluate(roots)), encoding="utf-8")
    return [file]


FORMS: dict[str, Callable[[Sequence[Path], Path], list[Path]]] = {
    "trec": partial(_per_run, write=write_trec),
    "ranx": partial(_per_run, write=write_ranx),
    "csv": partial(_tables, suffix="csv"),
    "parquet": partial(_tables, suffix="parquet"),
    "latex": _latex,
    "mteb": to_mteb,
    "mteb-models": partial(to_mteb, as_models=True),
    "hakari": to_hakari,
}
"""What can be written, and how."""
