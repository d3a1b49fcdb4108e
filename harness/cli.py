"""The command line: parse, call, print; nothing else. Data goes to stdout, progress to stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import flags
from .errors import RerankBenchError, printable

if TYPE_CHECKING:
    from .suite import FinishedRun, Suite


class _Group(click.Group):
    """Prints expected errors in their one or two lines and exits 1, an interrupt with 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RerankBenchError as error:
            click.echo(f"error: {printable(str(error))}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            _print_note("\ninterrupted; the same `rerank-bench run` continues where it was")
            sys.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rerank-bench")
def main() -> None:
    """Measure which reranker is worth its cost, on your kind of task, after your retriever."""


@main.command()
@flags.SUITE
@flags.TABLES
def run(
    suite: Path | None, print_toml: bool, as_json: bool, wide: bool, explain: bool, **values: Any
) -> None:
    """Rerank every task x profile with every reranker, and print the gains.

    SUITE is a TOML file with the same names as these flags, or the name of a shipped one (`list
    suites`); flags win over it.
    """
    from .inspect.listing import note_printer
    from .report import printing
    from .suite import run_suite

    form = flags.table_form(wide=wide, explain=explain, form="json" if as_json else None)
    built = _suite(suite, values, print_toml=print_toml)
    folders = run_suite(built, on_run=_print_done, on_pool=note_printer())
    printing.report(folders, form, explain=explain)


def _suite(file: Path | None, values: Mapping[str, Any], *, print_toml: bool) -> Suite:
    """Lay the flags over the file and resolve all names; or print both as one file and exit."""
    from .suite import build_suite, merge, read_suite, to_toml

    table = merge(read_suite(file) if file else {}, flags.suite_table(values))
    if print_toml:
        click.echo(to_toml(table), nl=False)
        click.get_current_context().exit()
    return build_suite(table)


def _print_done(finished: FinishedRun) -> None:
    state = "already done" if finished.skipped else "done"
    _print_note(f"{state}: {finished.task} · {finished.profile} · {finished.label}")


def _print_note(line: str) -> None:
    click.echo(printable(line), err=True)


@main.command()
@flags.TASK_OPTIONS
@click.option("--out", type=flags.PATH, metavar="FILE", help="Write JSON lines.")
@flags.JSON
def pool(out: Path | None, as_json: bool, **values: Any) -> None:
    """Build pools, write them if asked, and print the first stages' own numbers."""
    from .inspect import listing

    listing.pools(flags.suite_table(values), out, as_json=as_json)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=flags.PATH)
@flags.REPORT
@flags.TABLES
def report(
    runs: Sequence[Path],
    form: str | None,
    wide: bool,
    explain: bool,
    html: Path | None,
    detail: Sequence[str],
    cache: Path | None,
    price: Sequence[str],
    measure: Sequence[str],
    reference: Path | None,
) -> None:
    """Print what the runs in the folders RUNS gained over their first stages.

    With --html they are written as one page that needs no network; --detail adds to it what a run,
    a folder or TASK/PROFILE/LABEL, did to each of its queries.
    """
    from .report import printing

    if html is None and (detail or cache):
        raise click.UsageError("--detail and --cache are for the page; add --html FILE")
    if reference is not None and (html or form not in (None, "md")):
        raise click.UsageError("--reference is for text tables and --md; leave out the other form")
    if html is None:
        flags.check_measures(measure, form)
        more = wide or bool(measure and not form)
        shown = flags.table_form(wide=more, explain=explain, form=form)
        printing.report(
            list(runs), shown, explain=explain, prices=price, measures=measure, reference=reference
        )
    elif form is not None or wide or explain:
        raise click.UsageError("--html writes a page only; call report again for another form")
    else:
        from .inspect.replay import replay_run
        from .runs import named_run

        folders = [named_run(name, *runs) for name in detail]
        views = partial(replay_run, cache=cache)
        printing.page(list(runs), html, detail=folders, views=views, prices=price, measures=measure)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=flags.PATH)
@click.option("--out", required=True, type=flags.PATH, metavar="DIR")
@click.option("--form", required=True, type=click.Choice(flags.FORMS))
def export(runs: Sequence[Path], out: Path, form: str) -> None:
    """Write the runs in the folders RUNS as files for other programs."""
    from .report import export as write

    for file in write(list(runs), out, form):
        click.echo(printable(str(file)))


@main.command()
@click.argument("one")
@click.argument("other")
@click.option("--runs", default="runs", show_default=True, type=flags.PATH)
@click.option("--queries", default=10, show_default=True, help="Those that differ most.")
@flags.JSON
def compare(one: str, other: str, runs: Path, queries: int, as_json: bool) -> None:
    """Compare the rerankers ONE and OTHER, named by their labels, on the same pools."""
    from .report import printing

    printing.comparison((one, other), runs, queries=queries, as_json=as_json)


