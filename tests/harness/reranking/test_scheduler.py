"""Flows of many queries and one engine, which answers lists or draws requests one by one."""

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
    Statistics,
    ask,
    drive,
    order,
    rerank_one,
)
from rerank_bench.engines import ReplyCache
from rerank_bench.reranking import Failed


class Lists(FakeEngine):
    """Answers lists in random order; `slices` are their lengths."""

    def __init__(self, handler) -> None:
        super().__init__(handler)
        self.slices: list[int] = []

    def answer(self, requests):
        self.slices.append(len(requests))
        answers = list(super().answer(requests))
        random.Random(3).shuffle(answers)
        return iter(answers)


class OneByOne(FakeEngine):
    """Holds up to `room` requests and answers one of them at random; `most` were held."""

    def __init__(self, handler, room: int = 3, seed: int = 0) -> None:
        super().__init__(handler)
        self.room, self.most = room, 0
        self._random = random.Random(seed)

    def stream(self, requests):
        held: list = []
        numbers = itertools.count()
        while True:
            while len(held) < self.room and (request := next(requests, None)) is not None:
                held.append((next(numbers), request))
            if not held:
                return
            self.most = max(self.most, len(held))
            index, request = held.pop(self._random.randrange(len(held)))
            self.answered += 1
            yield index, self._handler(request)


BOTH = pytest.mark.parametrize("kind", [Lists, OneByOne])


def candidates(count: int, query: str = "q") -> Candidates:
    documents = tuple(Document(f"d{i}", f"document {i} of {query}") for i in range(count))
    return Candidates("task", query, query, documents)


def jobs(method, count: int, size: int = 3):
    return [Job(i, method, candidates(size, f"q{i}"), "label") for i in range(count)]


class Pairs:
    """Yields one request per document, all at once."""

    def rerank(self, given):
        replies = yield from ask([PairScore(given.query, d.text) for d in given.documents])
        return [reply.logits[0] for reply in replies]


class Chain:
    """Yields one request after another; each depends on the reply before it."""

    def rerank(self, given):
        scores = [0.0]
        for document in given.documents:
            (reply,) = yield [PairScore(f"{given.query} {scores[-1]}", document.text)]
            scores.append(reply.logits[0])
        return scores[1:]


def by_number(request: PairScore) -> Logits:
    number = float(request.document.split()[1])
    return Logits((len(request.query) + number,), prompt_tokens=5)


def outcomes(made, engine, **options):
    return {job.key: outcome for job, outcome in drive(made, engine, **options)}


def plain(found):
    return {
        key: (o.scores, o.usage.calls, o.usage.rounds, o.usage.prompt_tokens)
        for key, o in found.items()
    }


@BOTH
@pytest.mark.parametrize("method", [Pairs(), Chain()])
def test_scores_calls_rounds_and_tokens_are_those_of_the_flow(method, kind):
    found = rerank_one(method, candidates(20), kind(by_number))
    assert list(found.scores) == sorted(found.scores)
    assert (found.usage.calls, found.usage.prompt_tokens) == (20, 100)
    assert found.usage.rounds == (1 if isinstance(method, Pairs) else 20)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=12),
    st.integers(1, 9),
    st.integers(1, 20),
    st.none() | st.integers(0, 99),
)
def test_engines_and_orders_of_submission_agree_on_everything_but_time(shape, room, most, seed):
    made = [
        Job(i, Chain() if chain else Pairs(), candidates(size, f"q{i}"))
        for i, (chain, size) in enumerate(shape)
    ]
    options = {"open_requests": most, "shuffle": seed}
    streamed = outcomes(made, OneByOne(by_number, room, seed or 0), **options)
    listed = outcomes(made, Lists(by_number), **options)
    assert plain(streamed) == plain(listed) == plain(outcomes(made, FakeEngine(by_number)))


@BOTH
def test_equal_requests_are_sent_once_and_counted_as_merged(kind):
    class Thrice:
        def rerank(self, given):
            replies = yield [PairScore("q", "document 1")] * 3
            return [replies[0].logits[0]] * len(given.documents)

    engine = kind(by_number)
    usages = [o.usage for o in outcomes(jobs(Thrice(), 4), engine).values()]
    assert engine.answered == 12 - sum(u.merged for u in usages)
    assert all(u.calls == 3 and u.merged >= 2 and u.prompt_tokens == 15 for u in usages)


@BOTH
def test_a_cache_answers_what_was_answered_before(tmp_path, kind):
    with ReplyCache(tmp_path) as cache:
        cold = outcomes(jobs(Chain(), 4), kind(by_number), cache=cache)
        warm_engine = kind(by_number)
        warm = outcomes(jobs(Chain(), 4), warm_engine, cache=cache)
    assert warm_engine.answered == 0
    assert plain(cold) == plain(warm)
    assert sum(o.usage.from_cache for o in cold.values()) == 0
    assert sum(o.usage.from_cache for o in warm.values()) == 12
    assert sum(o.usage.seconds for o in warm.values()) == 0


def test_an_engine_of_lists_is_given_all_requests_that_are_ready():
    engine = Lists(by_number)
    assert len(outcomes(jobs(Chain(), 10), engine)) == 10
    assert engine.slices == [10, 10, 10]


def test_shuffled_requests_are_sent_in_another_order_and_in_other_slices():
    sent = []

    class Watched(Lists):
        def answer(self, requests):
            sent.extend(requests)
            return super().answer(requests)

    engine = Watched(by_number)
    made = jobs(Pairs(), 40, size=30)
    shuffled = outcomes(made, engine, shuffle=7)
    assert len(engine.slices) > 1
    assert sent != [
        PairScore(j.candidates.query, d.text) for j in made for d in j.candidates.documents
    ]
    assert plain(shuffled) == plain(outcomes(made, FakeEngine(by_number)))


