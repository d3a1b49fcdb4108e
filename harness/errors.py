"""What can go wrong, as a tree; the command line prints these without a traceback and exits 1.

    RerankBenchError
    ├── UnknownName        a task, profile, reranker, engine or option that does not exist
    ├── BadData            a task, pool, suite or run file that breaks its format
    ├── BadOption          an option of the wrong type or out of range
    ├── RerankerFault      a reranker broke its contract (wrong count, NaN, an exception)
    ├── EngineFault        an engine cannot do what it was asked
    │   ├── MissingExtra   an optional package is not installed
    │   └── EngineDied     the engine's own process ended, or its servers are gone
    ├── RequestFailed      one request could not be served and the run was to stop at that
    └── RunConflict        a run folder holds the same label with other settings

A message says what is wrong, where, and what to do; it fits in one or two lines.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class RerankBenchError(Exception):
    """The root of every expected error; `str(error)` is fit to be shown to a user."""


class UnknownName(RerankBenchError):
    """A name that is not in its list; the message offers the nearest ones."""


class BadData(RerankBenchError):
    """A file or data set breaks its format; the message names the file and the id."""


class BadOption(RerankBenchError):
    """An option has the wrong type, or a value outside its range."""


class RerankerFault(RerankBenchError):
    """A reranker returned the wrong number of scores, a score that is not a number, or raised."""


class EngineFault(RerankBenchError):
    """An engine cannot do what it was asked: a missing model, a label of two tokens."""


class MissingExtra(EngineFault):
    """A feature needs an optional package; the message names the command that installs it."""


class EngineDied(EngineFault):
    """The process that ran the model ended; other engines are not touched by it."""


class RequestFailed(RerankBenchError):
    """A request was answered with a failure, and the run was to stop at the first one."""


class RunConflict(RerankBenchError):
    """A finished run has this label but was made with other settings."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """Return the error for a `name` that is not in `known`, with up to three similar names."""
    names = sorted(known)
    near = _near(name, names)
    if near:
        hint = "did you mean " + " or ".join(near) + "?"
    elif names:
        hint = "known: " + ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    else:
        hint = "none is known"
    return UnknownName(f"unknown {kind} {name!r}; {hint}")


def _near(name: str, names: Sequence[str]) -> list[str]:
    """Return up to three of `names`, none of them much less like `name` than the first."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    likeness = [difflib.SequenceMatcher(None, one, name).ratio() for one in near]
    return [one for one, ratio in zip(near, likeness, strict=True) if ratio > likeness[0] - 0.1]


def printable(text: str) -> str:
    """Return `text` with control characters made visible, so that data cannot drive a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
