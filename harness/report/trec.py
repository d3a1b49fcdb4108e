"""Runs and judgements as TREC files, so that trec_eval and the like measure the same numbers.

Per query: the rankings as measured, and the judgements with every grade that counts for nothing
here written as 0. Where the files' own rules differ, the report's are kept as far as they go:

* scores are made from ranks (n - rank), for trec_eval sorts by score and breaks ties by id;
* a failed query has no ranking, which `trec_eval -c` counts as 0, as the report does;
* a query without any judgement cannot be written in a qrels file, so trec_eval leaves it out
  where the report counts 0;
* the floor `random` is written as it was stored; the report's is the mean of twenty shuffles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import BadData
from ..evaluation import first_stage, natural
from ..runs import QueryResult, Run

_ORDERS: dict[str, Callable[[QueryResult], Iterable[str]]] = {
    "first-stage.run": first_stage,
    "natural.run": lambda r: () if r.failed is not None else natural(r.doc_ids, r.safeguard),
    "safeguarded.run": lambda r: () if r.failed is not None else r.doc_ids,
}
QRELS = "qrels.txt"


def write_trec(run: Run, folder: Path, *, tag: str) -> list[Path]:
    """Write `first-stage.run`, `natural.run`, `safeguarded.run` and `qrels.txt` into `folder`.

    `tag` names the run in the files' last column. Raises BadData, naming the id, where an id or the
    tag is empty or has white space, which divides the columns of such a file.
    """
    _checked(tag, "run tag")
    folder.mkdir(parents=True, exist_ok=True)
    written = {name: list(_run_lines(run, order, tag)) for name, order in _ORDERS.items()}
    written[QRELS] = list(_qrels_lines(run))
    for name, lines in written.items():
        (folder / name).write_text("".join(lines), encoding="utf-8")
    return [folder / name for name in written]


def _run_lines(run: Run, order: Callable[[QueryResult], Iterable[str]], tag: str) -> Iterator[str]:
    for result in run.results:
        query_id = _checked(result.query_id, "query id")
        ranking = list(order(result))
        for rank, doc_id in enumerate(ranking, 1):
            score = len(ranking) - rank
            yield f"{query_id} Q0 {_checked(doc_id, 'document id')} {rank} {score} {tag}\n"


def _qrels_lines(run: Run) -> Iterator[str]:
    least = run.min_grade
    for result in run.results:
        for doc_id, grade in run.qrels.get(result.query_id, {}).items():
            counted = grade if grade >= least else 0
            yield f"{result.query_id} 0 {_checked(doc_id, 'document id')} {counted}\n"


def _checked(name: str, kind: str) -> str:
    if name.split() != [name]:
        raise BadData(
            f"{kind} {name!r} cannot be written in a TREC file: it is empty or has white space"
        )
    return name
