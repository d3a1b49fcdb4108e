"""Print what the commands `list` and `pool` report."""

from __future__ import annotations

import csv
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import unknown
from ..report import plain

if TYPE_CHECKING:
    from ..pools import Pool
    from ..suite import TaskPool
    from ..tasks import Task

Record = Mapping[str, Any]


def pools(table: Mapping[str, Any], out: Path | None, *, as_json: bool) -> None:
    """Build the pools of a suite table, write them to `out`, and print the profiles' numbers."""
    from ..pools import write_pool
    from ..suite import build_pools, pool_suite

    prepared = build_pools(pool_suite(table))
    if out is not None:
        write_pool((item.pool for item in prepared), out)
        click.echo(f"wrote {out}", err=True)
    records = [_numbers(item.task, item.pool) for item in prepared]
    print_notes = note_printer()
    for item in prepared:
        print_notes(item)
    _print(records, as_json=as_json, hidden={"notes", "prompts", "sha256"})


def note_printer() -> Callable[[TaskPool], None]:
    """Return a function that prints the notes of a pool, and those of its task once.

    It also prints the prompts that dense models put before queries and documents.
    """
    printed: set[int] = set()

    def print_notes(item: TaskPool) -> None:
        name = item.task.name
        for model, (query, document) in item.pool.prompts.items():
            prompts = f"{model}: query prompt {query}, document prompt {document}"
            click.echo(plain(f"{name} · {prompts}"), err=True)
        of_task = [] if id(item.task) in printed else [(name, item.task.notes)]
        printed.add(id(item.task))
        for where, notes in [*of_task, (f"{name} · {item.pool.profile}", item.pool.notes)]:
            for what, note in notes.items():
                examples = f" ({', '.join(note.examples)})" if note.examples else ""
                click.echo(plain(f"{where}: {note.count} {what}{examples}"), err=True)

    return print_notes


def _numbers(task: Task, pool: Pool) -> dict[str, Any]:
    """Return a first stage's numbers, without safeguards, and the published ones."""
    from ..evaluation import MICRO, pool_values, positives_of

    rows = pool.rows
    grades = [positives_of(task.qrels[row.query_id], min_grade=task.min_grade) for row in rows]
    natural = [row.natural for row in rows]
    values = pool_values(natural, grades)
    published = task.published.get(pool.resolved, {})
    keys = {"nDCG@10": "nDCG@10", "hit@10": "hit@10", MICRO: "recall@100"}
    compared = {f"{name} published": published.get(key) for name, key in keys.items()}
    as_published = pool_values(natural, grades, convention=task.convention)["nDCG@10"]
    if as_published != values["nDCG@10"]:
        compared[f"nDCG@10 with {task.convention} gain"] = as_published
    notes = {**task.notes, **pool.notes}
    return {
        "task": task.name,
        "profile": pool.profile,
        "resolved": pool.resolved,
        "origin": pool.origin,
        "queries": len(rows),
        **values,
        **(compared if published else {}),
        "safeguards": sum(row.safeguard is not None for row in rows),
        "sha256": pool.sha256,
        "prompts": {name: [asdict(sent) for sent in both] for name, both in pool.prompts.items()},
        "notes": {name: asdict(note) for name, note in notes.items()},
    }


def listing(
    what: str, name: str | None, tasks: Sequence[str], filters: Mapping[str, Any], *, as_json: bool
) -> None:
    """Print the names of `tasks`, `profiles`, `rerankers`, `engines`, `prompts`, `suites`, `runs`.

    name: the folder of the runs; the data set or collection of the tasks, None for all; the
        reranker that is described.
    tasks: print the profiles that these tasks ship.
    filters: the flags that choose rerankers.

    Raises UnknownName for a data set, and what a filter or the description of a reranker raises.
    """
    from .rerankers import RerankerFilter, records

    if what == "rerankers" and name is not None:
        from .card import show

        show(name, as_json=as_json)
        return
    wanted = RerankerFilter.of(filters) if any(filters.values()) else None
    listings: dict[str, Callable[[], Iterable[Record]]] = {
        "tasks": lambda: _tasks(name),
        "profiles": lambda: _profiles(tasks),
        "rerankers": lambda: records(wanted),
        "engines": _engines,
        "prompts": _prompts,
        "suites": _suites,
        "runs": lambda: _runs(Path(name or "runs")),
    }
    found = list(listings[what]())
    if not found and wanted is not None:
        click.echo("no reranker meets all of these", err=True)
    _print(found, as_json=as_json)


