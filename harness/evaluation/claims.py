"""Published figures beside one's own, where a run did what the source did.

A claim is about one pool: so many queries of a data set, after a first stage of known worth. A run
that differs in any of them, or is measured by other judgements, is not set beside it, whatever its
name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .measures import BINARY, MEASURES
from .results import records

if TYPE_CHECKING:
    import pandas as pd

    from .results import Record, Results

SAME_FIRST_STAGE = 5e-4
"""First stages whose values differ by less are the same pool: sources tell four digits or three."""

_DEPTH = 100
_ROUNDING = 1e-9
_NAMES = ("tasks", "sets", "judgements")


@dataclass(frozen=True, slots=True)
class Claim:
    """One published figure of `measure` and the pool it holds for.

    reranker: the label it would have here, with the catalogue's own options. tasks: names of the
    task, lower case; sets: names of the data set that holds it, any if empty; mean_of: how many
    tasks it is the mean of. profile: how the first stage's name begins; first_stage: its value of
    the same measure, None where a caveat makes it needless. judgements: those of the source, where
    they are not the task's usual ones. safeguarded: the published pool had a positive for every
    query. convention: of its measures, BINARY or empty for ours. tolerance: how far apart two runs
    of the same may lie, and `why`. caveat: why the figure is not comparable although data and model
    are the same; else empty.
    """

    reranker: str
    model: str
    data: str
    tasks: tuple[str, ...]
    queries: int
    profile: str
    first_stage: float | None
    measure: str
    value: float
    source: str
    tolerance: float
    why: str
    sets: tuple[str, ...] = ()
    mean_of: int = 1
    judgements: tuple[str, ...] = ()
    safeguarded: bool = False
    convention: str = ""
    caveat: str = ""


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim and the run it is about; `measured` is safeguarded where the claim is.

    claim: its caveat also tells what is wrong with this run. within: at most the tolerance apart;
    never where there is a caveat, so look there first.
    """

    claim: Claim
    task: str
    profile: str
    reranker: str
    measured: float
    within: bool

    @property
    def comparable(self) -> bool:
        """Say whether `within` is a verdict."""
        return not self.claim.caveat


@cache
def load_claims() -> tuple[Claim, ...]:
    """Return all published claims of `claims.toml`, in its order."""
    text = Path(__file__).with_name("claims.toml").read_text(encoding="utf-8")
    told = tomllib.loads(text)
    return tuple(claim for pool in told["pool"] for claim in _claims(told, pool))


def _claims(told: Mapping[str, Any], pool: Mapping[str, Any]) -> Iterator[Claim]:
    shared = {key: value for key, value in pool.items() if key not in {"claims", *_NAMES, "caveat"}}
    shared |= {key: tuple(pool.get(key, ())) for key in _NAMES}
    for reranker, value, source, *own in pool["claims"]:
        model, answers, *caveats = told["rerankers"][reranker]
        tolerance, why = told["tolerances"][answers]
        caveats += [*own, *filter(None, [pool.get("caveat")])]
        yield Claim(
            **{"profile": "", "first_stage": None, "measure": MEASURES[0], **shared},
            reranker=reranker,
            model=model,
            value=value,
            source=told["sources"][source],
            tolerance=tolerance,
            why=why,
            caveat="; ".join(caveats),
        )


def match(results: Iterable[Results], claims: Iterable[Claim]) -> tuple[ClaimRow, ...]:
    """Return the claims that are about a run, or a mean over a data set, beside its own value.

    results: of runs and of means. Invalid runs, those of the fake engine, of less than the first
    100 candidates or of cut texts, and by other judgements match nothing. A run with failed queries
    gets no verdict.
    """
    by_reranker: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        by_reranker.setdefault((claim.reranker, claim.measure), []).append(claim)
    return tuple(
        _beside(claim, row)
        for each in results
        for row in records(_whole(each.rows()))
        for claim in by_reranker.get((row["reranker"], row["measure"]), ())
        if _is_about(claim, row)
    )


def _whole(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are of the first 100 candidates by a real model that worked."""
    real = rows["invalid"].isna() & (rows["engine"] != "fake")
    own = rows["instruction"] != "task"  # published figures are by the model's own
    uncut = rows["max_doc_chars"].isna() & rows["max_doc_tokens"].isna()
    return rows[real & own & uncut & rows["depth"].fillna(_DEPTH).eq(_DEPTH)]


def _is_about(claim: Claim, row: Record) -> bool:
    """Return whether a row is of the model, the queries and the pool of a claim."""
    data, _, task = row["task"].lower().rpartition("/")
    if task not in claim.tasks or (claim.sets and _last(data) not in claim.sets):
        return False
    if (row["queries"], row["tasks"]) != (claim.queries, claim.mean_of):
        return False
    if row["judgements"] and row["judgements"] not in claim.judgements:
        return False
    if _last(row["model"]) != _last(claim.model):
        return False
    if not any(_is_named(row[name], claim.profile) for name in ("profile", "resolved")):
        return False
    own = _under(claim, row, "first_stage")
    return claim.first_stage is None or abs(own - claim.first_stage) <= SAME_FIRST_STAGE


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
    near = abs(measured - claim.value) <= claim.tolerance + _ROUNDING
    where = row["task"], row["profile"], row["reranker"]
    if row["failed"]:
        number = f"{row['failed']} of {row['queries']}"
        failed = f"{number} queries failed in {' · '.join(where[:2])}"
        claim = replace(claim, caveat="; ".join(filter(None, (claim.caveat, failed))))
    return ClaimRow(claim, *where, measured=measured, within=near and not claim.caveat)
