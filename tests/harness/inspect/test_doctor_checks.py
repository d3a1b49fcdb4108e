"""What is found in the answers of engines made of words, sound ones and broken ones."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.engines import FakeEngine
from rerank_bench.errors import EngineFault
from rerank_bench.inspect import doctor
from rerank_bench.inspect.doctor import Report, examine
from rerank_bench.inspect.doctor_checks import kendall
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
    """A language model made of words: what it says depends on the prompt's text alone."""
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


def pairs(request):
    """A cross-encoder made of words."""
    if not isinstance(request, PairScore):
        raise EngineFault("this model predicts no next token")
    words = len(request.query.split()) + len(request.document.split())
    return Logits((random.Random(repr(request)).uniform(-9, 9),), prompt_tokens=words)


def fake(handler, *, dtype: str | None = "float32") -> FakeEngine:
    engine = FakeEngine(handler)
    engine.identity = {"engine": "fake"} | ({} if dtype is None else {"dtype": dtype})
    return engine


def changed(kind: type, change: Callable, handler=language) -> Callable:
    """`handler`, but its replies to requests of `kind` go through `change(request, reply)`."""

    def answer(request):
        reply = handler(request)
        return change(request, reply) if isinstance(request, kind) else reply

    return answer


def moved(reply: LabelScores, by: dict[str, float]) -> LabelScores:
    scores = {label: value + by.get(label, 0.0) for label, value in reply.logprob.items()}
    return replace(reply, logprob=scores)


def diagnosed(*engines: FakeEngine, quick: bool = True) -> Report:
    return examine([(engine.name, engine) for engine in engines], quick=quick)


def value(report: Report, part: str):
    (found,) = [check for check in report.checks if part in check.name]
    return found.value


def failed(report: Report) -> list[str]:
    return [check.name for check in report.failed]


# One engine


def test_a_sound_engine_holds_all_checks_and_is_asked_each_thing_four_times():
    engine = fake(language)
    report = diagnosed(engine, quick=False)
    assert failed(report) == []
    assert report.closing == f"all {sum(c.ok is not None for c in report.checks)} checks hold"
    assert engine.answered > 40 * 3
    assert value(report, "warm against cold") == 0.0


def test_an_engine_that_answers_otherwise_when_warm_is_found():
    seen = set()

    def drift(request, reply):
        again = request in seen
        seen.add(request)
        return moved(reply, {"A": 0.5}) if again else reply

    report = diagnosed(fake(changed(NextToken, drift)))
    assert "A · warm against cold, largest difference" in failed(report)
    assert value(report, "warm against cold") == pytest.approx(0.5 * 19 / 20)


def test_an_engine_whose_answers_depend_on_the_order_of_submission_is_found():
    longest_first = []

    def late(request, reply):
        longest_first.append(len(request.prompt.text))
        falling = len(longest_first) > 1 and longest_first[-1] < longest_first[-2]
        return moved(reply, {"B": 1.0}) if falling else reply

    names = failed(diagnosed(fake(changed(NextToken, late))))
    assert "A · reversed order of submission, largest difference" in names


def test_an_engine_that_answers_one_alone_otherwise_is_found():
    class Batched(FakeEngine):
        def answer(self, requests):
            for index, reply in super().answer(requests):
                alone = len(requests) == 1 and isinstance(reply, LabelScores)
                yield index, moved(reply, {"C": 1.0}) if alone else reply

    assert failed(diagnosed(Batched(language))) == [
        "A · one by one against all, largest difference"
    ]


def test_scores_that_are_constant_are_a_failure_though_they_agree_with_themselves():
    def constant(request, reply):
        return replace(reply, logprob=dict.fromkeys(request.labels, -3.0))

    assert failed(diagnosed(fake(changed(NextToken, constant)))) == [
        "A · spread of one score over all requests, at least"
    ]
    same = changed(PairScore, lambda _, reply: replace(reply, logits=(0.7,)), pairs)
    assert "spread" in failed(diagnosed(fake(same)))[0]


def test_one_token_before_every_text_is_a_bos_and_two_are_one_too_many():
    def counting(extra):
        return changed(
            NextToken, lambda _, reply: replace(reply, prompt_tokens=reply.prompt_tokens + extra)
        )

    assert failed(diagnosed(fake(counting(1)))) == []
    for extra in (2, -1):
        report = diagnosed(fake(counting(extra)))
        assert failed(report) == ["A · requests with other prompt tokens than the tokenizer's"]
        assert value(report, "than the tokenizer's") == QUICK


