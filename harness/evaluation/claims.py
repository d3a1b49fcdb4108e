"""Published figures beside measured ones, where a run did what the source did.

A claim is about one pool: so many queries of a task, after a first stage of known worth. A run that
differs in any of them, or is measured by other judgements, is not compared with it.
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
    """Return the claims that are about a run, beside its own value.

    Runs with failed queries, invalid ones, those of the fake engine, of less than the first 100
    candidates or of cut texts, and by other judgements match nothing.
    """
    claims = list(claims)
    rows = results.rows()
    rows = rows[rows["reranker"].isin([claim.reranker for claim in claims])]
    return tuple(
        _beside(claim, row)
        for row in records(_whole(rows))
        for claim in claims
        if _is_about(claim, row)
    )


def _whole(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are of the first 100 candidates by a real model that worked."""
    real = rows["invalid"].isna() & rows["is_real"] & (rows["failed"] == 0)
    usual = (rows["instruction"] != "task") & (rows["judgements"] == "")
    uncut = rows["max_doc_chars"].isna() & rows["max_doc_tokens"].isna()
    return rows[real & usual & uncut & rows["depth"].fillna(_DEPTH).eq(_DEPTH)]


def _is_about(claim: Claim, row: Record) -> bool:
    """Return whether a row is of the reranker, the queries and the pool of a claim."""
    own = (row["reranker"], _last(row["model"]), row["measure"], row["task"].lower())
    wanted = (claim.reranker, _last(claim.model), claim.measure, claim.task.lower())
    if own != wanted or row["queries"] != claim.queries:
        return False
    if not any(_is_named(row[name], claim.profile) for name in ("profile", "resolved")):
        return False
    return abs(_under(claim, row, "first_stage") - claim.first_stage) <= SAME_FIRST_STAGE


def _under(claim: Claim, row: Record, stage: str) -> float:
    """Return the value of a stage under the convention of a claim."""
    return float(row[f"{stage}_binary" if claim.convention == BINARY else stage])


def _is_named(profile: str, word: str) -> bool:
    """Return whether a profile is named for a first stage: `bm25()`, `run(bm25.trec)`."""
    name = profile.lower()
    return name.startswith(word) or (name.startswith("run(") and word in name)


def _last(model: str) -> str:
    """Return the last part of a model's id or folder, which a local copy shares with the hub's."""
    return model.rstrip("/").rpartition("/")[2].lower()


def _beside(claim: Claim, row: Record) -> ClaimRow:
    measured = _under(claim, row, "safeguarded" if claim.safeguarded else "natural")
    within = abs(measured - claim.value) <= claim.tolerance + _ROUNDING
    return ClaimRow(claim, row["task"], row["profile"], row["reranker"], measured, within)
