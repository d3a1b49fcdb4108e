"""The fixed requests: their lengths, their shared beginnings, and how few a quick look takes."""

from __future__ import annotations

import pytest

from rerank_bench.engines import FakeEngine, overlap
from rerank_bench.errors import EngineFault
from rerank_bench.inspect.doctor_requests import sections

FIT = FakeEngine(overlap).fit


@pytest.fixture(scope="module")
def asked():
    return sections(FIT)


def test_about_forty_prompts_have_exactly_the_tokens_that_they_are_said_to_have(asked):
    labels = asked["labels"]
    assert len(labels.requests) == 40
    assert {17, 31, 32, 33, 127, 128, 129, 512, 600} <= set(labels.sizes)
    for request, size in zip(labels.requests, labels.sizes, strict=True):
        assert len(request.prompt.text.split()) == size
        assert len(request.labels) == 20


def test_some_prompts_come_twice_and_some_share_a_beginning_of_seventy_tokens(asked):
    texts = [request.prompt.text for request in asked["labels"].requests]
    assert len(texts) - len(set(texts)) == 3
    heads = [tuple(text.split()[:70]) for text in set(texts) if len(text.split()) > 70]
    assert sorted(heads.count(head) for head in set(heads))[-1] == 6


def test_the_same_requests_are_made_every_time(asked):
    assert sections(FIT) == asked


def test_a_quick_look_has_one_of_each_and_a_tenth_of_the_tokens(asked):
    quick = sections(FIT, quick=True)
    for name, part in quick.items():
        assert 1 <= len(part.requests) < len(asked[name].requests)
        assert name in {"likelihoods", "texts"} or len(set(part.requests)) < len(part.requests)
    every, few = (sum(sum(part.sizes) for part in found.values()) for found in (asked, quick))
    assert few < every / 10
    texts = {request.prompt.text for request in quick["labels"].requests}
    heads = [text.split()[:70] for text in texts if len(text.split()) in (80, 96)]
    assert heads[0] == heads[1]


def test_a_tokenizer_that_counts_in_no_known_way_is_one_line():
    with pytest.raises(EngineFault, match="no text of"):
        sections(lambda texts, max_tokens: FIT(texts, 5))
