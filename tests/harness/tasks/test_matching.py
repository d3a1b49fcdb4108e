"""Ids that do not match between files are refused, with one of each kind; good data is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_bench.errors import BadData
from rerank_bench.tasks import Task, TaskOptions, examples, find_tasks

Writer = Callable[..., Path]
KEEP = TaskOptions(keep_going=True)
TEN = [str(i) for i in range(1, 11)]


def only(folder: Path, options: TaskOptions | None = None) -> Task:
    (ref,) = find_tasks(str(folder), options or TaskOptions())
    return ref.load()


def ten(**changed: Any) -> dict[str, Any]:
    """A task of ten queries 1 to 10 and documents 1 to 10."""
    texts = {"_id": TEN, "text": [f"text {i}" for i in TEN]}
    qrels = {"query-id": TEN, "corpus-id": TEN}
    return {"corpus": texts, "queries": texts, "qrels": qrels, "bm25": None, **changed}


def qrels(queries: list[str], documents: list[str], scores: list[int] | None = None) -> Any:
    found: dict[str, list[Any]] = {"query-id": queries, "corpus-id": documents}
    return found if scores is None else {**found, "score": scores}


def padded(names: list[str]) -> list[str]:
    return [name.zfill(3) for name in names]


def test_all_positives_outside_the_corpus_are_refused_with_both_kinds_of_id(
    nano_folder: Writer,
) -> None:
    folder = nano_folder(**ten(qrels=qrels(TEN, padded(TEN))))
    with pytest.raises(BadData) as caught:
        only(folder)
    said = str(caught.value)
    assert "qrels/a.parquet: no positive is in" in said
    assert "corpus/a.parquet ('001' against '1')" in said
    assert "--keep-going" in said
    assert only(folder, KEEP).notes["positives outside the corpus"].count == 10


def test_positives_are_those_of_the_lowest_grade_that_counts(nano_folder: Writer) -> None:
    graded = qrels([*TEN, *TEN], [*TEN, *padded(TEN)], [0] * 10 + [1] * 10)
    folder = nano_folder(**ten(qrels=graded))
    with pytest.raises(BadData, match="no positive is in"):
        only(folder)


@pytest.mark.parametrize(("lost", "refused"), [(2, False), (3, True)])
def test_over_a_fifth_of_the_queries_without_a_positive_is_refused(
    nano_folder: Writer, lost: int, refused: bool
) -> None:
    positives, others = [*padded(TEN[:lost]), *TEN[lost:]], [*TEN[1:], "1"]
    graded = qrels([*TEN, *TEN], [*positives, *others], [1] * 10 + [0] * 10)
    folder = nano_folder(**ten(qrels=graded))
    if not refused:
        assert only(folder).notes["positives outside the corpus"].count == lost
        return
    with pytest.raises(BadData, match=r"no positive of 3 of 10 queries is in .*\('001' aga"):
        only(folder)
    assert len(only(folder, KEEP).queries) == 10


@pytest.mark.parametrize(("lost", "refused"), [(2, False), (3, True)])
def test_over_a_fifth_of_the_judged_queries_without_a_text_is_refused(
    nano_folder: Writer, lost: int, refused: bool
) -> None:
    judged = [*padded(TEN[:lost]), *TEN[lost:]]
    folder = nano_folder(**ten(qrels=qrels(judged, TEN)))
    if not refused:
        assert only(folder).notes["judged queries without a text"].count == lost
        return
    with pytest.raises(BadData) as caught:
        only(folder)
    said = str(caught.value)
    assert "3 of 10 judged queries are not in" in said
    assert "queries/a.parquet ('001' against '1'); write the ids alike" in said
    assert list(only(folder, KEEP).queries) == TEN[3:]


def test_positives_that_the_corpus_has_under_no_spelling_are_no_mismatch(
    nano_folder: Writer,
) -> None:
    positives = [*(f"gone{i}-{i}" for i in TEN[:5]), *TEN[5:]]
    graded = qrels([*TEN, *TEN], [*positives, *TEN[1:], "1"], [1] * 10 + [0] * 10)
    notes = only(nano_folder(**ten(qrels=graded))).notes
    assert notes["positives outside the corpus"].count == 5


def test_no_query_in_common_is_refused_even_with_keep_going(nano_folder: Writer) -> None:
    folder = nano_folder(**ten(qrels=qrels([f"q{i}" for i in TEN], TEN)))
    for options in (TaskOptions(), KEEP):
        with pytest.raises(
            BadData, match=r"judges none of the queries in .*\('q1' against '1'\); wri"
        ):
            only(folder, options)


def test_judgements_of_many_more_queries_are_no_mismatch(nano_folder: Writer) -> None:
    more = [f"{i}" for i in range(1, 100)]
    folder = nano_folder(**ten(qrels=qrels(more, ["1"] * 99)))
    assert only(folder).notes["judged queries without a text"].count == 89


def test_texts_of_many_more_queries_are_no_mismatch(nano_folder: Writer, beir: Any) -> None:
    folder = nano_folder(**ten(qrels=qrels(["1"], ["1"])))
    assert only(folder).notes["queries without a positive"].count == 9
    texts = {name: name for name in TEN}
    (ref,) = find_tasks(str(beir(texts, texts, {"1": {"1": 1}})))
    assert dict(ref.load().notes) == {}


def test_a_beir_folder_is_held_to_the_same(beir: Any) -> None:
    texts = {name: name for name in TEN}
    by_query = {name: {name: 1} for name in [*TEN[:5], *padded(TEN[5:])]}
    (ref,) = find_tasks(str(beir(texts, texts, by_query, name="queries")))
    with pytest.raises(BadData, match=r"5 of 10 judged queries are not in .*\('006' against '6'\)"):
        ref.load()
    by_query = {name: {f"doc{name}": 1} for name in TEN}
    (ref,) = find_tasks(str(beir(texts, texts, by_query, name="documents")))
    with pytest.raises(BadData, match=r"no positive is in .*corpus.jsonl \('doc1' against '1'\)"):
        ref.load()


@pytest.mark.parametrize(
    ("missing", "known", "said"),
    [
        (["x", "007"], ["a", "7"], "'007' against '7'"),
        (["D12"], ["1", "12"], "'D12' against '12'"),
        (["Doc-A"], ["b", "doca"], "'Doc-A' against 'doca'"),
        (["x"], ["a", "b"], "'x' against 'a'"),
    ],
)
def test_the_example_is_of_two_spellings_of_one_id_where_there_are_such(
    missing: list[str], known: list[str], said: str
) -> None:
    assert examples(missing, known) == said


def test_judgements_that_reach_far_outside_a_real_corpus_are_taken(nano: Path) -> None:
    options = TaskOptions(qrels="qrels_official")
    (ref,) = find_tasks(str(nano / "NanoGraded" / "trec_dl19"), options)
    assert ref.load().notes["positives outside the corpus"].count > 1000
