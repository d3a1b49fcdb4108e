"""Requests on their way to a served model: none is lost, and shared beginnings stand together."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import NextToken, Prompt
from rerank_bench.engines import EngineOptions, Tokens, Works, open_checkpoint
from rerank_bench.engines import feed as module
from rerank_bench.engines.feed import Feed
from rerank_bench.types import Likelihood


@pytest.fixture(scope="module")
def works(base_llama: Path) -> Works:
    checkpoint = open_checkpoint(EngineOptions(model=str(base_llama)))
    return Works(Tokens(checkpoint.tokenizer, name="base"), 40)


def label(text: str) -> NextToken:
    return NextToken(Prompt(text=text), ("A",))


def taken(feed: Feed, kind: type = NextToken) -> list[int]:
    return [queued.index for queued in feed.take(lambda k: k is kind) if queued is not None]


def test_prompts_with_the_same_beginning_follow_one_another(works: Works) -> None:
    texts = ["one b", "two b", "one a", "two a", "one c"]
    ordered = taken(Feed(iter(map(label, texts)), works))
    heads = [texts[i].split()[0] for i in ordered]
    assert heads in (["one"] * 3 + ["two"] * 2, ["two"] * 2 + ["one"] * 3)


def test_what_does_not_fit_is_settled_with_its_reason_and_the_rest_goes_on(works: Works) -> None:
    feed = Feed(iter([label("short"), label("long" + " long" * 60), label("also")]), works)
    assert sorted(taken(feed)) == [0, 2]
    ((index, failure),) = feed.settled()
    assert index == 1
    assert "exceed the model's context of 40" in failure.reason


def test_kinds_are_taken_one_at_a_time(works: Works) -> None:
    scored = Likelihood(Prompt(text="what"), " now")
    feed = Feed(iter([label("a"), scored, label("b")]), works)
    assert feed.next_kind() is NextToken
    assert sorted(taken(feed)) == [0, 2]
    assert feed.next_kind() is Likelihood
    assert taken(feed, Likelihood) == [1]
    assert feed.next_kind() is None
    assert feed.ended


def test_none_means_wait_and_is_passed_on(works: Works) -> None:
    feed = Feed(iter([None, label("a"), None, None]), works)
    drawn = feed.take(lambda kind: True)
    assert next(drawn) is None
    assert next(drawn).index == 0
    assert next(drawn) is None
    with pytest.raises(StopIteration):
        next(drawn)


@given(
    st.lists(st.sampled_from([None, "a", "b c", "b d", "x " * 50]), max_size=30), st.integers(1, 7)
)
def test_every_request_is_taken_or_settled_once(works: Works, texts, at_once) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        feed = Feed((None if t is None else label(t) for t in texts), works)
        seen: list[int] = []
        while not feed.ended or feed.next_kind():
            seen += taken(feed)
            seen += [index for index, _ in feed.settled()]
    assert sorted(seen) == list(range(sum(t is not None for t in texts)))
