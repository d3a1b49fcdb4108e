"""Compare what two programs answer, then time them turn by turn, and keep what was found.

A case is a function that returns `Found`; `@case` makes a command of it. `side_by_side` calls every
way once and compares the outputs; only ways with equal outputs are timed. What is found goes to
benchmarks/results/peers.json, and as a table to docs/performance.md.
"""

from __future__ import annotations

import functools
import json
import math
import shlex
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from rerank_bench.engines import machine
from rerank_bench.runs.manifest import versions

RESULTS = Path(__file__).parents[1] / "results" / "peers.json"
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- written by benchmarks/peers -->\n", "<!-- end -->\n"
Output = TypeVar("Output")
Row = dict[str, Any]


@dataclass(frozen=True)
class Way(Generic[Output]):
    """One program's way to the output; `before` runs ahead of every call and is not timed."""

    name: str
    run: Callable[[], Output]
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Match(Generic[Output]):
    """Two ways to the same output; the aim is for the peer's seconds by ours."""

    ours: Way[Output]
    peer: Way[Output]
    aim: float


@dataclass(frozen=True)
class Equality:
    """How far two outputs are apart, and how far they may be.

    difference: the largest of two numbers, or of other things how many differ.
    """

    what: str
    compared: int
    difference: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether anything was compared and all of it is near enough; NaN never is."""
        return self.compared > 0 and self.difference <= self.allowed


@dataclass(frozen=True)
class Found:
    """What a case found: one row for each match, and figures that explain them."""

    rows: Sequence[Row]
    facts: Mapping[str, Any] = field(default_factory=dict)


def near(what: str, allowed: float) -> Callable[[Sequence[float], Sequence[float]], Equality]:
    """Return how two sequences of numbers are compared, at the same places."""

    def compare(ours: Sequence[float], peer: Sequence[float]) -> Equality:
        if len(ours) != len(peer):
            return Equality(what, max(len(ours), len(peer)), math.inf, allowed)
        apart = [abs(a - b) for a, b in zip(ours, peer, strict=True)]
        largest = math.nan if any(map(math.isnan, apart)) else max(apart, default=0.0)
        return Equality(what, len(apart), float(largest), allowed)

    return compare


def same(what: str) -> Callable[[Sequence[object], Sequence[object]], Equality]:
    """Return how two sequences of anything are compared: all must be equal, at the same places."""

    def compare(ours: Sequence[object], peer: Sequence[object]) -> Equality:
        count = max(len(ours), len(peer))
        return Equality(what, count, count - sum(a == b for a, b in zip(ours, peer)), 0)  # noqa: B905

    return compare


def side_by_side(
    matches: Sequence[Match[Output]],
    compare: Callable[[Output, Output], Equality],
    rounds: int,
    *,
    warm_up: bool = True,
) -> list[Row]:
    """Compare the outputs of each match; time those that are equal, turn by turn.

    warm_up: the call whose output is compared is not timed; without, it is the first round.
    """
    ways = list(dict.fromkeys(way for match in matches for way in (match.ours, match.peer)))
    seconds: dict[Way[Output], list[float]] = {way: [] for way in ways}
    outputs = {way: _call(way, seconds[way]) for way in ways}
    equal = [compare(outputs[match.ours], outputs[match.peer]) for match in matches]
    if warm_up:
        seconds = {way: [] for way in ways}
    pairs = [(m.ours, m.peer) for m, one in zip(matches, equal, strict=True) if one.holds]
    timed = [way for way in ways if any(way in pair for pair in pairs)]
    for number in range(rounds if warm_up else rounds - 1):
        for way in timed if number % 2 == 0 else reversed(timed):
            _call(way, seconds[way])
    return [
        _row(match, one, seconds[match.ours], seconds[match.peer])
        for match, one in zip(matches, equal, strict=True)
    ]


def _call(way: Way[Output], seconds: list[float]) -> Output:
    way.before()
    start = time.perf_counter()
    output = way.run()
    seconds.append(time.perf_counter() - start)
    return output


def _row(match: Match[Any], equal: Equality, ours: list[float], peer: list[float]) -> Row:
    """Return a match as it is kept: where the outputs differ without seconds and ratio."""
    found = {
        "ours": match.ours.name,
        "peer": match.peer.name,
        "aim": match.aim,
        "equal": {**vars(equal), "holds": equal.holds},
    }
    if not equal.holds:
        return found
    ratio = statistics.median(peer) / statistics.median(ours)
    return {**found, "our_seconds": ours, "peer_seconds": peer, "ratio": ratio}


# From a case to its command, the file of results and the page


def rounds(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option `--rounds` of a case."""
    return click.option(
        "--rounds", type=click.IntRange(1), default=default, show_default=True,
        help="How often each way is timed.",
    )  # fmt: skip


