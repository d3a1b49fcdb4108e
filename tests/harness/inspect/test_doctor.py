"""The command `doctor`: how engines are opened, called in turn and closed, and its report."""

from __future__ import annotations

import contextlib
import json

import pytest

from rerank_bench.engines import EngineChoice, FakeEngine, overlap
from rerank_bench.errors import BadOption, EngineDied, EngineFault, MissingExtra, UnknownName
from rerank_bench.inspect import doctor
from rerank_bench.inspect.doctor import examine, open_engines
from rerank_bench.inspect.doctor_requests import LETTERS
from rerank_bench.types import Generate, Likelihood, Logits, NextToken, PairScore, Statistics


def refusing(refused, error=None):
    """Return a language model that raises for the requests that `refused` selects, and pairs."""

    def answer(request):
        if isinstance(request, PairScore) or refused(request):
            raise error or EngineFault(f"no {type(request).__name__} here")
        return overlap(request)

    return answer


LANGUAGE = refusing(lambda request: False)


def examined(*engines):
    return examine([(engine.name, engine) for engine in engines], quick=True)


def value(report, part):
    (found,) = [check for check in report.checks if part in check.name]
    return found.value


def failed(report):
    return [check.name for check in report.failed]


# Which sections are sent


def test_a_model_with_a_pair_head_is_sent_pairs_only():
    kinds = set()

    def watch(request):
        kinds.add(type(request))
        return overlap(request)

    report = examined(FakeEngine(watch), FakeEngine(overlap))
    assert failed(report) == []
    assert kinds == {PairScore}
    assert value(report, "pair logits, largest") == 0.0


def test_a_type_that_no_engine_answers_is_left_out_and_one_that_one_answers_is_a_failure():
    silent = refusing(lambda request: isinstance(request, Likelihood))
    report = examined(FakeEngine(silent), FakeEngine(silent))
    assert not any("likelihood" in name for name in failed(report))
    assert "likelihoods left out: no Likelihood here" in report.notes
    for engines in ((silent, LANGUAGE), (LANGUAGE, silent)):
        names = failed(examined(*map(FakeEngine, engines)))
        assert any(name.startswith("likelihoods answered by ") for name in names)


def test_labels_are_token_ids_where_letters_are_not_tokens():
    letters = refusing(lambda r: isinstance(r, NextToken) and r.labels[0] == "A")
    report = examined(FakeEngine(letters), FakeEngine(letters))
    assert value(report, "log-probabilities, largest") == 0.0


def test_an_engine_that_answers_nothing_raises_its_own_error_and_all_are_closed():
    closed = []

    class Closing(FakeEngine):
        def close(self):
            closed.append(self)

    engines = Closing(LANGUAGE), Closing(refusing(lambda request: True))
    with pytest.raises(EngineFault, match="no PairScore here"):
        examined(*engines)
    assert set(closed) == set(engines)
    assert closed.index(engines[0]) < closed.index(engines[1])


@pytest.mark.parametrize("error", [EngineDied("gone"), MissingExtra("pip install it")])
def test_a_dead_engine_or_a_missing_extra_is_not_a_missing_type(error):
    answer = refusing(lambda request: isinstance(request, Generate), error)
    with pytest.raises(type(error)):
        examined(FakeEngine(lambda r: answer(r) if not isinstance(r, PairScore) else LANGUAGE(r)))


def test_the_second_engine_is_called_only_after_the_first_was_closed():
    events = []

    class Watched(FakeEngine):
        def close(self):
            events.append(f"{self.name} closed")

    def watched(name):
        def answer(request):
            events.append(f"{name} called")
            return LANGUAGE(request)

        return Watched(answer, name=name)

    examined(watched("one"), watched("two"))
    assert events.index("one closed") < events.index("two called")
    assert "one called" not in events[events.index("one closed") :]


def test_progress_counts_all_requests(monkeypatch):
    shown = []

    @contextlib.contextmanager
    def bar(what, total=None):
        steps = []
        yield steps.append
        shown.append((what, total, sum(steps)))

    monkeypatch.setattr(doctor, "bar", bar)
    examined(FakeEngine(LANGUAGE))
    assert [what for what, _, _ in shown] == ["A · labels", "A · likelihoods", "A · texts"]
    assert all(total == steps for _, total, steps in shown)


# Real checkpoints


def opened(folder, *texts):
    return open_engines(texts, str(folder), {"device": "cpu"})


