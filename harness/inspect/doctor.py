"""The command `doctor`: whether an engine agrees with itself, and two engines with each other.

One or two engines answer the same fixed requests: in one call, once more, in reversed order, and
some one by one. Numbers are compared, not rankings, so a mistake shows that a good mean would hide.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..engines import choose_engine, engine_points, option_fields, option_kinds, readers
from ..errors import BadOption, EngineDied, EngineFault, MissingExtra, unknown
from ..progress import bar
from ..reranking import parse
from ..types import Failure
from .doctor_checks import Check, Examined, Passes, checks_between, own_checks
from .doctor_requests import LETTERS, SPARES, Asked, sections

if TYPE_CHECKING:
    from ..types import Engine

TOLERANCES: Mapping[str, float] = {"float32": 1e-3, "bfloat16": 0.15, "float16": 0.15}
"""dtype -> the largest difference of centred log-probabilities, or logits, that is no mistake."""

UNKNOWN = 0.15


@dataclass(frozen=True)
class Patient:
    """An engine as it was asked for: what its replies depend on, and what it found it can do."""

    name: str
    identity: Mapping[str, str]
    capabilities: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """What was found. `notes` say what was left out, and why."""

    engines: tuple[Patient, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if check.ok is False)

    @property
    def closing(self) -> str:
        """The verdict in one line."""
        judged = sum(check.ok is not None for check in self.checks)
        if not self.failed:
            return f"all {judged} checks hold"
        names = "; ".join(check.name for check in self.failed)
        return f"{len(self.failed)} of {judged} checks failed: {names}"


# Opening


def open_engines(
    asked: Sequence[str], model: str | None, options: Mapping[str, str]
) -> list[tuple[str, Engine]]:
    """Open engines written `NAME` or `NAME:option=value,…`, each with what was written.

    `options` go to every engine that reads them. Raises BadOption for one that none reads.
    """
    chosen = [(text, *parse(text, kind="engine")) for text in asked]
    names = list(dict.fromkeys(name for _, name, _ in chosen))
    for name in names:
        if name not in engine_points():
            raise unknown("engine", name, engine_points())
    for option in options:
        _require_reader(option, names)
    return [(text, _open(name, given, model, options)) for text, name, given in chosen]


def _require_reader(option: str, names: Sequence[str]) -> None:
    of = f"engine {' or '.join(names)}"
    if not readers(option):
        raise unknown(f"option of {of}:", option, {k for name in names for k in option_kinds(name)})
    if not set(readers(option)) & set(names):
        others = " or ".join(readers(option))
        raise BadOption(f"{option} is no option of {of}, but of {others}")


def _open(
    name: str, given: Mapping[str, str], model: str | None, shared: Mapping[str, str]
) -> Engine:
    known = option_fields(name)
    usual = {} if model is None else {"model": model}
    read = {key: value for key, value in {**usual, **shared}.items() if key in known}
    asked = {**read, **given}
    if asked.get("head") == "labels":
        return choose_engine(name, asked, labels=LETTERS).open()
    return choose_engine(name, asked).open()


# Asking


def examine(engines: Sequence[tuple[str, Engine]], *, quick: bool = False) -> Report:
    """Examine one engine, or two and compare them; `quick` asks few and short requests.

    The first one's model is given back before the second one's is loaded; both are closed in the
    end. An EngineFault that leaves nothing to be judged is raised as it is.
    """
    with contextlib.ExitStack() as stack:
        for _, engine in engines:
            stack.callback(engine.close)
        for _, engine in engines:
            _ = engine.identity  # what is missing is told before any model is loaded
        asked = sections(engines[0][1].fit, quick=quick)
        patients, found = [], []
        for letter, (name, engine) in zip("AB", engines, strict=False):
            one = _ask_all(letter, engine, asked)
            asked = {k: v for k, v in asked.items() if k in {*one.passes, *one.faults}}
            patients.append(_patient(name, engine))
            found.append(one)
            engine.close()
    checks = [check for one in found for check in own_checks(one, asked)]
    checks += checks_between(found[0], found[1], asked) if len(found) == 2 else ()
    return Report(tuple(patients), tuple(checks), tuple(dict.fromkeys(_notes(found, patients))))


def _patient(name: str, engine: Engine) -> Patient:
    able = {key: _told(v) for key, v in engine.statistics.in_effect.items()}
    return Patient(name, dict(engine.identity), able)


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={v}" for key, v in value.items())
    return str(value)


def _ask_all(letter: str, engine: Engine, asked: Mapping[str, Asked]) -> Examined:
    """Ask all sections but those that an answered one spares."""
    passes: dict[str, Passes] = {}
    faults: dict[str, EngineFault] = {}
    for section, requests in asked.items():
        if any(section in SPARES.get(done, ()) for done in passes):
            continue
        try:
            passes[section] = _passes(engine, requests, what=f"{letter} · {section}")
        except (MissingExtra, EngineDied):
            raise
        except EngineFault as fault:
            faults[section] = fault
    if not passes:
        raise next(iter(faults.values()))
    told = {section: str(fault) for section, fault in faults.items()}
    tolerance = TOLERANCES.get(engine.identity.get("dtype", ""), UNKNOWN)
    return Examined(letter, passes, told, tolerance, engine.statistics.leading_tokens)


def _passes(engine: Engine, asked: Asked, *, what: str) -> Passes:
    whole = range(len(asked.requests))
    alone = whole[::4]
    total = len(whole) if asked.once else 3 * len(whole) + len(alone)
    with bar(what, total) as step:

        def ask(order: Sequence[int]) -> dict[int, Any]:
            answers: dict[int, Any] = {i: Failure("it was never answered") for i in order}
            for place, answer in engine.stream(iter([asked.requests[i] for i in order])):
                answers[order[place]] = answer
                step(1)
            return answers

        cold = ask(whole)
        if asked.once:
            return Passes(cold, {}, {}, {})
        warm, turned = ask(whole), ask(whole[::-1])
        return Passes(cold, warm, turned, {i: ask([i])[i] for i in alone})


# Telling


def _notes(found: Sequence[Examined], patients: Sequence[Patient]) -> Iterator[str]:
    for one, patient in zip(found, patients, strict=True):
        dtype = patient.identity.get("dtype")
        if dtype not in TOLERANCES:
            what = f"dtype {dtype}" if dtype else "a dtype that is not told"
            yield f"{one.letter} has {what}: differences up to {UNKNOWN:g} are let pass"
        for section, fault in one.faults.items():
            yield f"{section} left out: {fault}"
        for section, passes in one.passes.items():
            reasons = [a.reason for a in passes.cold.values() if isinstance(a, Failure)]
            if reasons:
                yield f"{one.letter} · {section}: {len(reasons)} refused, such as: {reasons[0]}"


def as_table(report: Report) -> str:
    """The report as text: the engines, a table of the checks, the notes, and the verdict."""
    rows = [("check", "value", "tolerance", "")]
    verdicts = {True: "ok", False: "FAILED", None: ""}
    rows += [
        (c.name, _number(c.value), _number(c.tolerance), verdicts[c.ok]) for c in report.checks
    ]
    parts = [*_engine_lines(report.engines), "", *_columns(rows), ""]
    return "\n".join([*parts, *(f"note: {note}" for note in report.notes), report.closing])


def _engine_lines(engines: Iterable[Patient]) -> Iterator[str]:
    for letter, engine in zip("AB", engines, strict=False):
        yield f"{letter} = {engine.name}"
        yield f"    {_told(engine.identity)}"
        for name, able in engine.capabilities.items():
            yield f"    {name}: {able}"


def _columns(rows: Sequence[tuple[str, str, str, str]]) -> Iterator[str]:
    first, second, third = (max(len(row[i]) for row in rows) for i in range(3))
    for name, value, tolerance, verdict in rows:
        yield f"{name:<{first}}  {value:>{second}}  {tolerance:>{third}}  {verdict}".rstrip()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def as_json(report: Report) -> str:
    """The report as one JSON object with `ok`, `engines`, `checks` and `notes`."""
    import json

    whole = {"ok": not report.failed, **asdict(report), "closing": report.closing}
    return json.dumps(whole, indent=2)


WRITTEN: Mapping[str, Callable[[Report], str]] = {"table": as_table, "json": as_json}
"""Form -> what writes a report in it."""
