from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import doctor
from rerank_bench.cli import main
from rerank_bench.doctor import Report, examine, open_engines
from rerank_bench.doctor_checks import kendall
from rerank_bench.doctor_requests import LETTERS, sections
from rerank_bench.engines.fake import FakeEngine
from rerank_bench.errors import BadOption, EngineDied, EngineFault, MissingExtra, UnknownName
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

QUICK = 11
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
    return examine([(f"engine {i}", engine) for i, engine in enumerate(engines)], quick=quick)


def value(report: Report, part: str):
    (found,) = [check for check in report.checks if part in check.name]
    return found.value


def failed(report: Report) -> list[str]:
    return [check.name for check in report.failed]


# What is asked


@pytest.fixture(scope="module")
def asked():
    return sections(FakeEngine(language).fit)


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


def test_the_same_requests_are_made_every_time_and_quick_takes_a_quarter(asked):
    assert sections(FakeEngine(language).fit) == asked
    for name, part in sections(FakeEngine(language).fit, quick=True).items():
        assert 1 <= len(part.requests) <= len(asked[name].requests) / 4 + 2
        assert len(part.requests) == QUICK or not name.startswith("labels")
        assert name in {"likelihoods", "texts"} or len(set(part.requests)) < len(part.requests)


def test_a_tokenizer_that_counts_in_no_known_way_is_one_line():
    engine = FakeEngine(language)
    engine.fit = lambda texts, max_tokens: FakeEngine(language).fit(texts, 5)
    with pytest.raises(EngineFault, match="no text of"):
        diagnosed(engine)


# One engine


def test_a_sound_engine_holds_all_checks_and_is_asked_each_thing_four_times():
    engine = fake(language)
    report = diagnosed(engine, quick=False)
    assert failed(report) == []
    assert report.closing == f"all {sum(c.ok is not None for c in report.checks)} checks hold"
    assert engine.answered > 40 * 3
    assert value(report, "warm against cold") == 0.0


def test_a_model_with_a_pair_head_is_asked_for_pairs_alone():
    kinds = set()

    def watch(request):
        kinds.add(type(request))
        return pairs(request)

    report = diagnosed(fake(watch), fake(pairs))
    assert failed(report) == []
    assert kinds == {PairScore}
    assert value(report, "pair logits, largest") == 0.0


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

    engine = Batched(language)
    assert failed(diagnosed(engine)) == ["A · one by one against all, largest difference"]


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
        refused = isinstance(request, NextToken) and len(request.prompt.text.split()) > 200
        return Failure("too long for me") if refused else language(request)

    report = diagnosed(fake(short), fake(short))
    assert failed(report) == []
    assert value(report, "A · requests refused") > 1
    assert any("too long for me" in note for note in report.notes)


def test_a_refusal_of_a_short_request_is_a_failure():
    def choosy(request):
        refused = isinstance(request, NextToken) and len(request.prompt.text.split()) == 17
        return Failure("not today") if refused else language(request)

    assert failed(diagnosed(fake(choosy))) == ["A · requests refused, none but the longest"]


def test_an_answer_that_never_comes_is_a_refusal():
    class Silent(FakeEngine):
        def answer(self, requests):
            return ((i, reply) for i, reply in super().answer(requests) if i != 0)

    assert "A · requests refused, none but the longest" in failed(diagnosed(Silent(language)))


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
    assert value(report, "Kendall tau") == 1.0
    assert value(report, "first label") == 1.0
    assert value(report, "generated texts") == 1.0


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
    assert any("not told" in note for note in report.notes) is (dtype is None)


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


def test_a_kind_that_no_engine_can_answer_is_left_out_and_one_that_one_can_is_a_failure():
    def mute(request):
        if isinstance(request, Likelihood):
            raise EngineFault("this server tells no likelihoods")
        return language(request)

    both = diagnosed(fake(mute), fake(mute))
    assert failed(both) == []
    assert "likelihoods left out: this server tells no likelihoods" in both.notes
    for engines in ((mute, language), (language, mute)):
        (name,) = failed(diagnosed(*map(fake, engines)))
        assert name.startswith("likelihoods answered by ")


def test_where_letters_are_no_tokens_ids_are_asked_for():
    def no_letters(request):
        if isinstance(request, NextToken) and request.labels[0] == "A":
            raise EngineFault("label 'A' is 2 tokens")
        return language(request)

    report = diagnosed(fake(no_letters), fake(no_letters))
    assert failed(report) == []
    assert value(report, "log-probabilities, largest") == 0.0


def test_an_engine_that_can_answer_nothing_raises_its_own_error_and_all_are_closed():
    closed = []

    class Closing(FakeEngine):
        def close(self):
            closed.append(self)

    def nothing(request):
        raise EngineFault("nothing can be asked of me")

    engines = Closing(language), Closing(nothing)
    with pytest.raises(EngineFault, match="nothing can be asked"):
        diagnosed(*engines)
    assert set(closed) == set(engines)
    assert closed.index(engines[0]) < closed.index(engines[1])


@pytest.mark.parametrize("error", [EngineDied("gone"), MissingExtra("pip install it")])
def test_a_dead_engine_or_a_missing_extra_is_not_taken_for_a_kind_that_it_lacks(error):
    def die(request):
        if isinstance(request, Generate):
            raise error
        return language(request)

    with pytest.raises(type(error)):
        diagnosed(fake(die))


