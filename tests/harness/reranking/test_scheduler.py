from __future__ import annotations

import itertools
import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import (
    Candidates,
    Document,
    EngineFault,
    Failure,
    FakeEngine,
    Job,
    Logits,
    PairScore,
    RequestFailed,
    RerankerFault,
    Scored,
    ask,
    drive,
    order,
    rerank_one,
)


def candidates(count: int, *, query: str = "q") -> Candidates:
    documents = tuple(Document(f"d{i}", f"document {i} of {query}") for i in range(count))
    return Candidates("task", query, query, documents)


class Pairs:
    """Asks one request per document, all at once."""

    def rerank(self, given):
        replies = yield from ask([PairScore(given.query, d.text) for d in given.documents])
        return [reply.logits[0] for reply in replies]


class Steps:
    """Asks its documents one after another, as a sort would."""

    def rerank(self, given):
        scores = []
        for document in given.documents:
            (reply,) = yield [PairScore(given.query, document.text)]
            scores.append(reply.logits[0])
        return scores


def by_length(request: PairScore) -> Logits:
    return Logits((float(len(request.document)),), prompt_tokens=3)


def test_scores_come_back_in_candidate_order_whatever_order_the_engine_answers_in():
    class Shuffled(FakeEngine):
        def answer(self, requests):
            answers = list(super().answer(requests))
            random.Random(3).shuffle(answers)
            return iter(answers)

    engine = Shuffled(lambda r: Logits((float(r.document.split()[1]),)))
    assert rerank_one(Pairs(), candidates(20), engine).scores == tuple(map(float, range(20)))


@pytest.mark.parametrize("method", [Pairs(), Steps()])
def test_calls_rounds_and_tokens_are_those_the_flow_yielded(method):
    usage = rerank_one(method, candidates(5), FakeEngine(by_length)).usage
    assert (usage.calls, usage.prompt_tokens) == (5, 15)
    assert usage.rounds == (1 if isinstance(method, Pairs) else 5)


def test_equal_requests_of_a_slice_are_asked_once_and_counted_as_merged():
    class Twice(Pairs):
        def rerank(self, given):
            replies = yield [PairScore("q", "same")] * 3
            return [replies[0].logits[0]] * len(given.documents)

    engine = FakeEngine(by_length)
    jobs = [Job(i, Twice(), candidates(2, query=f"q{i}")) for i in range(4)]
    usages = [outcome.usage for _, outcome in drive(jobs, engine)]
    assert engine.answered == 1
    assert sum(u.merged for u in usages) == 11
    assert all(u.calls == 3 and u.prompt_tokens == 9 for u in usages)


def test_a_round_of_all_open_queries_reaches_the_engine_as_one_slice():
    slices = []

    class Watched(FakeEngine):
        def answer(self, requests):
            slices.append(len(requests))
            return super().answer(requests)

    jobs = [Job(i, Steps(), candidates(3, query=f"q{i}")) for i in range(10)]
    assert len(list(drive(jobs, Watched(by_length)))) == 10
    assert slices == [10, 10, 10]


def test_the_seconds_of_a_slice_are_shared_out_by_tokens_and_evenly_where_none_are_told():
    """Two queries of one slice, one with texts three times as long as the other's."""

    def spent(tokens):
        def answer(request):
            time.sleep(0.001)
            return Logits((1.0,), prompt_tokens=tokens[request.query])

        jobs = [Job(q, Pairs(), candidates(5, query=q)) for q in ("short", "long")]
        return {job.key: o.usage.seconds for job, o in drive(jobs, FakeEngine(answer))}

    by_tokens = spent({"short": 10, "long": 30})
    assert by_tokens["long"] == pytest.approx(3 * by_tokens["short"])
    assert sum(by_tokens.values()) >= 0.01
    evenly = spent({"short": 0, "long": 0})
    assert evenly["long"] == pytest.approx(evenly["short"])