def test_no_more_requests_are_open_than_allowed_but_always_one_flow():
    engine = Lists(by_number)
    assert len(outcomes(jobs(Pairs(), 7, size=10), engine, open_requests=25)) == 7
    assert max(engine.slices) <= 30
    alone = Lists(by_number)
    assert len(outcomes(jobs(Pairs(), 7, size=10), alone, open_requests=3)) == 7
    assert alone.slices == [10] * 7


@BOTH
def test_jobs_are_drawn_only_as_the_engine_has_room(kind):
    drawn = []

    def made():
        for job in jobs(Chain(), 50, size=5):
            drawn.append(job.key)
            yield job

    engine = kind(by_number)
    running = drive(made(), engine, open_requests=6)
    next(running)
    assert len(drawn) <= 12
    assert len(list(running)) == 49
    assert kind is Lists or engine.most == 3


def test_a_flow_goes_on_while_the_reply_of_another_one_is_awaited():
    class OldestLast(FakeEngine):
        def stream(self, requests):
            first, second = next(requests), next(requests)
            for index in range(1, 4):
                yield index, by_number(second)
                second = next(requests)
            yield 0, by_number(first)

    made = [Job("a", Chain(), candidates(1, "a")), Job("b", Chain(), candidates(3, "b"))]
    assert list(outcomes(made, OldestLast(by_number))) == ["b", "a"]


def test_a_list_of_nothing_comes_straight_back_and_costs_no_round():
    class Bare:
        def rerank(self, given):
            assert (yield []) == ()
            assert (yield from ask([])) == ()
            return [0.0] * len(given.documents)

    usage = rerank_one(Bare(), candidates(3), FakeEngine(by_number)).usage
    assert (usage.calls, usage.rounds) == (0, 0)


def test_a_model_free_reranker_returns_its_scores_outright():
    class Plain:
        def rerank(self, given):
            return Scored([1.0, 2.0], {"repaired": 4})

    found = outcomes(jobs(Plain(), 1000, size=2), FakeEngine(by_number))
    assert len(found) == 1000
    assert found[0].scores == (1.0, 2.0)
    assert found[0].counts == {"repaired": 4}


class Returns:
    def __init__(self, scores) -> None:
        self.scores = scores

    def rerank(self, given):
        return self.scores


class Raises:
    def rerank(self, given):
        yield [PairScore("q", "document 1")]
        raise KeyError("lost")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Returns([1.0]), "returned 1 scores for 2 candidates"),
        (Returns([1.0, math.nan]), "not finite"),
        (Returns([1.0, math.inf]), "not finite"),
        (Returns(["a", "b"]), "ValueError"),
        (Returns(None), "TypeError"),
        (Returns(Scored([1.0, 2.0], repairs=(0,))), r"reported repairs \[0\] of 0 requests"),
        (Raises(), r"raised KeyError in test_scheduler.py, line \d+: 'lost'"),
    ],
)
def test_a_fault_of_a_reranker_is_an_error_that_names_query_and_reranker(method, message):
    with pytest.raises(RerankerFault, match=f"label, task task, query q0: .*{message}"):
        outcomes(jobs(method, 1, size=2), FakeEngine(by_number))


@BOTH
def test_a_failure_stops_the_run_and_with_keep_going_only_its_query(kind):
    def fragile(request: PairScore):
        return Failure("too long") if "q3" in request.query else by_number(request)

    with pytest.raises(RequestFailed, match="label, task task, query q3: too long"):
        outcomes(jobs(Pairs(), 6), kind(fragile))
    found = outcomes(jobs(Pairs(), 6), kind(fragile), keep_going=True)
    assert [isinstance(found[i], Failed) for i in range(6)] == [i == 3 for i in range(6)]
    assert found[3].reason == "too long"


@pytest.mark.parametrize(
    ("answers", "message"),
    [([0, 1], "left 1 requests unanswered"), ([0, 0], "not open: 0"), ([9], "not open: 9")],
)
def test_an_engine_must_answer_every_request_once(answers, message):
    class Wrong(FakeEngine):
        def answer(self, requests):
            return ((index, Logits((1.0,))) for index in answers)

    with pytest.raises(EngineFault, match=message):
        rerank_one(Pairs(), candidates(3), Wrong(by_number))


def test_seconds_of_replies_that_come_together_are_shared_out_by_tokens():
    """Two queries, one with texts three times as long as the other's."""

    def spent(tokens):
        def answer(request):
            time.sleep(0.001)
            return Logits((1.0,), prompt_tokens=tokens[request.query])

        found = outcomes(jobs(Pairs(), 2, size=5), FakeEngine(answer))
        return [found[i].usage.seconds for i in range(2)]

    short, long = spent({"q0": 10, "q1": 30})
    assert long == pytest.approx(3 * short)
    assert short + long >= 0.01
    first, second = spent({"q0": 0, "q1": 0})
    assert first == pytest.approx(second)


@BOTH
def test_seconds_are_the_engines_without_loading_and_without_the_callers(kind):
    class Slow(kind):
        def stream(self, requests):
            self.statistics = Statistics(loading_seconds=1000.0)
            yield from super().stream(requests)

    seconds = 0.0
    for _, outcome in drive(jobs(Chain(), 3), Slow(by_number)):
        time.sleep(0.1)
        seconds += outcome.usage.seconds
    assert 0 < seconds < 0.1


@given(st.lists(st.integers(0, 3), max_size=30))
def test_ties_keep_first_stage_order(scores):
    ranked = order([float(s) for s in scores])
    assert sorted(ranked) == list(range(len(scores)))
    for better, worse in itertools.pairwise(ranked):
        assert (-scores[better], better) < (-scores[worse], worse)
