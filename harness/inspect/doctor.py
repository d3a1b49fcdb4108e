"""Check whether an engine agrees with itself, and whether two engines agree with each other.

Engines answer the same fixed requests: in one call, again, in reversed order, and some one by one.
The checks compare numbers, not rankings, so they find errors that a mean over queries hides.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..engines import choose_engine, option_fields
from ..errors import EngineDied, EngineFault, MissingExtra
from ..progress import bar
from ..reranking import parse
from ..types import Failure
from .doctor_checks import (
    TOLERANCES,
    UNKNOWN_DTYPE,
    DoctorCheck,
    EngineReplies,
    Passes,
    checks_between,
    own_checks,
)
from .doctor_requests import LETTERS, REPLACES, RequestGroup, sections

if TYPE_CHECKING:
    from ..types import Engine


@dataclass(frozen=True)
class DoctorReport:
    """All checks; `notes` say what was left out and why."""

    engines: tuple[EngineReplies, ...]
    checks: tuple[DoctorCheck, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[DoctorCheck, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if check.ok is False)

    @property
    def closing(self) -> str:
        """The result in one line."""
        judged = sum(check.ok is not None for check in self.checks)
        if not self.failed:
            return f"all {judged} checks hold"
        names = "; ".join(check.name for check in self.failed)
        return f"{len(self.failed)} of {judged} checks failed: {names}"


def open_engines(
    texts: Sequence[str], model: str | None, options: Mapping[str, str]
) -> list[tuple[str, Engine]]:
    """Open engines written `NAME` or `NAME:option=value,…`; return each with its text.

    options: for every engine that has them. Raises UnknownName or BadOption for an option that no
    engine has.
    """
    parsed = [parse(text, kind="engine") for text in texts]
    shared = {**({} if model is None else {"model": model}), **options}
    known = {option for name, _ in parsed for option in option_fields(name)}
    chosen = []
    for name, given in parsed:
        own = option_fields(name)  # an option that no engine has is an error of the first one
        mine = {k: v for k, v in shared.items() if k in own or (k in options and k not in known)}
        values = {**mine, **given}
        labels = {"labels": LETTERS} if values.get("head") == "labels" else {}
        chosen.append(choose_engine(name, values, **labels))
    return [(text, choice.open()) for text, choice in zip(texts, chosen, strict=True)]


def examine(engines: Sequence[tuple[str, Engine]], *, quick: bool = False) -> DoctorReport:
    """Check one engine, or two and compare them; closes them.

    quick: send few and short requests. The first engine is closed before the second loads its
    model. Raises the EngineFault of an engine that answers no section.
    """
    with contextlib.ExitStack() as stack:
        for _, engine in engines:
            stack.callback(engine.close)
        for _, engine in engines:
            _ = engine.identity  # raises for a missing model before any other is loaded
        requests = sections(engines[0][1].fit, quick=quick)
        found = []
        for letter, (name, engine) in zip("AB", engines, strict=False):
            found.append(_examine_one(letter, name, engine, requests))
            sent = {*found[-1].passes, *found[-1].errors}
            requests = {name: section for name, section in requests.items() if name in sent}
            engine.close()
    checks = [check for one in found for check in own_checks(one, requests)]
    checks += checks_between(found[0], found[1], requests) if len(found) == 2 else ()
    return DoctorReport(tuple(found), tuple(checks), tuple(dict.fromkeys(_notes(found))))


def _examine_one(
    letter: str, name: str, engine: Engine, requests: Mapping[str, RequestGroup]
) -> EngineReplies:
    """Send all sections but those that an answered one replaces."""
    passes: dict[str, Passes] = {}
    errors: dict[str, EngineFault] = {}
    for title, section in requests.items():
        if any(title in REPLACES.get(answered, ()) for answered in passes):
            continue
        try:
            passes[title] = _passes(engine, section, what=f"{letter} · {title}")
        except (MissingExtra, EngineDied):
            raise
        except EngineFault as error:
            errors[title] = error
    if not passes:
        raise next(iter(errors.values()))
    return EngineReplies(letter, name, dict(engine.identity), engine.statistics, passes, errors)


def _passes(engine: Engine, section: RequestGroup, *, what: str) -> Passes:
    """Send a section in one call, again, reversed, and every fourth request by itself."""
    indices = range(len(section.requests))
    alone = indices[::4]
    total = len(indices) if section.once else 3 * len(indices) + len(alone)
    with bar(what, total) as advance:

        def send(order: Sequence[int]) -> dict[int, Any]:
            replies: dict[int, Any] = {i: Failure("there was no reply") for i in order}
            for place, reply in engine.stream(iter([section.requests[i] for i in order])):
                replies[order[place]] = reply
                advance(1)
            return replies

        cold = send(indices)
        if section.once:
            return Passes(cold, {}, {}, {})
        return Passes(cold, send(indices), send(indices[::-1]), {i: send([i])[i] for i in alone})


def _notes(found: Sequence[EngineReplies]) -> Iterator[str]:
    for one in found:
        dtype = one.identity.get("dtype")
        if dtype not in TOLERANCES:
            what = f"dtype {dtype}" if dtype else "an unknown dtype"
            yield f"{one.letter} has {what}: the tolerance is {UNKNOWN_DTYPE:g}"
        for name, error in one.errors.items():
            yield f"{name} left out: {error}"
        for name, passes in one.passes.items():
            reasons = [r.reason for r in passes.cold.values() if isinstance(r, Failure)]
            if reasons:
                yield f"{one.letter} · {name}: {len(reasons)} refused, such as: {reasons[0]}"


# Printing


def as_table(report: DoctorReport) -> str:
    """Return the report as text: engines, checks, notes, and the result."""
    lines = []
    for one in report.engines:
        lines += [f"{one.letter} = {one.name}", f"    {_text(one.identity)}"]
        lines += [f"    {key}: {_text(value)}" for key, value in one.statistics.in_effect.items()]
    results = {True: "ok", False: "FAILED", None: ""}
    rows = [("check", "value", "tolerance", "")]
    rows += [(c.name, _number(c.value), _number(c.tolerance), results[c.ok]) for c in report.checks]
    first, second, third = (max(len(row[i]) for row in rows) for i in range(3))
    table = [f"{a:<{first}}  {b:>{second}}  {c:>{third}}  {d}".rstrip() for a, b, c, d in rows]
    notes = [f"note: {note}" for note in report.notes]
    return "\n".join([*lines, "", *table, "", *notes, report.closing])


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={entry}" for key, entry in value.items())
    return str(value)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def as_json(report: DoctorReport) -> str:
    """Return the report as one JSON object: `ok`, `engines`, `checks`, `notes` and `closing`."""
    engines = [
        {
            "name": one.name,
            "identity": one.identity,
            "capabilities": {k: _text(value) for k, value in one.statistics.in_effect.items()},
        }
        for one in report.engines
    ]
    whole = {
        "ok": not report.failed,
        "engines": engines,
        "checks": [asdict(check) for check in report.checks],
        "notes": report.notes,
        "closing": report.closing,
    }
    return json.dumps(whole, indent=2)