def case(name: str, *packages: str) -> Callable[[Callable[..., Found]], click.Command]:
    """Make a command of a function that returns Found; the first line of its docstring is its help.

    packages: those of the peers, whose versions are kept beside our own.
    """

    def decorate(function: Callable[..., Found]) -> click.Command:
        @click.option("--keep", "is_kept", is_flag=True, help="Keep figures of other options.")
        @functools.wraps(function)
        def run(*, is_kept: bool, **options: Any) -> bool:
            found, given = function(**options), _given()
            print_rows(name, found)
            if is_kept or not given:
                keep(name, _entry(shlex.join(["benchmarks/peers", name, *given]), packages, found))
            else:
                print("  not kept, as options are given: --keep")
            return all(row["equal"]["holds"] for row in found.rows)

        return click.command(name)(run)

    return decorate


def _given() -> list[str]:
    """Return the options of the case that were given on the command line, but for `--keep`."""
    context = click.get_current_context()
    return [
        f"{option.opts[0]}={context.params[option.name]}"
        for option in context.command.params
        if context.get_parameter_source(option.name) is click.core.ParameterSource.COMMANDLINE
        and not option.is_flag
    ]


def _entry(command: str, packages: Sequence[str], found: Found) -> dict[str, Any]:
    """Return what is kept of a case."""
    return {
        "command": f"python {command}",
        "rows": list(found.rows),
        "facts": dict(found.facts),
        "versions": {**versions(), **{one: metadata.version(one) for one in packages}},
        "machine": machine(),
    }


def keep(name: str, entry: dict[str, Any]) -> None:
    """Write a case beside the others, and the table of all to the page."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    entries = dict(sorted({**before, name: entry}.items()))
    RESULTS.write_text(json.dumps(entries, indent=2) + "\n")
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{table(entries)}{END}{rest.partition(END)[2]}")


def table(entries: Mapping[str, Any]) -> str:
    """Return the results as a table of Markdown, one line for each match."""
    lines = [
        "| case | ours | peer | equal | our seconds | peer's | ratio | aim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in entries.items():
        lines += [f"| `{name}` | {' | '.join(_cells(row))} |" for row in entry["rows"]]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    equal = row["equal"]
    apart = f"{equal['compared']:,} {equal['what']}, {equal['difference']:.2g} apart"
    figures = ["differ", "", "–"]
    if equal["holds"]:
        medians = [statistics.median(row[side]) for side in ("our_seconds", "peer_seconds")]
        figures = [f"{value:.3g}" for value in (*medians, row["ratio"])]
    return [row["ours"], row["peer"], apart, *figures, f"{row['aim']:g}"]


def print_rows(name: str, found: Found) -> None:
    """Print what a case found."""
    print(name)
    for row in found.rows:
        ours, peer, equal, seconds, theirs, ratio, aim = _cells(row)
        print(f"  {ours} | {peer}: {equal}")
        print(f"    {seconds} s | {theirs} s   ratio {ratio}, aim {aim}")
    for key, value in found.facts.items():
        print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
