"""An engine that streams is fed as it has room, and every count is what lock-step would give."""

from __future__ import annotations

import random
from collections import deque

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
    ask,
    drive,
)
from rerank_bench.engines import ReplyCache
from rerank_bench.reranking import Failed


class Streaming(FakeEngine):
    """Holds up to `room` requests and answers them in an order of its own."""

    def __init__(self, handler, *, room: int, seed: int = 0) -> None:
        super().__init__(handler)
        self.room, self.most = room, 0
        self._random = random.Random(seed)

    def stream(self, requests):
        held: deque = deque()
        number, more = 0, True
        while True:
            while more and len(held) < self.room:
                request = next(requests, self)
                more = request is not self
                if request is None or not more:
                    break
                held.append((number, request))
                number += 1
            if not held:
                return
            self.most = max(self.most, len(held))
            held.rotate(self._random.randrange(len(held)))
            index, request = held.popleft()
            self.answered += 1
            yield index, self._handler(request)

    def answer(self, requests):
        raise AssertionError("a streaming engine is not asked in slices")


def candidates(count: int, query: str = "q") -> Candidates:
    return Candidates("t", query, query, tuple(Document(f"d{i}", f"{i}") for i in range(count)))


class Chain:
    """Asks one document after another; each question holds the reply to the one before."""

    def rerank(self, given):
        told, scores = 0.0, []
        for document in given.documents:
            (reply,) = yield from ask([PairScore(f"{given.query} {told}", document.text)])
            told = reply.logits[0]
            scores.append(told)
        return scores


class Pairs:
    def rerank(self, given):
        replies = yield from ask([PairScore(given.query, d.text) for d in given.documents])
        return [reply.logits[0] for reply in replies]


def judge(request: PairScore) -> Logits:
    return Logits((float(len(request.query) * 7 + int(request.document)),), prompt_tokens=5)


def outcomes(jobs, engine, **options):
    found = {job.key: outcome for job, outcome in drive(jobs, engine, **options)}
    return {k: found[k] for k in sorted(found)}


def plain(outcome):
    spent = outcome.usage
    return outcome.scores, spent.calls, spent.rounds, spent.prompt_tokens


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=12),
    st.integers(1, 9),
    st.integers(1, 20),
    st.integers(0, 99),
)
def test_streaming_and_lock_step_agree_on_everything_but_time(shape, room, open_requests, seed):
    jobs = [
        Job(i, Chain() if chain else Pairs(), candidates(size, f"q{i}"))
        for i, (chain, size) in enumerate(shape)
    ]
    streamed = outcomes(jobs, Streaming(judge, room=room, seed=seed), open_requests=open_requests)
    stepped = outcomes(jobs, FakeEngine(judge), open_requests=open_requests)
    assert {k: plain(v) for k, v in streamed.items()} == {k: plain(v) for k, v in stepped.items()}


def test_a_query_goes_on_while_another_ones_reply_is_still_awaited():
    order = []

    def handler(request):
        order.append(request.query.split()[0])
        return judge(request)

    class OldestLast(Streaming):
        def __init__(self):
            super().__init__(handler, room=2)

        def stream(self, requests):
            first = next(requests)
            second = next(requests)
            for index in range(1, 4):  # b's three questions, before a's first is answered
                yield index, handler(second)
                second = next(requests, None)
            yield 0, handler(first)

    jobs = [Job("a", Chain(), candidates(1, "a")), Job("b", Chain(), candidates(3, "b"))]
    found = [job.key for job, _ in drive(jobs, OldestLast())]
    assert found == ["b", "a"]
    assert order == ["b", "b", "b", "a"]


def test_no_more_queries_are_begun_than_the_engine_has_room_for():
    begun = []

    def jobs():
        for i in range(50):
            begun.append(i)
            yield Job(i, Chain(), candidates(5, f"q{i}"))

    engine = Streaming(judge, room=4)
    stream = drive(jobs(), engine)
    next(stream)
    assert len(begun) <= 6
    assert len(list(stream)) == 49
    assert engine.most == 4


def test_equal_requests_under_way_are_asked_once_and_a_cache_answers_the_rest(tmp_path):
    jobs = [Job(i, Pairs(), candidates(6)) for i in range(4)]
    with ReplyCache(tmp_path) as cache:
        cold = Streaming(judge, room=3)
        first = outcomes(jobs, cold, cache=cache)
        assert cold.answered == 6
        assert sum(o.usage.merged + o.usage.from_cache for o in first.values()) == 18
        warm = Streaming(judge, room=3)
        again = outcomes(jobs, warm, cache=cache)
    assert warm.answered == 0
    assert {k: plain(v) for k, v in first.items()} == {k: plain(v) for k, v in again.items()}
    assert sum(o.usage.seconds for o in again.values()) == 0


def test_a_failure_stops_the_run_or_ends_its_query_alone():
    def handler(request):
        return Failure("too long") if request.query.startswith("q1") else judge(request)

    jobs = [Job(i, Pairs(), candidates(3, f"q{i}")) for i in range(3)]
    with pytest.raises(RequestFailed, match="query q1: too long"):
        outcomes(jobs, Streaming(handler, room=2))
    found = outcomes(jobs, Streaming(handler, room=2), keep_going=True)
    assert [isinstance(outcome, Failed) for outcome in found.values()] == [False, True, False]


def test_an_engine_that_forgets_a_request_is_found_out():
    class Forgetful(Streaming):
        def stream(self, requests):
            for index, request in enumerate(r for r in requests if r is not None):
                if index == 2:
                    return
                yield index, judge(request)

    with pytest.raises(EngineFault, match="unanswered"):
        outcomes([Job(0, Pairs(), candidates(4))], Forgetful(judge, room=4))


def test_seconds_are_the_engines_without_what_loading_took():
    class Slow(Streaming):
        startup_seconds = 0.0

        def stream(self, requests):
            self.startup_seconds += 1000.0
            yield from super().stream(requests)

    found = outcomes([Job(0, Pairs(), candidates(4))], Slow(judge, room=4))
    assert 0 <= found[0].usage.seconds < 100


def test_what_was_sent_and_answered_is_not_remembered():
    streamed = drive([Job(i, Chain(), candidates(9, f"q{i}")) for i in range(30)],
                     Streaming(judge, room=4), open_requests=8)  # fmt: skip
    remembered = [len(streamed.gi_frame.f_locals["sent"]) for _ in streamed]
    assert len(remembered) == 30
    assert max(remembered) <= 4
