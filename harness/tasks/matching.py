"""Whether two files use the same ids: `007` and `7`, `D12` and `12` are different ids."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from ..errors import BadData

SHARE = 0.2
"""A task that loses more of its queries than this to ids that do not match is refused."""

CURE = "write the ids alike, or pass --keep-going to go on without these"

Grades = Mapping[str, Mapping[str, int]]


def examples(missing: Iterable[str], known: Iterable[str]) -> str:
    """Return one id of each side, of two that differ in spelling alone where there are such."""
    strays, others = list(missing), list(known)
    by_core = {_core(name): name for name in reversed(others)}
    found = next((name for name in strays if _core(name) in by_core), strays[0])
    return f"{found!r} against {by_core.get(_core(found), others[0])!r}"


def _core(name: str) -> str:
    digits = re.findall(r"[0-9]+", name)
    return digits[-1].lstrip("0") if digits else re.sub(r"\W", "", name).casefold()


def check_queries(
    graded: Grades, query_ids: Collection[str], where: tuple[str, str], *, keep_going: bool
) -> None:
    """Raise BadData where the ids of judged queries are not those of `query_ids`.

    Judgements of more queries than there are texts, or texts of more queries than are judged, are
    no mismatch; only what is unmatched on both sides is. `where` names qrels and queries.
    """
    strays = [q for q in graded if q not in query_ids]
    unjudged = [q for q in query_ids if q not in graded]
    if query_ids and len(strays) == len(graded):
        pair = examples(strays, unjudged)
        raise BadData(f"{where[0]} judges none of the queries in {where[1]} ({pair})")
    lost = min(len(strays), len(unjudged))
    if lost > SHARE * len(graded) and not keep_going:
        what = f"{len(strays)} of {len(graded)} judged queries are not in {where[1]}"
        raise BadData(f"{where[0]}: {what} ({examples(strays, unjudged)}); {CURE}")


def check_documents(
    qrels: Grades, corpus: Collection[str], min_grade: int, where: tuple[str, str]
) -> None:
    """Raise BadData where judged documents are not in the corpus under their ids.

    That is: no positive is, or for more than a fifth of the queries no judged document is.
    """
    judged = [(d, grade) for graded in qrels.values() for d, grade in graded.items()]
    lost = [q for q, graded in qrels.items() if not any(d in corpus for d in graded)]
    if not any(grade >= min_grade and doc_id in corpus for doc_id, grade in judged):
        what = "no positive"
    elif len(lost) > SHARE * len(qrels):
        what = f"no judged document of {len(lost)} of {len(qrels)} queries"
    else:
        return
    pair = examples((d for d, _ in judged if d not in corpus), corpus)
    raise BadData(f"{where[0]}: {what} is in {where[1]} ({pair}); {CURE}")