def test_transformers_with_another_batch_budget_agrees_with_itself(qwen):
    other = "transformers:max_num_batched_tokens=96,max_model_len=100"
    report = examine(opened(qwen, "transformers", other), quick=True)
    assert failed(report) == []
    assert value(report, "A · requests refused") == 0
    assert value(report, "B · requests refused") == 1  # of 129 tokens
    assert 0 < value(report, "log-probabilities, largest") < 1e-3


def test_a_bos_is_counted_and_a_cross_encoder_agrees_with_itself(base_llama, cross_encoder):
    report = examine(opened(base_llama, "transformers"), quick=True)
    assert failed(report) == []
    assert value(report, "than the tokenizer's") == 0
    report = examine(opened(cross_encoder, "transformers", "transformers"), quick=True)
    assert failed(report) == []
    assert value(report, "pair logits, largest") == 0.0


def test_bfloat16_differs_from_float32_and_has_a_tolerance_of_its_own(llama):
    report = examine(opened(llama, "transformers", "transformers:dtype=bfloat16"), quick=True)
    (check,) = [c for c in report.checks if "log-probabilities, largest" in c.name]
    assert check.value > 1e-3
    assert check.tolerance == 0.15
    assert check.ok is (check.value <= 0.15)


# Options and the command


def test_options_reach_every_engine_that_has_them():
    texts = ["transformers:dtype=bfloat16,max_model_len=300", "vllm:head=labels"]
    shared = {"dtype": "float32", "max_num_seqs": "7", "device": "cpu"}
    (first, one), (second, other) = open_engines(texts, "some/model", shared)
    assert [first, second] == texts
    assert (one.options.dtype, one.options.max_model_len) == ("bfloat16", 300)
    assert (other.options.dtype, other.options.max_num_seqs) == ("float32", 7)
    assert one.options.model == other.options.model == "some/model"
    assert other.options.labels == LETTERS


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        (
            "fake",
            {"base_url": "http://x"},
            BadOption,
            "has no option base_url; it is one of",
        ),
        ("fake", {"dtpye": "float32"}, UnknownName, "option of engine fake"),
        ("transformers", {"engine": "vllm"}, UnknownName, "unknown option of engine"),
        ("transformers:dtpye=float32", {}, UnknownName, "did you mean dtype"),
        ("transformers", {"max_model_len": "many"}, BadOption, "takes int"),
        ("vlm", {}, UnknownName, "did you mean vllm"),
    ],
)
def test_a_wrong_engine_or_option_is_one_line(text, options, error, message):
    with pytest.raises(error, match=message) as found:
        open_engines([text], "m", options)
    assert "\n" not in str(found.value)


def test_the_command_prints_a_table_and_the_result(call):
    result = call("doctor", "--quick", "--engine", "fake", "--engine", "fake", "--model", "none")
    lines = result.stdout.splitlines()
    assert lines[0] == "A = fake"
    assert lines[-1].endswith("checks hold")
    assert any(line.startswith("pair logits, largest difference") for line in lines)


def test_the_command_exits_1_and_names_what_failed(call, monkeypatch):
    constant = FakeEngine(lambda request: Logits((1.0,)))
    monkeypatch.setattr(EngineChoice, "open", lambda chosen: constant)
    found = json.loads(call("doctor", "--quick", "--engine", "fake", "--json", code=1).stdout)
    assert found["ok"] is False
    assert "spread" in found["closing"]
    assert [check["name"] for check in found["checks"] if check["ok"] is False]


def test_the_command_shows_what_an_engine_found_that_it_can_do(call, monkeypatch):
    engine = FakeEngine(overlap)
    found = {"http://one": {"label ids": "yes"}, "version": "0.32\x1b[2J"}
    engine.statistics = Statistics(in_effect=found)
    monkeypatch.setattr(EngineChoice, "open", lambda chosen: engine)
    result = call("doctor", "--quick", "--engine", "fake")
    assert "    http://one: label ids=yes" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--engine", "transformers", "--model", "/no/such/folder"),
        ("--engine", "transformers"),
        ("--engine", "none"),
        ("--engine", "fake", "-o", "device=cpu"),
        ("--engine", "fake", "--base-url", "http://x"),
    ],
)
def test_the_command_prints_an_error_in_a_line(refused, arguments):
    assert refused("doctor", "--quick", *arguments)


def test_three_engines_are_a_usage_error(call):
    call("doctor", *["--engine", "fake"] * 3, code=2)
