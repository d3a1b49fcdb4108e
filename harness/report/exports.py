"""Reports as files for other programs: TREC runs and judgements, CSV, Parquet, LaTeX."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadData, RerankBenchError, unknown
from ..evaluation import JSON_FIELDS, QueryRow, Row, StratumRow, mean_rows
from ..runs import Variant, find_all_runs, read_run, run_folder
from .latex import to_latex
from .sources import report_of
from .trec import write_trec

if TYPE_CHECKING:
    import pyarrow as pa

    Write = Callable[[Path, type, Sequence[str], Sequence[Any]], None]

_BLOCK = 100_000  # rows of Parquet that are turned into columns at a time


def export(roots: Sequence[Path], out: Path, form: str) -> list[Path]:
    """Write all runs in and below `roots` into the folder `out`, and return the files written.

    form: `trec`, four files per run (see `trec.py`), variants included; `csv` and `parquet`, the
    rows of the report, the means of its data sets, one row per query of every run but variants, and
    gains by language, length and rank of the best positive; `latex`, the tables of gains. What is
    there under the same name is written over. Raises UnknownName for another form, BadData where
    there is no run, two are the same or an id cannot be written, RerankBenchError where `out`
    cannot be written.
    """
    if form not in FORMS:
        raise unknown("form", form, FORMS)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return FORMS[form](roots, out)
    except OSError as error:
        raise RerankBenchError(f"cannot write into {out}: {error.strerror or error}") from error


def _trec(roots: Sequence[Path], out: Path) -> list[Path]:
    sources: dict[Path, Path] = {}
    written: list[Path] = []
    for folder in find_all_runs(roots):
        run = read_run(folder)
        told = run.manifest["settings"]
        label = told["reranker"]["label"] + Variant.of(told).suffix
        place = run_folder(out, told["task"], told["profile"]["asked"], label)
        if sources.setdefault(place, folder) != folder:
            raise BadData(f"{sources[place]} and {folder} are the same run; export one")
        written += write_trec(run, place, tag=place.name)
    return written


def _tables(suffix: str, write: Write) -> Callable[[Sequence[Path], Path], list[Path]]:
    def write_all(roots: Sequence[Path], out: Path) -> list[Path]:
        found = report_of(roots, detail=find_all_runs(roots))
        tables: dict[str, tuple[type, Sequence[str], Sequence[Any]]] = {
            "rows": (Row, JSON_FIELDS, found.rows),
            "means": (Row, JSON_FIELDS, mean_rows(found.groups)),
            "queries": (QueryRow, _names(QueryRow), found.queries),
            "strata": (StratumRow, _names(StratumRow), found.strata),
        }
        for name, (kind, names, records) in tables.items():
            write(out / f"{name}.{suffix}", kind, names, records)
        return [out / f"{name}.{suffix}" for name in tables]

    return write_all


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _write_csv(file: Path, kind: type, names: Sequence[str], records: Sequence[Any]) -> None:
    with file.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([getattr(record, name) for name in names] for record in records)


def _write_parquet(file: Path, kind: type, names: Sequence[str], records: Sequence[Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(kind, names)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for start in range(0, len(records), _BLOCK):
            block = records[start : start + _BLOCK]
            columns = {name: [getattr(record, name) for record in block] for name in names}
            writer.write_table(pa.table(columns, schema=schema))


def _schema(kind: type, names: Sequence[str]) -> pa.Schema:
    """Columns typed as the dataclass is annotated, so that one without a value keeps its type."""
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    told = {f.name: str(f.type).partition(" |")[0] for f in fields(kind)}
    return pa.schema([(name, types[told[name]]) for name in names])


def _latex(roots: Sequence[Path], out: Path) -> list[Path]:
    file = out / "report.tex"
    file.write_text(to_latex(report_of(roots)), encoding="utf-8")
    return [file]


FORMS: dict[str, Callable[[Sequence[Path], Path], list[Path]]] = {
    "trec": _trec,
    "csv": _tables("csv", _write_csv),
    "parquet": _tables("parquet", _write_parquet),
    "latex": _latex,
}
"""What can be written, and how."""