@main.command()
@flags.FUSE
@flags.TABLES
def fuse(
    names: Sequence[str],
    runs: Path,
    label: str | None,
    out: Path | None,
    as_json: bool,
    wide: bool,
    explain: bool,
    **how: Any,
) -> None:
    """Fuse finished runs with each other or with their first stage; calls no model.

    RUN is a label, for all its runs below --runs, or one run: a folder, or TASK/PROFILE/LABEL.
    """
    from .report import printing
    from .suite import Fusion, fuse_runs

    form = flags.table_form(wide=wide, explain=explain, form="json" if as_json else None)
    fuse_ = partial(fuse_runs, root=runs, out=out, label=label)
    folders = fuse_(names, Fusion(**how), on_run=_print_done, on_note=_print_note)
    printing.report(folders, form, explain=explain)


@main.command()
@click.argument("run_", metavar="RUN")
@click.argument("query_id")
@click.option("--runs", default="runs", show_default=True, type=flags.PATH)
@click.option("--against", metavar="RUN2", help="Another run of the same task, side by side.")
@click.option("--cache", type=flags.PATH, metavar="DIR", help="Cache of replies.")
@click.option("--whole", is_flag=True, help="Leave nothing out.")
@flags.JSON
def show(
    run_: str,
    query_id: str,
    runs: Path,
    against: str | None,
    cache: Path | None,
    whole: bool,
    as_json: bool,
) -> None:
    """Show what a run did to one query: moves, scores, requests and replies.

    RUN is a folder, or TASK/PROFILE/LABEL below --runs.
    """
    from .inspect import show as showing

    showing.show(
        run_, query_id, root=runs, against=against, cache=cache, whole=whole, as_json=as_json
    )


@main.command(name="list")
@click.argument("what", type=click.Choice(list(flags.LISTS)))
@click.argument("name", required=False)
@flags.TASK
@flags.FILTERS
@flags.JSON
def list_(what: str, name: str | None, task: Sequence[str], as_json: bool, **filters: Any) -> None:
    """List what can be named; `runs` takes a folder, `profiles` a --task, `rerankers` filters.

    With a NAME, `tasks` lists those of one data set or collection, and `rerankers` shows one whole:
    its facts, its prompt on an example, and its cost.
    """
    from .inspect import listing

    flags.check_list(what, {"name": name, "task": task, **filters})
    listing.listing(what, name, task, filters, as_json=as_json)


@main.command()
@click.option("--out", type=flags.PATH, metavar="DIR", help="Keep the runs here.")
@click.option("--quick", is_flag=True, help="Leave the language model's rows out.")
@flags.JSON
@flags.TABLES
def demo(out: Path | None, quick: bool, as_json: bool, wide: bool, explain: bool) -> None:
    """Rerank Python's own standard library with real models: about three minutes on two cores."""
    from .report import printing
    from .suite import demo as demonstration

    form = flags.table_form(wide=wide, explain=explain, form="json" if as_json else None)
    shown = partial(printing.report, form=form, explain=explain)
    demonstration.run(out, quick=quick, report=shown)


@main.command()
@click.option("--engine", multiple=True, required=True, metavar="NAME[:OPTION=VALUE,…]")
@click.option("--model", metavar="ID", help="The model that is asked.")
@click.option("--base-url", multiple=True, metavar="URL", help="A server for engine http; repeats.")
@click.option("-o", "option", multiple=True, metavar="NAME=VALUE", help="An option for both.")
@click.option("--quick", is_flag=True, help="Few and short requests.")
@flags.JSON
def doctor(
    engine: Sequence[str],
    model: str | None,
    base_url: Sequence[str],
    option: Sequence[str],
    quick: bool,
    as_json: bool,
) -> None:
    """Check that one --engine agrees with itself, or two with each other; exits 1 if not."""
    from .inspect import doctor as examination

    if len(engine) > 2:
        raise click.UsageError("--engine is given once or twice")
    options = dict(flags.named_value(text) for text in option)
    options |= {"base_url": ",".join(base_url)} if base_url else {}
    report = examination.examine(examination.open_engines(engine, model, options), quick=quick)
    written = examination.as_json if as_json else examination.as_table
    click.echo(printable(written(report)))
    sys.exit(1 if report.failed else 0)


@main.command()
@flags.SUITE
@click.option("--gpu", default="h200", metavar="NAME", show_default=True, help="The GPU.")
@click.option("--shape", metavar="NAME", help="Sizes such as Qwen3-4B instead of the model's own.")
@click.option("--block", default=16, metavar="N", show_default=True, help="Prefix-cache block.")
def plan(
    suite: Path | None,
    gpu: str,
    shape: str | None,
    block: int,
    print_toml: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Estimate what a suite would cost a GPU at best, before anything is run.

    Takes what `run` takes, and stores nothing.
    """
    from .inspect import plan as planning
    from .reranking import find_gpu

    built = _suite(suite, values, print_toml=print_toml)
    found = planning.plan_suite(built, find_gpu(gpu), shape=shape, block=block)
    planning.show(found, as_json=as_json)
