"""The checks of `doctor` on engines made of words, correct ones and broken ones."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.engines import FakeEngine, overlap
from rerank_bench.errors import EngineFault
from rerank_bench.inspect.doctor import as_json, examine
from rerank_bench.inspect.doctor_checks import kendall
from rerank_bench.inspect.doctor_requests import sections
from rerank_bench.types import (
    ContinuationScore,
    Failure,
    Generate,
    Generation,
    LabelScores,
    Likelihood,
    Logits,
    NextToken,
    PairScore,
)

QUICK = 9
"""Label requests of a quick examination."""


def language(request):
    """Answer as a language model made of words; the reply depends on the prompt's text alone."""
    if isinstance(request, PairScore):
        raise EngineFault("this model has no head for pairs")
    text = request.prompt.text
    words, dice = len(text.split()), random.Random(text)
    if isinstance(request, NextToken):
        scores = {label: dice.uniform(-9, -1) for label in request.labels}
        return LabelScores(scores, prompt_tokens=words)
    if isinstance(request, Likelihood):
        return ContinuationScore(-12 * dice.random(), 12, prompt_tokens=words + 12)
    return Generation(f"said {dice.random()}", finished=True, prompt_tokens=words)


def fake(handler, *, dtype="float32"):
    engine = FakeEngine(handler)
    engine.identity = {"engine": "fake"} | ({} if dtype is None else {"dtype": dtype})
    return engine


def changed(change, kind=NextToken):
    """Return `language` with `change(request, reply)` for requests of one type."""

    def answer(request):
        reply = language(request)
        return change(request, reply) if isinstance(request, kind) else reply

    return answer


def moved(reply, **by):
    scores = {label: value + by.get(label, 0.0) for label, value in reply.logprob.items()}
    return replace(reply, logprob=scores)


def on_repeat(change):
    """Return a change that applies when a request is sent again."""
    seen = set()

    def answer(request, reply):
        again = request in seen
        seen.add(request)
        return change(reply) if again else reply

    return answer


def examined(*engines, quick=True):
    return examine([(engine.name, engine) for engine in engines], quick=quick)


def value(report, part):
    (found,) = [check for check in report.checks if part in check.name]
    return found.value


def failed(report):
    return [check.name for check in report.failed]


# The requests


def test_the_requests_have_exactly_the_tokens_that_they_claim():
    fit = FakeEngine(overlap).fit
    labels = sections(fit)["labels"]
    texts = [request.prompt.text for request in labels.requests]
    assert len(texts) == 40
    assert {17, 31, 32, 33, 127, 128, 129, 512, 600} <= set(labels.sizes)
    assert [len(text.split()) for text in texts] == list(labels.sizes)
    assert len(texts) - len(set(texts)) == 3
    heads = [tuple(text.split()[:70]) for text in set(texts)]
    assert max(heads.count(head) for head in heads if len(head) == 70) == 6
    assert sections(fit) == sections(fit)


def test_quick_requests_have_a_tenth_of_the_tokens_and_a_duplicate_of_each_score():
    full, quick = (sections(FakeEngine(overlap).fit, quick=quick) for quick in (False, True))
    tokens = [sum(sum(section.sizes) for section in found.values()) for found in (full, quick)]
    assert tokens[1] < tokens[0] / 10
    for name in ("pairs", "labels", "labels by id"):
        assert len(set(quick[name].requests)) < len(quick[name].requests) < len(full[name].requests)
    assert quick["likelihoods"].requests
    assert quick["texts"].requests


def test_a_tokenizer_that_counts_in_no_known_way_is_one_line():
    with pytest.raises(EngineFault, match="no text of"):
        sections(lambda texts, max_tokens: FakeEngine(overlap).fit(texts, 5))


# One engine


def test_a_correct_engine_passes_all_checks_and_answers_each_request_four_times():
    engine = fake(language)
    report = examined(engine, quick=False)
    assert failed(report) == []
    assert report.closing == f"all {sum(c.ok is not None for c in report.checks)} checks hold"
    assert engine.answered > 40 * 3
    assert value(report, "warm against cold") == 0.0


def longest_first(change):
    """Return a change that applies to a prompt that follows a longer one."""
    lengths = [0]

    def answer(request, reply):
        lengths.append(len(request.prompt.text))
        return change(reply) if lengths[-1] < lengths[-2] else reply

    return answer


def without_last_label(_, reply):
    return replace(reply, logprob={k: v for k, v in reply.logprob.items() if k != "T"})


def more_tokens(extra):
    return lambda _, reply: replace(reply, prompt_tokens=reply.prompt_tokens + extra)


OTHER_TOKENS = "requests with other prompt tokens than the tokenizer's"


@pytest.mark.parametrize(
    ("change", "name", "found"),
    [
        (on_repeat(lambda r: moved(r, A=0.5)), "warm against cold", 0.5 * 19 / 20),
        (longest_first(lambda r: moved(r, B=1.0)), "reversed order of submission", None),
        (lambda q, r: replace(r, logprob=dict.fromkeys(q.labels, -3.0)), "spread of one", 0.0),
        (lambda _, r: replace(r, output_tokens=2), "label requests with other than one", QUICK),
        (without_last_label, "labels not found", QUICK),
        (more_tokens(2), OTHER_TOKENS, QUICK),
        (more_tokens(-1), OTHER_TOKENS, QUICK),
        (lambda _, r: moved(r, A=math.nan), "warm against cold", None),
    ],
)
def test_an_error_of_label_scores_is_found(change, name, found):
    report = examined(fake(changed(change)))
    assert any(name in check for check in failed(report))
    assert found is None or value(report, name) == pytest.approx(found)
    assert json.loads(as_json(report))["ok"] is False


