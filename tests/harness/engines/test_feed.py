"""Requests for a served model: none is lost, and equal beginnings follow one another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import Likelihood, NextToken, Prompt
from rerank_bench.engines import ModelOptions, Prepared, Preparer, Tokens, open_checkpoint
from rerank_bench.engines import feed as module
from rerank_bench.engines.feed import Feed


@pytest.fixture(scope="module")
def preparer(base_llama: Path) -> Preparer:
    checkpoint = open_checkpoint(ModelOptions(model=str(base_llama)))
    return Preparer(Tokens(checkpoint.tokenizer, name="base"), 40)


def label(text: str) -> NextToken:
    return NextToken(Prompt(text=text), ("A",))


def taken(feed: Feed, kind: type = NextToken) -> list[int]:
    return [one.index for one in feed.take(lambda one: type(one.request) is kind) if one]


def test_prompts_with_the_same_beginning_follow_one_another(preparer: Preparer) -> None:
    texts = ["one b", "two b", "one a", "two a", "one c"]
    ordered = taken(Feed(iter(map(label, texts)), preparer.prepare))
    heads = [texts[i].split()[0] for i in ordered]
    assert heads in (["one"] * 3 + ["two"] * 2, ["two"] * 2 + ["one"] * 3)


def test_a_type_is_taken_at_a_time_and_what_does_not_fit_is_answered(preparer: Preparer) -> None:
    likelihood = Likelihood(Prompt(text="what"), " now")
    asked = [label("a"), likelihood, label("long" + " long" * 60), label("b")]
    feed = Feed(iter(asked), preparer.prepare)
    kinds: list[type] = []

    def serve(first: Prepared) -> Iterator[Any]:
        kinds.append(type(first.request))
        return ((index, None) for index in taken(feed, kinds[-1]))

    answers = dict(feed.answers(serve))
    assert sorted(answers) == [0, 1, 2, 3]
    assert kinds == [NextToken, Likelihood]
    assert "exceed the model's context of 40" in answers[2].reason
    assert feed.ended


def test_none_is_passed_on(preparer: Preparer) -> None:
    drawn = Feed(iter([None, label("a"), None, None]), preparer.prepare).take(lambda one: True)
    assert [one and one.index for one in drawn] == [None, 0, None]


@given(
    st.lists(st.sampled_from([None, "a", "b c", "b d", "x " * 50]), max_size=30), st.integers(1, 7)
)
def test_every_request_is_taken_or_answered_once(preparer: Preparer, texts, at_once) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        feed = Feed((None if t is None else label(t) for t in texts), preparer.prepare)
        seen = [index for index, _ in feed.answers(lambda _: ((i, None) for i in taken(feed)))]
    assert sorted(seen) == list(range(sum(t is not None for t in texts)))
