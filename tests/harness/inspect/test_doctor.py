"""The command `doctor`: engines opened, asked in turn and closed, and its report."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from rerank_bench.cli import main
from rerank_bench.engines import FakeEngine, overlap
from rerank_bench.errors import BadOption, EngineDied, EngineFault, MissingExtra, UnknownName
from rerank_bench.inspect import doctor
from rerank_bench.inspect.doctor import Report, examine, open_engines
from rerank_bench.inspect.doctor_requests import LETTERS
from rerank_bench.types import (
    Generate,
    LabelScores,
    Likelihood,
    Logits,
    NextToken,
    PairScore,
)


def language(request):
    """A language model: it has no head for pairs, and says what the prompt's text throws."""
    if isinstance(request, PairScore):
        raise EngineFault("this model has no head for pairs")
    if not isinstance(request, NextToken):
        return overlap(request)
    dice, words = random.Random(request.prompt.text), len(request.prompt.text.split())
    return LabelScores({x: dice.uniform(-9, -1) for x in request.labels}, prompt_tokens=words)


def diagnosed(*engines: FakeEngine) -> Report:
    return examine([(engine.name, engine) for engine in engines], quick=True)


def value(report: Report, part: str):
    (found,) = [check for check in report.checks if part in check.name]
    return found.value


def failed(report: Report) -> list[str]:
    return [check.name for check in report.failed]


# What is asked of whom


def test_a_model_with_a_pair_head_is_asked_for_pairs_alone():
    kinds = set()

    def watch(request):
        kinds.add(type(request))
        return overlap(request)

    report = diagnosed(FakeEngine(watch), FakeEngine(overlap))
    assert failed(report) == []
    assert kinds == {PairScore}
    assert value(report, "pair logits, largest") == 0.0


def test_a_kind_that_no_engine_can_answer_is_left_out_and_one_that_one_can_is_a_failure():
    def mute(request):
        if isinstance(request, Likelihood):
            raise EngineFault("this server tells no likelihoods")
        return language(request)

    both = diagnosed(FakeEngine(mute), FakeEngine(mute))
    assert failed(both) == []
    assert "likelihoods left out: this server tells no likelihoods" in both.notes
    for engines in ((mute, language), (language, mute)):
        (name,) = failed(diagnosed(*map(FakeEngine, engines)))
        assert name.startswith("likelihoods answered by ")


def test_where_letters_are_no_tokens_ids_are_asked_for():
    def no_letters(request):
        if isinstance(request, NextToken) and request.labels[0] == "A":
            raise EngineFault("label 'A' is 2 tokens")
        return language(request)

    report = diagnosed(FakeEngine(no_letters), FakeEngine(no_letters))
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
        diagnosed(FakeEngine(die))


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


def test_progress_is_shown_out_of_all_that_is_asked(monkeypatch):
    shown = []

    @contextlib.contextmanager
    def bar(what, total=None):
        steps = []
        yield steps.append
        shown.append((what, total, sum(steps)))

    monkeypatch.setattr(doctor, "bar", bar)
    engine = FakeEngine(language)
    diagnosed(engine)
    assert [what for what, _, _ in shown] == ["A · labels", "A · likelihoods", "A · texts"]
    assert all(total == steps for _, total, steps in shown)
    # What was asked in vain before, pairs, is no step.
    assert sum(steps for _, _, steps in shown) == engine.answered - 1


# Real checkpoints


def opened(folder: Path, *asked: str):
    return open_engines(asked, str(folder), {"device": "cpu"})


def test_transformers_with_another_batch_budget_agrees_with_itself(qwen):
    other = "transformers:max_num_batched_tokens=96,max_model_len=100"
    report = examine(opened(qwen, "transformers", other), quick=True)
    assert failed(report) == []
    assert value(report, "A · requests refused") == 0
    assert value(report, "B · requests refused") == 1  # of 129 tokens
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


def _constant(options):
    return FakeEngine(lambda request: Logits((1.0,)))


def test_the_command_exits_1_and_names_what_failed(monkeypatch):
    monkeypatch.setattr("rerank_bench.engines.fake.open_overlap", _constant)
    result = call("--engine", "fake", "--quick", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["ok"] is False
    assert "spread" in told["closing"]
    assert [check["name"] for check in told["checks"] if check["ok"] is False]


def test_the_command_shows_what_an_engine_found_that_it_can_do(monkeypatch):
    engine = FakeEngine(overlap)
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
