"""A reranker in a pipeline of PyTerrier, which starts no Java."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from rerank_bench import Candidates, FakeEngine, Logits, rerank
from rerank_bench.errors import BadData

pt = pytest.importorskip("pyterrier")

from rerank_bench.integrations.pyterrier import Rerank  # noqa: E402

TOPICS = pd.DataFrame([("1", "red apple"), ("2", "a pear")], columns=["qid", "query"])
TEXTS = {"d1": "a green apple", "d2": "a red apple", "d3": "a pear, green", "d4": "nothing"}


@pytest.fixture
def first_stage() -> Any:
    """All documents for both topics, the last one first; `url` is a column of its own."""
    rows = [
        (qid, query, docno, text, float(place), f"x://{docno}")
        for qid, query in TOPICS.itertuples(index=False)
        for place, (docno, text) in enumerate(TEXTS.items())
    ]
    frame = pd.DataFrame(rows, columns=["qid", "query", "docno", "text", "score", "url"])
    return pt.Transformer.from_df(pt.model.add_ranks(frame))


def ranked(frame: pd.DataFrame, qid: str) -> list[str]:
    own: list[str] = frame[frame["qid"] == qid].sort_values("rank")["docno"].tolist()
    return own


def test_a_pipeline_ranks_as_rerank_does_and_keeps_its_columns(first_stage: Any) -> None:
    found = (first_stage >> Rerank("pointwise", engine="fake"))(TOPICS)
    assert set(found.columns) == {"qid", "query", "docno", "text", "score", "rank", "url"}
    assert len(found) == 8
    for qid, query in TOPICS.itertuples(index=False):
        docnos = list(reversed(TEXTS))
        best = rerank(query, [TEXTS[d] for d in docnos], reranker="pointwise", engine="fake")
        assert ranked(found, qid) == [docnos[document.index] for document in best]
    assert (found["url"] == "x://" + found["docno"]).all()
    assert not pt.java.started()


def test_lists_are_given_by_rank_and_equal_scores_keep_it(first_stage: Any) -> None:
    seen: list[list[str]] = []

    class Constant:
        asks = frozenset[type]()

        def rerank(self, candidates: Candidates) -> list[float]:
            seen.append([document.text for document in candidates.documents])
            return [0.0] * len(candidates.documents)

    found = (first_stage >> Rerank(Constant()))(TOPICS)
    assert ranked(found, "1") == ranked(found, "2") == ["d4", "d3", "d2", "d1"]
    assert seen == [list(reversed(TEXTS.values()))] * 2
    assert not found.duplicated(["qid", "score"]).any()


def test_a_document_may_have_another_text_for_each_query() -> None:
    rows = [("1", "x", "d", "one"), ("2", "y", "d", "two")]
    frame = pd.DataFrame(rows, columns=["qid", "query", "docno", "text"])
    engine = FakeEngine(lambda request: Logits((0.0,)))
    found = Rerank("cross-encoder", engine=engine)(frame.assign(score=1.0, rank=0))
    assert found["text"].tolist() == ["one", "two"]
    assert engine.answered == 2


def test_without_ranks_the_order_is_that_of_the_scores(first_stage: Any) -> None:
    frame = first_stage(TOPICS)
    wanted, found = (Rerank("identity")(own) for own in (frame, frame.drop(columns="rank")))
    assert ranked(found, "1") == ranked(wanted, "1") == ["d4", "d3", "d2", "d1"]


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [("text", None, "has no text"), ("text", float("nan"), "has no text"),
     ("docno", "d4", "is there twice")],
)  # fmt: skip
def test_a_row_that_cannot_be_ranked_is_named(
    first_stage: Any, column: str, value: Any, problem: str
) -> None:
    frame = first_stage(TOPICS).sort_values(["qid", "rank"]).reset_index(drop=True)
    frame.loc[1, column] = value
    docno = frame.loc[1, "docno"]
    with pytest.raises(BadData, match=f"document {docno} of query 1 {problem}"):
        Rerank("identity")(frame)


def test_an_empty_result_stays_empty_and_one_without_texts_is_refused(first_stage: Any) -> None:
    empty = first_stage(TOPICS).iloc[:0]
    assert Rerank("identity")(empty).empty
    with pytest.raises(pt.validate.InputValidationError, match="text"):
        Rerank("identity")(first_stage(TOPICS).drop(columns="text"))


def test_a_pipeline_is_part_of_an_experiment(first_stage: Any) -> None:
    qrels = pd.DataFrame([("1", "d2", 1), ("2", "d3", 1)], columns=["qid", "docno", "label"])

    class Overlap:
        asks = frozenset[type]()

        def rerank(self, candidates: Candidates) -> list[float]:
            words = set(candidates.query.split())
            return [float(len(words & set(d.text.split()))) for d in candidates.documents]

    systems = [first_stage, first_stage >> Rerank(Overlap())]
    found = pt.Experiment(systems, TOPICS, qrels, eval_metrics=["recip_rank"])
    before, after = found["recip_rank"]
    assert after == 1.0 > before
