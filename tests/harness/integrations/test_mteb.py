"""What needs no mteb; the rest is compared with mteb itself in tests/peers."""

from __future__ import annotations

import re
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from rerank_bench import Candidates, FakeEngine, Logits, PairScore, ask, open_engine
from rerank_bench.engines.fake import OverlapEngine
from rerank_bench.errors import BadData, BadOption, MissingExtra
from rerank_bench.integrations.mteb import Reranked

CORPUS = [
    {"id": "a", "title": "One", "text": "apple"},
    {"id": "b", "title": "", "text": " pear"},
    {"id": "c", "title": None, "text": "plum"},
]
TASK = SimpleNamespace(name="Fruit", type="Retrieval")


class Seen:
    """Keeps what it is given, and finds all documents equal."""

    asks = frozenset({PairScore})

    def __init__(self) -> None:
        self.candidates: list[Candidates] = []

    def rerank(self, candidates: Candidates) -> Any:
        self.candidates.append(candidates)
        yield from ask([PairScore(candidates.query, d.text) for d in candidates.documents])
        return [0.0] * len(candidates.documents)


def search(
    seen: Any, queries: list[dict[str, Any]], top_ranked: Any, task: Any = TASK, **more: Any
) -> Any:
    model = Reranked(seen, engine=FakeEngine(lambda request: Logits((0.0,))), **more)
    model.index(CORPUS, task_metadata=task, hf_split="dev", hf_subset="default")
    return model.search(queries, task_metadata=task, top_ranked=top_ranked, top_k=10)


def test_texts_are_joined_as_mteb_joins_them_and_ties_keep_their_order() -> None:
    seen = Seen()
    rows = [
        {"id": "q", "text": "fruit?", "instruction": "Red ones."},
        {"id": "r", "text": "x", "instruction": None},
    ]
    found = search(seen, rows, {"q": ["c", "a", "b", "a"], "r": ["b"], "other": ["a"]})
    one, two = seen.candidates
    assert (one.query, two.query) == ("fruit? Red ones.", "x")
    assert [d.text for d in one.documents] == ["plum", "One apple", " pear"]
    assert [list(own) for own in found.values()] == [["c", "a", "b"], ["b"]]
    scores = list(found["q"].values())
    assert scores == sorted(set(scores), reverse=True)


def test_lists_of_a_reranking_task_are_given_in_an_order_by_hash() -> None:
    orders = []
    for ids in (["a", "b", "c"], ["c", "b", "a"]):
        seen = Seen()
        search(
            seen,
            [{"id": "q", "text": "x"}],
            {"q": ids},
            SimpleNamespace(name="T", type="Reranking"),
        )
        orders.append([document.doc_id for document in seen.candidates[0].documents])
    assert orders[0] == orders[1]


def test_lists_of_a_first_stage_keep_their_order_in_a_reranking_task_too() -> None:
    for ids in (["a", "b", "c"], ["c", "b", "a"]):
        seen, about = Seen(), SimpleNamespace(name="T", type="Reranking")
        search(seen, [{"id": "q", "text": "x"}], {"q": ids}, about, first_stage="bm25")
        assert [document.doc_id for document in seen.candidates[0].documents] == ids


def test_a_query_without_candidates_has_no_ranking_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen, rows = Seen(), [{"id": q, "text": "x"} for q in ("q", "r", "s")]
    found = search(seen, rows, {"q": ["a"], "s": []})
    assert {query_id: list(own) for query_id, own in found.items()} == {
        "q": ["a"],
        "r": [],
        "s": [],
    }
    assert len(seen.candidates) == 1
    assert "2 of 3 queries have no candidates and count as 0, such as r" in caplog.text


@pytest.mark.parametrize(("exclude", "kept"), [(True, ["b"]), (False, ["a", "b"])])
def test_a_query_s_own_document_is_left_out_on_request(exclude: bool, kept: list[str]) -> None:
    seen = Seen()
    found = search(seen, [{"id": "a", "text": "x"}], {"a": ["a", "b"]}, exclude_identical=exclude)
    assert [d.doc_id for d in seen.candidates[0].documents] == list(found["a"]) == kept


@pytest.mark.parametrize(
    ("row", "top_ranked", "message"),
    [
        ({"id": "q", "text": "x"}, None, "has no candidates to rerank; call"),
        ({"id": "q", "text": "x"}, {}, "has no candidates for query q"),
        ({"id": "q", "text": "x"}, {"q": ["z"]}, "candidate z of query q is not in the corpus"),
        ({"id": "q", "text": ["hello"]}, {"q": ["a"]}, "query q is no text but a conversation"),
    ],
)
def test_what_cannot_be_reranked_is_named(row: Any, top_ranked: Any, message: str) -> None:
    with pytest.raises(BadData, match=message):
        search(Seen(), [row], top_ranked)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, "Reranked needs the extra mteb: pip install"),
        ("2.7.30", "mteb 2.7.30 is too old for Reranked"),
    ],
)
def test_without_an_mteb_that_knows_experiments_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, version: str | None, message: str
) -> None:
    def installed(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    model = Reranked("identity")
    monkeypatch.setattr(metadata, "version", installed)
    with pytest.raises(MissingExtra, match=re.escape(message)) as raised:
        _ = model.mteb_model_meta
    assert "'rerank-bench[mteb]'" in str(raised.value)


def test_a_cascade_is_refused() -> None:
    with pytest.raises(BadOption, match="one reranker is needed here, not the cascade"):
        Reranked("identity then reverse at 5")


def test_a_model_of_mteb_has_no_predict_by_which_it_would_be_handed_pairs() -> None:
    assert not {"predict", "encode"} & set(dir(Reranked))


def test_an_engine_is_closed_by_whoever_opened_it(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []
    monkeypatch.setattr(OverlapEngine, "close", lambda engine: closed.append(engine))
    mine = open_engine("fake")
    Reranked("pointwise", engine=mine).close()
    assert closed == []
    Reranked("pointwise", engine="fake").close()
    assert len(closed) == 1
