"""The flags that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

PATH = click.Path(path_type=Path)
TASK = click.option("--task", multiple=True, metavar="NAME", help="A task or a whole set; repeats.")
PROFILE = click.option("--profile", multiple=True, metavar="NAME", help="A first stage; repeats.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


_Command = TypeVar("_Command", bound=Callable[..., Any])


def _flags(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


FILTERS = _flags(
    click.option("--kind", multiple=True, metavar="METHOD", help="Rerankers of a method; repeats."),
    click.option("--engine", metavar="NAME", help="Rerankers whose requests the engine answers."),
    click.option("--licence", metavar="TEXT", help="Whose weights' licence begins so: apache."),
    click.option("--language", metavar="CODE", help="That are made for a language: de."),
    click.option("--fits", metavar="SIZE", help="Whose 16-bit weights and a fifth fit: 24GB."),
)
FORMS = ("trec", "ranx", "csv", "parquet", "latex", "mteb", "mteb-models", "hakari")
"""The forms that `export` writes; `report.FORMS` has a function for each."""

LISTS: dict[str, set[str]] = {
    "tasks": {"name"},
    "profiles": {"task"},
    "rerankers": {"name", "kind", "engine", "licence", "language", "fits"},
    "engines": set(),
    "prompts": set(),
    "suites": set(),
    "runs": {"name"},
}
"""What can be listed, and the argument and flags that each reads."""


def check_list(what: str, given: Mapping[str, Any]) -> None:
    """Raise UsageError for what a list does not read, and for filters together with a name."""
    set_ = [name for name, value in given.items() if value]
    for name in set_:
        if name not in LISTS[what]:
            flag = f"argument {given['name']}" if name == "name" else f"--{name}"
            raise click.UsageError(f"list {what} takes no {flag}")
    if what == "rerankers" and "name" in set_ and len(set_) > 1:
        raise click.UsageError("a reranker's name and filters: give one or the other")


TABLES = _flags(
    click.option("--wide", is_flag=True, help="Print all tables, with more columns."),
    click.option("--explain", is_flag=True, help="Say what the columns mean."),
)


def check_measures(measures: Sequence[str], form: str | None) -> None:
    """Raise UsageError for measures that a form of the report does not have."""
    if form == "latex" and measures:
        raise click.UsageError("--latex writes gains in nDCG@10 alone; leave --measure out")
    if form in ("json", "csv") and any(name.lower().startswith("nauc") for name in measures):
        raise click.UsageError(
            f"nAUC is in tables and not in --{form}: --wide, --md or --html FILE"
        )


REPORT = _flags(
    click.option("--json", "form", flag_value="json", help="A list of objects, one per number."),
    click.option("--csv", "form", flag_value="csv", help="The same as CSV."),
    click.option("--md", "form", flag_value="md", help="Tables in Markdown."),
    click.option("--latex", "form", flag_value="latex", help="Tables of gains for booktabs."),
    click.option("--html", type=PATH, metavar="FILE", help="Write a page."),
    click.option("--detail", multiple=True, metavar="RUN", help="Show its queries; repeats."),
    click.option("--cache", type=PATH, metavar="DIR", help="Cache of replies."),
    click.option("--price", multiple=True, metavar="NAME=READ/WRITTEN", help="Per million tokens."),
    click.option("--measure", multiple=True, metavar="NAME@K", help="Add AP@1000 or nAUC(AP@10)."),
    click.option(
        "--reference",
        type=PATH,
        metavar="FILE",
        help="HAKARI-Bench's leaderboard (DuckDB), shown beside.",
    ),
)


def table_form(*, wide: bool, explain: bool, form: str | None = None) -> str:
    """Return the form of a report; raises UsageError for a table's flags on another form."""
    if form is not None and (wide or explain):
        raise click.UsageError("--wide and --explain are for tables; leave them out")
    return form or ("wide" if wide else "table")