def test_no_more_requests_are_open_than_allowed_but_always_one_flow():
    slices = []

    class Watched(FakeEngine):
        def answer(self, requests):
            slices.append(len(requests))
            return super().answer(requests)

    jobs = [Job(i, Pairs(), candidates(10, query=f"q{i}")) for i in range(7)]
    assert len(list(drive(jobs, Watched(by_length), open_requests=25))) == 7
    assert max(slices) <= 30
    slices.clear()
    assert len(list(drive(jobs, Watched(by_length), open_requests=3))) == 7
    assert slices == [10] * 7


def test_jobs_are_drawn_only_as_others_end():
    drawn = []

    def jobs():
        for i in range(100):
            drawn.append(i)
            yield Job(i, Pairs(), candidates(10, query=f"q{i}"))

    first = next(drive(jobs(), FakeEngine(by_length), open_requests=20))
    assert first[0].key == 0
    assert len(drawn) <= 4


def test_a_list_of_nothing_comes_straight_back_and_costs_no_round():
    class Bare:
        def rerank(self, given):
            assert (yield []) == ()
            assert (yield from ask([])) == ()
            return [0.0] * len(given.documents)

    usage = rerank_one(Bare(), candidates(3), FakeEngine(by_length)).usage
    assert (usage.calls, usage.rounds) == (0, 0)


def test_a_model_free_reranker_returns_its_scores_outright():
    class Plain:
        def rerank(self, given):
            return Scored([1.0, 2.0], {"repaired": 4})

    outcome = rerank_one(Plain(), candidates(2), FakeEngine(by_length))
    assert outcome.scores == (1.0, 2.0)
    assert outcome.counts == {"repaired": 4}


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0], "returned 1 scores for 2 candidates"),
        ([1.0, math.nan], "no number"),
        ([1.0, math.inf], "no number"),
        (["a", "b"], "ValueError"),
        (None, "TypeError"),
    ],
)
def test_a_broken_answer_of_a_plugin_is_an_error_that_names_query_and_reranker(scores, message):
    class Broken:
        def rerank(self, given):
            return scores

    job = Job(0, Broken(), candidates(2, query="query-7"), "my-reranker")
    with pytest.raises(RerankerFault, match=message) as caught:
        list(drive([job], FakeEngine(by_length)))
    assert "my-reranker" in str(caught.value)
    assert "query-7" in str(caught.value)


def test_an_exception_inside_a_flow_is_an_error_that_names_it():
    class Raises:
        def rerank(self, given):
            yield [PairScore("q", "d")]
            raise KeyError("lost")

    with pytest.raises(RerankerFault, match=r"query q: raised KeyError: 'lost'"):
        rerank_one(Raises(), candidates(1), FakeEngine(by_length))


def test_a_failure_stops_the_run_and_with_keep_going_only_its_query():
    def fragile(request: PairScore):
        return Failure("too long") if "q3" in request.query else by_length(request)

    jobs = [Job(i, Pairs(), candidates(3, query=f"q{i}"), "label") for i in range(6)]
    with pytest.raises(RequestFailed, match="label, task task, query q3: too long"):
        list(drive(jobs, FakeEngine(fragile)))
    outcomes = {job.key: out for job, out in drive(jobs, FakeEngine(fragile), keep_going=True)}
    assert outcomes[3].reason == "too long"
    assert all(len(outcomes[i].scores) == 3 for i in range(6) if i != 3)


def test_an_engine_that_leaves_a_request_unanswered_is_caught():
    class Forgetful(FakeEngine):
        def answer(self, requests):
            return iter(list(super().answer(requests))[1:])

    with pytest.raises(EngineFault, match="left 1 requests unanswered"):
        rerank_one(Pairs(), candidates(3), Forgetful(by_length))


@given(st.lists(st.integers(0, 3), max_size=30))
def test_ties_keep_first_stage_order(scores):
    ranked = order([float(s) for s in scores])
    assert sorted(ranked) == list(range(len(scores)))
    for better, worse in itertools.pairwise(ranked):
        assert (-scores[better], better) < (-scores[worse], worse)