def test_the_second_engine_is_asked_only_after_the_first_was_closed():
    events = []

    class Watched(FakeEngine):
        def close(self):
            events.append(f"{self.name} closed")

        def answer(self, requests):
            events.append(f"{self.name} asked")
            return super().answer(requests)

    diagnosed(Watched(language, name="one"), Watched(language, name="two"))
    assert events.index("one closed") < events.index("two asked")
    assert "one asked" not in events[events.index("one closed") :]


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


# Real checkpoints


def opened(folder: Path, *asked: str):
    return open_engines(asked, str(folder), {"device": "cpu"})


def test_transformers_with_another_batch_budget_agrees_with_itself(qwen):
    other = "transformers:max_num_batched_tokens=96,max_model_len=300"
    report = examine(opened(qwen, "transformers", other), quick=True)
    assert failed(report) == []
    assert value(report, "A · requests refused") == 0
    assert value(report, "B · requests refused") == 2  # of 384 and 512 tokens
    assert 0 < value(report, "log-probabilities, largest") < 1e-3


def test_a_tokenizer_with_a_bos_is_counted_with_it(base_llama):
    report = examine(opened(base_llama, "transformers"), quick=True)
    assert failed(report) == []
    assert value(report, "than the tokenizer's") == 0


def test_a_cross_encoder_agrees_with_itself(cross_encoder):
    report = examine(opened(cross_encoder, "transformers", "transformers"), quick=True)
    assert failed(report) == []
    assert value(report, "pair logits, largest") == 0.0


def test_bfloat16_differs_from_float32_and_is_judged_by_its_own_tolerance(llama):
    report = examine(opened(llama, "transformers", "transformers:dtype=bfloat16"), quick=True)
    (check,) = [c for c in report.checks if "log-probabilities, largest" in c.name]
    assert check.value > 1e-3
    assert check.tolerance == 0.15
    assert check.ok is (check.value <= 0.15)


# Options and the command


def test_options_reach_every_engine_that_reads_them():
    asked = ["transformers:dtype=bfloat16,max_model_len=300", "vllm"]
    shared = {"dtype": "float32", "max_num_seqs": "7", "device": "cpu"}
    (first, one), (second, other) = open_engines(asked, "some/model", shared)
    assert (first, second) == tuple(asked)
    assert (one.options.dtype, one.options.max_model_len) == ("bfloat16", 300)
    assert (other.options.dtype, other.options.max_num_seqs) == ("float32", 7)
    assert one.options.model == other.options.model == "some/model"


def test_a_head_over_the_labels_is_given_the_labels():
    ((_, engine),) = open_engines(["vllm:head=labels"], "some/model", {})
    assert engine.options.labels == LETTERS


@pytest.mark.parametrize(
    ("asked", "options", "error", "told"),
    [
        ("fake", {"base_url": "http://x"}, BadOption, "base_url is no option of engine fake, but"),
        ("fake", {"dtpye": "float32"}, UnknownName, "option of engine fake"),
        ("transformers", {"engine": "vllm"}, UnknownName, "unknown option of engine"),
        ("transformers:dtpye=float32", {}, UnknownName, "did you mean dtype"),
        ("transformers", {"max_model_len": "many"}, BadOption, "takes int"),
        ("vlm", {}, UnknownName, "did you mean vllm"),
    ],
)
def test_a_wrong_engine_or_option_is_told_in_one_line(asked, options, error, told):
    with pytest.raises(error, match=told) as found:
        open_engines([asked], "m", options)
    assert "\n" not in str(found.value)


def call(*arguments: str):
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_the_command_prints_a_table_and_a_verdict():
    result = call("--engine", "fake", "--engine", "fake", "--model", "none", "--quick")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "A = fake"
    assert lines[-1].endswith("checks hold")
    assert any(line.startswith("pair logits, largest difference") for line in lines)


def test_the_command_exits_1_and_names_what_failed(monkeypatch):
    broken = changed(PairScore, lambda _, reply: replace(reply, logits=(1.0,)), pairs)
    monkeypatch.setattr("rerank_bench.engines.fake.open_overlap", lambda options: fake(broken))
    result = call("--engine", "fake", "--quick", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["ok"] is False
    assert "spread" in told["closing"]
    assert [check["name"] for check in told["checks"] if check["ok"] is False]


def test_the_command_shows_what_an_engine_found_that_it_can_do(monkeypatch):
    engine = fake(pairs)
    engine.capabilities = {"http://one": {"label ids": "yes"}, "version": "0.32\x1b[2J"}
    monkeypatch.setattr("rerank_bench.engines.fake.open_overlap", lambda options: engine)
    result = call("--engine", "fake", "--quick")
    assert "    http://one: label ids=yes" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--engine", "transformers", "--model", "/no/such/folder"), "error: "),
        (("--engine", "transformers"), "error: "),
        (("--engine", "none"), "error: "),
        (("--engine", "fake", "-o", "device=cpu"), "error: device is no option of engine fake"),
        (("--engine", "fake", "--base-url", "http://x"), "error: base_url is no option"),
    ],
)
def test_the_command_passes_errors_on_in_a_line(arguments, told):
    result = call(*arguments, "--quick")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith(told)]
    assert len(errors) == 1, result.output


def test_three_engines_are_a_usage_error():
    assert call(*["--engine", "fake"] * 3).exit_code == 2