def test_one_token_before_every_text_is_a_bos():
    assert failed(examined(fake(changed(more_tokens(1))))) == []


def test_replies_that_differ_when_a_request_is_sent_by_itself_are_found():
    class Batched(FakeEngine):
        def answer(self, requests):
            for index, reply in super().answer(requests):
                alone = len(requests) == 1 and isinstance(reply, LabelScores)
                yield index, moved(reply, C=1.0) if alone else reply

    names = failed(examined(Batched(language)))
    assert names == ["A · one by one against all, largest difference"]


def test_pair_scores_that_are_all_equal_are_found():
    (name,) = failed(examined(fake(lambda request: Logits((0.7,)))))
    assert "spread" in name


def refusing(refused):
    def answer(request):
        words = len(request.prompt.text.split()) if isinstance(request, NextToken) else 0
        return Failure("too long for me") if refused(words) else language(request)

    return answer


def test_requests_that_exceed_the_context_are_left_out_and_reported():
    short = refusing(lambda words: words > 75)
    report = examined(fake(short), fake(short))
    assert failed(report) == []
    assert value(report, "A · requests refused") > 1
    assert any("too long for me" in note for note in report.notes)


def test_a_short_request_that_is_refused_or_not_answered_is_found():
    class Silent(FakeEngine):
        def answer(self, requests):
            return ((i, reply) for i, reply in super().answer(requests) if i != 0)

    for engine in (fake(refusing(lambda words: words == 17)), Silent(language)):
        assert failed(examined(engine)) == ["A · requests refused, none but the longest"]


def test_cached_tokens_are_counted_cold_and_warm():
    report = examined(fake(changed(on_repeat(lambda reply: replace(reply, cached_tokens=16)))))
    assert value(report, "cached tokens, cold") == 16  # the one duplicate
    assert value(report, "cached tokens, warm") == QUICK * 16


# Two engines


def shifted(request, reply):
    return moved(reply, **dict.fromkeys(request.labels, len(request.prompt.text) / 100))


@pytest.mark.parametrize("change", [lambda _, reply: reply, shifted])
def test_two_engines_agree_up_to_a_constant_of_each_prompt(change):
    report = examined(fake(language), fake(changed(change)))
    assert failed(report) == []
    assert value(report, "log-probabilities, largest") == pytest.approx(0.0, abs=1e-9)
    for name in ("Kendall tau", "first label", "generated texts"):
        assert value(report, name) == 1.0


@pytest.mark.parametrize(("dtype", "ok"), [("float32", False), ("bfloat16", True), (None, True)])
def test_an_offset_is_measured_and_judged_by_the_coarser_dtype(dtype, ok):
    offset = changed(lambda _, reply: moved(reply, A=0.1))
    report = examined(fake(language), fake(offset, dtype=dtype))
    assert value(report, "log-probabilities, largest") == pytest.approx(0.095)
    assert value(report, "log-probabilities, mean") == pytest.approx((0.095 + 19 * 0.005) / 20)
    assert (failed(report) == []) is ok
    assert any("unknown dtype" in note for note in report.notes) is (dtype is None)


def scaled(by):
    return changed(
        lambda _, reply: replace(reply, logprob={k: v * by for k, v in reply.logprob.items()})
    )


def test_labels_in_another_order_fail_tau_though_their_range_is_small():
    report = examined(*(fake(scaled(by), dtype="bfloat16") for by in (0.01, -0.01)))
    assert value(report, "Kendall tau") == -1.0
    assert "Kendall tau of the labels, mean, at least" in failed(report)


@pytest.mark.parametrize(
    ("change", "kind", "name", "found", "failures"),
    [
        (more_tokens(1), NextToken, "unequal prompt tokens", QUICK, 1),
        (lambda _, r: replace(r, text="another"), Generate, "generated texts", 0.0, 0),
        (
            lambda _, r: replace(r, logprob=r.logprob - 0.6),
            *(Likelihood, "likelihood per token, largest", 0.05, 1),
        ),
    ],
)
def test_a_difference_of_two_engines_is_measured(change, kind, name, found, failures):
    report = examined(fake(language), fake(changed(change, kind)))
    assert value(report, name) == pytest.approx(found)
    assert len(failed(report)) == failures


# The order of labels


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=12, unique=True))
def test_tau_of_an_order_with_itself_is_one_and_with_its_reverse_minus_one(scores):
    spaced = sorted(range(len(scores)), key=scores.__getitem__)
    assert kendall(spaced, spaced, noise=0.0) == 1.0
    assert kendall(spaced, [-x for x in spaced], noise=0.0) == -1.0


def test_pairs_within_twice_the_noise_have_no_order():
    assert kendall([0.0, 0.1, 5.0], [0.1, 0.0, 5.0], noise=0.1) == 1.0
    assert kendall([0.0, 0.1, 5.0], [0.1, 0.0, 5.0], noise=0.01) == pytest.approx(1 / 3)
    assert kendall([0.0, 0.1], [0.1, 0.0], noise=0.1) is None