def _tasks(of: str | None) -> Iterable[Record]:
    from ..tasks import catalogue, collections, sets

    groups = {**sets(), **collections()}
    if of is None:
        yield {"task": "stdlib-code", "language": "en", "queries": 200, "documents": 1500}
    elif of not in groups:
        raise unknown("data set or collection", of, groups)
    for entry in catalogue().values() if of is None else groups[of]:
        yield {
            "task": entry.name,
            "language": entry.language or "many",
            "queries": entry.queries,
            "documents": entry.documents,
            "main measure": entry.main_measure,
            "suited": entry.suited,
            "licence": entry.licence,
        }


_PROFILES = {
    "CONFIG": "a candidate list that the data set ships, by its own name",
    "bm25": "the shipped list if there is one, else bm25()",
    "bm25()": "computed here, tokenised by language",
    "dense": "the shipped dense list if there is one, else dense()",
    "dense(MODEL)": "computed here by a sentence-transformers model",
    "hybrid": "the shipped reranking_hybrid if there is one, else rrf(bm25,dense)",
    "rrf(A,B,…)": "reciprocal rank fusion of other profiles",
    "candidates": "what an MTEB reranking task ships, in no order",
    "run(FILE)": "your own list: a run of TREC, MS MARCO or ranx, or the lines of `pool`",
}


def _profiles(tasks: Sequence[str]) -> Iterable[Record]:
    from ..tasks import find_tasks

    if not tasks:
        return [{"profile": name, "what": what} for name, what in _PROFILES.items()]
    refs = [ref for name in tasks for ref in find_tasks(name)]
    return [{"task": r.name, "profile": n} for r in refs for n in r.load().shipped]


def _engines() -> Iterable[Record]:
    from ..engines import engine_class, engine_points

    for name in sorted(engine_points()):
        about = inspect.getdoc(engine_class(name)) or ""
        yield {"engine": name, "what": about.partition("\n")[0].rstrip(".")}


def _prompts() -> Iterable[Record]:
    from ..prompt import load_template, prompt_files

    for name in sorted(prompt_files()):
        template = load_template(name)
        yield {"prompt": name, "licence": template.licence, "source": template.source}


def _suites() -> Iterable[Record]:
    from ..suite import shipped_suites

    for name, file in sorted(shipped_suites().items()):
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        yield {"suite": name, "what": first.removeprefix("# ").rstrip(":.")}


def _runs(folder: Path) -> Iterable[Record]:
    from ..runs import find_runs, read_manifest

    for run in find_runs(folder):
        settings = read_manifest(run)["settings"]
        yield {
            "task": settings["task"],
            "profile": settings["profile"]["asked"],
            "reranker": settings["reranker"]["label"],
            "folder": str(run),
        }


def _print(records: Sequence[Record], *, as_json: bool, hidden: Iterable[str] = ()) -> None:
    """Print records as JSON, as a table on a terminal, or tab-separated into a pipe."""
    if as_json:
        click.echo(json.dumps(records, indent=2, ensure_ascii=False))
        return
    columns = [c for c in dict.fromkeys(c for r in records for c in r) if c not in set(hidden)]
    rows = [[_cell(record.get(column)) for column in columns] for record in records]
    if not sys.stdout.isatty():
        csv.writer(sys.stdout, "excel-tab", lineterminator="\n").writerows([columns, *rows])
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for column in columns:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:.4f}" if isinstance(value, float) else plain(str(value))
