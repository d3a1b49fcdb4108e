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
    """Return the part of an id that its spellings share: its only number, or else all of it."""
    digits: list[str] = re.findall(r"[0-9]+", name)
    if len(digits) == 1:
        return digits[0].lstrip("0")
    return re.sub(r"[\W_]|(?<![0-9])0+(?=[0-9])", "", name).casefold()


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
        cure = "write the ids alike, or take the queries that these judgements are for"
        raise BadData(f"{where[0]} judges none of the queries in {where[1]} ({pair}); {cure}")
    lost = min(len(strays), len(unjudged))
    if lost > SHARE * len(graded) and not keep_going:
        what = f"{len(strays)} of {len(graded)} judged queries are not in {where[1]}"
        raise BadData(f"{where[0]}: {what} ({examples(strays, unjudged)}); {CURE}")


def check_documents(
    qrels: Grades, corpus: Collection[str], min_grade: int, where: tuple[str, str]
) -> None:
    """Raise BadData where judged documents are not in the corpus under their ids.

    That is: no positive is, or for more than a fifth of the queries no positive is, though one is
    there under another spelling, or no judged document is.
    """
    cores = {_core(doc_id) for doc_id in corpus}
    missing: list[str] = []
    lost = without = 0
    for graded in qrels.values():
        positives = [doc_id for doc_id, grade in graded.items() if grade >= min_grade]
        if any(doc_id in corpus for doc_id in positives):
            continue
        without += 1
        missing += positives
        respelt = any(_core(doc_id) in cores for doc_id in positives)
        lost += respelt or not any(doc_id in corpus for doc_id in graded)
    if without == len(qrels):
        what = "no positive"
    elif lost > SHARE * len(qrels):
        what = f"no positive of {lost} of {len(qrels)} queries"
    else:
        return
    pair = examples(missing, corpus)
    raise BadData(f"{where[0]}: {what} is in {where[1]} ({pair}); {CURE}")