def suite_table(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Turn click's values of `SUITE` or `TASK_OPTIONS` into a suite table."""
    flags = dict(flags)
    rows = {k: [{k: name} for name in flags.pop(k, ())] for k in ("task", "profile", "reranker")}
    label = flags.pop("label", None)
    if label is not None:
        if len(rows["reranker"]) != 1:
            raise click.UsageError("--as needs exactly one --reranker; else write NAME:as=LABEL")
        rows["reranker"][0]["as"] = label
    option = dict(named_value(text) for text in flags.pop("option", ()))
    flags["base_url"] = ",".join(flags.pop("base_url", ())) or None
    flags["ignore_column"] = list(flags.pop("ignore_column", ())) or None
    values = {k.replace("_", "-"): v for k, v in flags.items() if v is not None}
    return {"defaults": values | ({"option": option} if option else {}), **rows}


def named_value(text: str) -> tuple[str, str]:
    """Split the value of `-o`; raises UsageError where it is not NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"-o takes NAME=VALUE, not {text!r}")
    return name, value


TASK_OPTIONS = _flags(
    TASK,
    PROFILE,
    click.option("--hub", metavar="NAME", help="Where data sets are: huggingface or modelscope."),
    click.option("--revision", metavar="REV", help="Pin the data set's revision on the hub."),
    click.option("--qrels", metavar="NAME", help="Another qrels config, or a TREC qrels file."),
    click.option("--min-grade", type=int, metavar="G", help="Lowest grade of a positive [1]."),
    click.option(
        "--exclude-identical/--keep-identical",
        default=None,
        help="Leave a query's own document out of its pool.",
    ),
    click.option("--query-id", metavar="REGEX", help="Finds (?P<language>…), (?P<base>…) in ids."),
    click.option(
        "--ignore-column",
        multiple=True,
        metavar="NAME",
        help="Read no column of this name; repeats.",
    ),
    click.option(
        "--keep-going",
        is_flag=True,
        default=None,
        help="A failed query ends alone; ids may mismatch.",
    ),
    click.option("--query-prompt", metavar="TEXT", help="What dense() writes before a query."),
    click.option("--query-prompt-name", metavar="NAME", help="One of the dense model's prompts."),
    click.option("--doc-prompt", metavar="TEXT", help="What dense() writes before a document."),
    click.option("--device", metavar="NAME", help="Where dense() encodes: cpu, cuda, mps."),
)


SUITE = _flags(
    click.argument("suite", type=PATH, required=False),
    TASK_OPTIONS,
    click.option(
        "--reranker",
        multiple=True,
        metavar="NAME[:OPTION=VALUE,…]",
        help="Repeats; 'A then B at 20' gives B the first 20 of A's order.",
    ),
    click.option("--model", metavar="ID", help="The model of rerankers that name none."),
    click.option("--engine", metavar="NAME", help="transformers, vllm, http, ray or fake."),
    click.option(
        "--base-url", multiple=True, metavar="URL", help="A server for engine http; repeats."
    ),
    click.option("--data-parallel", type=int, metavar="N", help="Processes of engine vllm."),
    click.option("--ray-address", metavar="ADDRESS", help="A cluster for engine ray: auto."),
    click.option("-o", "option", multiple=True, metavar="NAME=VALUE", help="An option for all."),
    click.option("--as", "label", metavar="LABEL", help="Store the one reranker under this label."),
    click.option("--out", metavar="DIR", help="Folder of the run folders [runs]."),
    click.option("--cache", metavar="DIR", help="Folder of the replies' cache."),
    click.option("--no-cache", is_flag=True, default=None, help="Keep no replies."),
    click.option("--queries", type=int, metavar="N", help="A fixed sample of N queries per task."),
    click.option("--seed", type=int, metavar="S", help="Seed of that sample [0]."),
    click.option("--depth", type=int, metavar="K", help="Rerank the first K and the safeguard."),
    click.option("--max-doc-chars", type=int, metavar="N", help="Cut documents for all rerankers."),
    click.option("--max-doc-tokens", type=int, metavar="N", help="Cut them to N tokens at most."),
    click.option(
        "--instructions",
        type=click.Choice(["model", "task"]),
        help="Each model's own default [model], or the task's.",
    ),
    click.option("--orders", metavar="A,B", help="Also give first-stage,reverse,random:N orders."),
    click.option("--repeat", type=int, metavar="N", help="Run N times; repeats read no cache."),
    click.option(
        "--shuffle-submission", is_flag=True, default=None, help="Repeats ask in another order."
    ),
    click.option(
        "--one-at-a-time", is_flag=True, default=None, help="Also serve 20 queries one by one."
    ),
    click.option("--shard", metavar="I/N", help="Of N parts of the runs, make part I."),
    click.option("--print-toml", is_flag=True, help="Print these flags as a suite file and stop."),
    JSON,
)


def _numbers(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """Read numbers with commas between them."""
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no list of numbers such as 0.6,0.4") from error


FUSE = _flags(
    click.argument("names", metavar="RUN...", nargs=-1, required=True),
    click.option("--runs", default="runs", show_default=True, type=PATH),
    click.option(
        "--method",
        default="rrf",
        show_default=True,
        type=click.Choice(["rrf", "minmax", "zscore", "weighted"]),
        help="How ranks or scores are added up.",
    ),
    click.option("--weights", metavar="A,B", callback=_numbers, help="One per run [1 each]."),
    click.option(
        "--with-first-stage", "first_stage", type=float, metavar="W", help="Its share, 0 to 1."
    ),
    click.option("--constant", default=60.0, show_default=True, help="Of rrf."),
    click.option("--as", "label", metavar="LABEL", help="Of the fused runs [method and runs]."),
    click.option("--out", type=PATH, metavar="DIR", help="Else into --runs."),
    JSON,
)
