from __future__ import annotations

import sqlite3
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_bench import (
    Candidates,
    ContinuationScore,
    Document,
    FakeEngine,
    Generate,
    Generation,
    Job,
    LabelScores,
    Likelihood,
    Logits,
    Message,
    NextToken,
    PairScore,
    Prompt,
    RerankBenchError,
    ask,
    drive,
)
from rerank_bench.engines import Keys, ReplyCache, decode
from rerank_bench.engines import cache as module
from rerank_bench.engines.cache import encode

PROMPT = Prompt((Message("user", "hello"),))
number = st.floats(allow_nan=False, width=64)
replies = st.one_of(
    st.tuples(st.just(PairScore("q", "d")), st.builds(Logits, st.tuples(number), st.integers(0))),
    st.tuples(
        st.just(NextToken(PROMPT, ("Yes", 7))),
        st.builds(LabelScores, st.dictionaries(st.text() | st.integers(), number)),
    ),
    st.tuples(
        st.just(Generate(PROMPT, 5)),
        st.builds(Generation, st.text(), st.booleans(), st.tuples(st.integers(0), st.integers(0))),
    ),
    st.tuples(
        st.just(Likelihood(PROMPT, " x")), st.builds(ContinuationScore, number, st.integers(0))
    ),
)


@settings(max_examples=40)
@given(replies)
def test_a_reply_comes_back_from_the_cache_bit_for_bit(pair):
    request, reply = pair
    assert decode(encode(reply), request) == reply


def test_a_reply_that_json_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="the cache cannot store a set"):
        encode(Logits({1.0}))


def test_keys_differ_with_the_engine_the_kind_and_every_field():
    asked = [
        PairScore("a", "b"),
        PairScore("ab", ""),
        PairScore("b", "a"),
        NextToken(PROMPT, ("a",)),
        NextToken(PROMPT, ("a", "b")),
        NextToken(PROMPT, (1,)),
        NextToken(PROMPT, ("1",)),
        Generate(PROMPT, 5),
        Generate(PROMPT, 5, sample=1),
    ]
    keys = Keys({"engine": "x"}).of(asked) + Keys({"engine": "y"}).of(asked)
    assert len(set(keys)) == 2 * len(asked)
    assert Keys({"engine": "x"}).of(asked) == keys[: len(asked)]


def test_replies_stored_by_earlier_versions_are_found() -> None:
    (key,) = Keys({"engine": "x"}).of([NextToken(PROMPT, ("a", 1))])
    assert key.hex() == "e1ab29b43e6b978a55657c9db4e371b63c686e24c44b0e4fa695da9313666151"


def test_lone_surrogates_in_a_document_do_not_break_a_key():
    assert len(Keys({}).of([PairScore("q", "\ud800")])[0]) == 32


class Pairs:
    def rerank(self, given):
        got = yield from ask([PairScore(given.query, d.text) for d in given.documents])
        return [reply.logits[0] for reply in got]


def jobs(count: int):
    documents = tuple(Document(str(i), f"text {i}") for i in range(10))
    return [Job(i, Pairs(), Candidates("t", str(i), f"query {i}", documents)) for i in range(count)]


def answer(request: PairScore) -> Logits:
    return Logits((len(request.document) / 3,), prompt_tokens=2)


def test_a_repeated_run_asks_nothing_and_costs_the_same_calls_and_tokens(tmp_path):
    engine = FakeEngine(answer)
    with ReplyCache(tmp_path) as cache:
        cold = {j.key: o for j, o in drive(jobs(8), engine, cache=cache)}
    assert engine.answered == 80
    with ReplyCache(tmp_path) as cache:
        warm = {j.key: o for j, o in drive(jobs(8), engine, cache=cache)}
    assert engine.answered == 80
    for key, before in cold.items():
        after = warm[key]
        assert after.scores == before.scores
        assert after.usage.from_cache == 10
        assert before.usage.from_cache == 0
        for name in ("calls", "rounds", "prompt_tokens", "output_tokens", "merged"):
            assert getattr(after.usage, name) == getattr(before.usage, name)


def test_replies_are_committed_before_the_round_is_over_every_256(tmp_path):
    seen = []

    def slow(request):
        if len(seen) == 300:
            time.sleep(0.5)
            with sqlite3.connect(tmp_path / "replies.sqlite") as other:
                seen.append(other.execute("SELECT count(*) FROM replies").fetchone()[0])
        seen.append(0)
        return answer(request)

    with ReplyCache(tmp_path) as cache:
        list(drive(jobs(40), FakeEngine(slow), cache=cache))
    assert seen[300] == 256


def test_a_lone_reply_is_committed_within_five_seconds(tmp_path, monkeypatch):
    assert module.COMMIT_SECONDS <= 4
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0.2)
    with ReplyCache(tmp_path) as cache:
        cache.put(b"k" * 32, Logits((1.0,)))
        deadline = time.monotonic() + 1.2
        with sqlite3.connect(tmp_path / "replies.sqlite") as other:
            while not other.execute("SELECT count(*) FROM replies").fetchone()[0]:
                assert time.monotonic() < deadline
                time.sleep(0.05)


def test_a_failing_round_still_commits_what_was_answered(tmp_path):
    def breaks(request):
        if request.query == "query 3":
            raise RuntimeError("engine died")
        return answer(request)

    with ReplyCache(tmp_path) as cache, pytest.raises(RuntimeError):
        list(drive(jobs(5), FakeEngine(breaks), cache=cache))
    engine = FakeEngine(answer)
    with ReplyCache(tmp_path) as cache:
        list(drive(jobs(5), engine, cache=cache))
    assert engine.answered == 20


def test_a_cache_that_cannot_be_opened_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RerankBenchError, match=r"file.replies\.sqlite cannot be opened"):
        ReplyCache(tmp_path / "file")
