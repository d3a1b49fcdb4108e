"""Published figures and measured ones, where a run did what the source did.

A claim is about one pool: a number of queries of a task, after a first stage with a known value. A
run that differs in any of these, or is measured by other judgements, is not compared with it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .measures import BINARY
from .results import records

if TYPE_CHECKING:
    import pandas as pd

    from .results import Record, Results

SAME_FIRST_STAGE = 5e-4
"""First stages whose values differ by less are the same pool: sources have three or four digits."""

_DEPTH = 100
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Claim:
    """One published figure and the pool it holds for; the fields are explained in `claims.toml`."""

    reranker: str
    model: str
    task: str
    queries: int
    profile: str
    first_stage: float
    measure: str
    value: float
    source: str
    tolerance: float
    why: str
    safeguarded: bool = False
    convention: str = ""


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim and the run it is about.

    measured: the safeguarded value where the claim is safeguarded, else the natural one.
    within: whether it is at most the tolerance apart from the claim.
    """

    claim: Claim
    task: str
    profile: str
    reranker: str
    measured: float
    within: bool


@cache
def load_claims() -> tuple[Claim, ...]:
    """Return all published claims of `claims.toml`, in its order."""
    text = Path(__file__).with_name("claims.toml").read_text(encoding="utf-8")
    return tuple(Claim(**own) for own in tomllib.loads(text)["claim"])


def match(results: Results, claims: Iterable[Claim]) -> tuple[ClaimRow, ...]:
    """Return the claims that are about a run, each with the run's own value.

    Runs with failed queries, invalid ones, those of the fake engine, of less than the first 100
    candidates or of cut texts, and by other judgements match nothing.
    """
    claims = list(claims)
    rows = results.rows()
    rows = rows[rows["reranker"].isin([claim.reranker for claim in claims]) & _is_usual(rows)]
    pairs = ((claim, row) for row in records(rows) for claim in claims if _is_about(claim, row))
    found = []
    for claim, row in pairs:
        measured = _under(claim, row, "safeguarded" if claim.safeguarded else "natural")
        within = abs(measured - claim.value) <= claim.tolerance + _ROUNDING
        where = row["task"], row["profile"], row["reranker"]
        found.append(ClaimRow(claim, *where, measured, within))
    return tuple(found)


def _is_usual(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are of the first 100 candidates, uncut, by a real model that worked."""
    real = rows["invalid"].isna() & rows["is_real"] & (rows["failed"] == 0)
    usual = (rows["instruction"] != "task") & (rows["judgements"] == "")
    uncut = rows["max_doc_chars"].isna() & rows["max_doc_tokens"].isna()
    return real & usual & uncut & rows["depth"].fillna(_DEPTH).eq(_DEPTH)


def _is_about(claim: Claim, row: Record) -> bool:
    """Return whether a row is of the reranker, the queries and the pool of a claim.

    Of a model's id or folder the last part counts, which a local copy shares with the hub's. A
    profile is named for a first stage as in `bm25()` or `run(bm25.trec)`.
    """

    def last(model: str) -> str:
        return model.rstrip("/").rpartition("/")[2].lower()

    own = (row["reranker"], last(row["model"]), row["measure"], row["task"].lower())
    wanted = (claim.reranker, last(claim.model), claim.measure, claim.task.lower())
    names = (row["profile"].lower(), row["resolved"].lower())
    is_named = any(
        name.startswith(claim.profile) or (name.startswith("run(") and claim.profile in name)
        for name in names
    )
    same = own == wanted and row["queries"] == claim.queries and is_named
    return same and abs(_under(claim, row, "first_stage") - claim.first_stage) <= SAME_FIRST_STAGE


def _under(claim: Claim, row: Record, stage: str) -> float:
    """Return the value of a stage under the convention of a claim."""
    return float(row[f"{stage}_binary" if claim.convention == BINARY else stage])