def test_a_label_call_that_writes_more_than_one_token_or_loses_a_label_is_found():
    wordy = changed(NextToken, lambda _, reply: replace(reply, output_tokens=2))
    assert failed(diagnosed(fake(wordy))) == ["A · label requests with other than one output token"]

    def lose(_, reply):
        return replace(reply, logprob={k: v for k, v in reply.logprob.items() if k != "T"})

    report = diagnosed(fake(changed(NextToken, lose)))
    assert failed(report) == ["A · labels not found"]
    assert value(report, "labels not found") == QUICK


def test_a_score_that_is_no_number_is_never_well():
    nan = changed(NextToken, lambda _, reply: moved(reply, {"A": math.nan}))
    report = diagnosed(fake(nan), fake(language))
    assert "centred log-probabilities, largest difference" in failed(report)
    assert "A · warm against cold, largest difference" in failed(report)
    assert json.loads(doctor.as_json(report))["ok"] is False


def test_what_the_context_refuses_is_left_out_and_told():
    def short(request):
        refused = isinstance(request, NextToken) and len(request.prompt.text.split()) > 75
        return Failure("too long for me") if refused else language(request)

    report = diagnosed(fake(short), fake(short))
    assert failed(report) == []
    assert value(report, "A · requests refused") > 1
    assert any("too long for me" in note for note in report.notes)


def test_a_short_request_that_is_refused_or_never_answered_is_a_failure():
    def choosy(request):
        refused = isinstance(request, NextToken) and len(request.prompt.text.split()) == 17
        return Failure("not today") if refused else language(request)

    class Silent(FakeEngine):
        def answer(self, requests):
            return ((i, reply) for i, reply in super().answer(requests) if i != 0)

    for engine in (fake(choosy), Silent(language)):
        assert failed(diagnosed(engine)) == ["A · requests refused, none but the longest"]


def test_cached_tokens_are_counted_cold_and_warm():
    seen = set()

    def cache(request, reply):
        again = request in seen
        seen.add(request)
        return replace(reply, cached_tokens=16 if again else 0)

    report = diagnosed(fake(changed(NextToken, cache)))
    assert value(report, "cached tokens, cold") == 16  # the one duplicate
    assert value(report, "cached tokens, warm") == QUICK * 16


# Two engines


def test_two_engines_that_agree_hold_all_checks():
    report = diagnosed(fake(language), fake(language))
    assert failed(report) == []
    for told in ("Kendall tau", "first label", "generated texts"):
        assert value(report, told) == 1.0


def test_a_constant_added_to_all_labels_of_a_prompt_is_no_difference():
    def shift(request, reply):
        return moved(reply, dict.fromkeys(request.labels, len(request.prompt.text) / 100))

    report = diagnosed(fake(language), fake(changed(NextToken, shift)))
    assert failed(report) == []
    assert value(report, "log-probabilities, largest") == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("dtype", "well"), [("float32", False), ("bfloat16", True), (None, True)])
def test_a_known_offset_is_measured_and_judged_by_the_coarser_dtype(dtype, well):
    offset = changed(NextToken, lambda _, reply: moved(reply, {"A": 0.1}))
    report = diagnosed(fake(language), fake(offset, dtype=dtype))
    assert value(report, "log-probabilities, largest") == pytest.approx(0.095)
    assert value(report, "log-probabilities, mean") == pytest.approx((0.095 + 19 * 0.005) / 20)
    assert (failed(report) == []) is well
    assert any("unknown dtype" in note for note in report.notes) is (dtype is None)


def test_labels_in_another_order_fail_tau_though_their_range_is_small():
    def turn(_, reply):
        return replace(reply, logprob={k: -v / 100 for k, v in reply.logprob.items()})

    def small(_, reply):
        return replace(reply, logprob={k: v / 100 for k, v in reply.logprob.items()})

    engines = [fake(changed(NextToken, how), dtype="bfloat16") for how in (small, turn)]
    report = diagnosed(*engines)
    assert value(report, "Kendall tau") == -1.0
    assert "Kendall tau of the labels, mean, at least" in failed(report)


def test_engines_that_count_prompts_otherwise_are_found():
    more = changed(
        NextToken, lambda _, reply: replace(reply, prompt_tokens=reply.prompt_tokens + 1)
    )
    report = diagnosed(fake(language), fake(more))
    assert failed(report) == ["requests with unequal prompt tokens"]


def test_generated_texts_are_compared_but_never_judged():
    other = changed(Generate, lambda _, reply: replace(reply, text="another"))
    report = diagnosed(fake(language), fake(other))
    assert value(report, "generated texts") == 0.0
    assert failed(report) == []


def test_likelihoods_are_compared_per_token():
    other = changed(Likelihood, lambda _, reply: replace(reply, logprob=reply.logprob - 0.6))
    report = diagnosed(fake(language), fake(other))
    assert value(report, "likelihood per token, largest") == pytest.approx(0.05)
    assert failed(report) == ["likelihood per token, largest difference"]


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
