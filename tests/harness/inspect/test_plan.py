"""The command `plan`: its counts are those of a run, and its costs follow from them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig

from rerank_bench import BadOption, EngineFault
from rerank_bench.cli import main
from rerank_bench.engines import choose_engine
from rerank_bench.errors import RequestFailed
from rerank_bench.inspect.plan import plan_suite, total_row
from rerank_bench.inspect.plan_engine import CountingEngine, PrefixCache
from rerank_bench.inspect.plan_reader import open_reader
from rerank_bench.reranking import Scope, Shape
from rerank_bench.reranking.limits import GPUS
from rerank_bench.reranking.shapes import SHAPES
from rerank_bench.runs import read_run
from rerank_bench.suite import run_suite
from rerank_bench.types import Generate, Likelihood, Message, NextToken, Prompt

H200 = GPUS["h200"]
QUERIES = {f"q{i}": f"which pear goes with apple number {i}" for i in range(3)}
CORPUS = {f"d{i}": f"apple number {i} goes with pear number {i * 7 % 11}" for i in range(12)}
QRELS = {f"q{i}": {f"d{i}": 1} for i in range(3)}
POINTWISE = "pointwise:labels=Y,N"  # one token each of the tiny tokenizers
PROMPT = Prompt((Message("user", "which pear goes with which apple"),))
WINDOWED = "window=4,stride=2"  # over 12 documents: 1 + (12 - 4) / 2 = 5 windows


@pytest.fixture
def data(beir):
    return beir(QUERIES, CORPUS, QRELS)


@pytest.fixture
def build(suite_of, data):
    """Build a suite over the data; the options besides model and profiles are its scope's."""

    def build(*rerankers, model=None, profiles=("bm25",), **scope):
        return suite_of(
            data, *rerankers, model=model, profiles=profiles, cache=None, scope=Scope(**scope)
        )

    return build


def test_calls_rounds_and_tokens_are_those_that_a_run_reports(build, llama):
    suite = build(POINTWISE, f"first:{WINDOWED}", "query-likelihood", "identity", model=llama)
    rows = plan_suite(suite, H200).rows
    runs = [read_run(folder) for folder in run_suite(suite)]
    assert len(rows) == len(runs) == 4
    for row, run in zip(rows, runs, strict=True):
        usages = [result.usage for result in run.results]
        for name in ("calls", "rounds", "prompt_tokens", "output_tokens"):
            assert getattr(row, name) == sum(getattr(usage, name) for usage in usages), name


@pytest.mark.parametrize(
    ("reranker", "model"),
    [("cross-encoder", "cross_encoder"), ("late-interaction", "encoder")],
)
def test_pairs_are_counted_as_a_run_counts_them_and_an_encoder_caches_nothing(
    build, request, reranker, model
):
    suite = build(reranker, model=request.getfixturevalue(model))
    (row,) = plan_suite(suite, H200).rows
    (run,) = (read_run(folder) for folder in run_suite(suite))
    assert row.prompt_tokens == sum(result.usage.prompt_tokens for result in run.results) > 0
    assert row.repeated == 0
    assert row.cacheable_tokens == 0
    assert row.seconds == row.seconds_cached


def test_late_interaction_reads_each_text_once(build, encoder):
    names = ("late-interaction", "cross-encoder:head=maxsim")
    row, pairs = (plan_suite(build(name, model=encoder), H200).rows[0] for name in names)
    assert row.read_tokens == pairs.read_tokens < row.prompt_tokens / 2


def test_a_bi_encoder_reads_each_text_once_and_is_counted_as_a_run_counts_it(build, encoder):
    suite = build("bi-encoder:pooling=mean", model=encoder)
    (row,) = plan_suite(suite, H200).rows
    (run,) = (read_run(folder) for folder in run_suite(suite))
    assert row.calls == sum(result.usage.calls for result in run.results) > 0
    assert row.prompt_tokens == sum(result.usage.prompt_tokens for result in run.results)
    assert row.repeated > 0
    assert row.read_tokens < row.prompt_tokens / 2


def test_a_bi_encoder_whose_pooling_is_not_known_is_refused_as_a_run_refuses_it(build, encoder):
    suite = build("bi-encoder", model=encoder)
    for use in (lambda: plan_suite(suite, H200), lambda: list(run_suite(suite))):
        with pytest.raises(EngineFault, match="does not say how it is pooled"):
            use()


def test_a_pair_head_with_a_template_is_counted_with_it(build, qwen_reranker, llama_classifier):
    models = (llama_classifier, qwen_reranker)
    plain, templated = (
        plan_suite(build("cross-encoder", model=model), H200).rows[0] for model in models
    )
    assert templated.prompt_tokens > plain.prompt_tokens
    assert plain.cacheable_tokens > 0


def test_a_generated_window_costs_a_permutation_and_an_end_and_waits_for_itself(build, llama):
    names = (f"first:{WINDOWED}", f"listwise:{WINDOWED}", f"listwise:{WINDOWED},max_tokens=3,as=x")
    first, listwise, short = plan_suite(build(*names, model=llama), H200).rows
    assert first.output_tokens == first.calls == 3 * 5
    assert first.rounds == listwise.rounds == 3 * 5
    tokens = listwise.output_tokens / listwise.calls
    assert 4 * 2 < tokens <= 6 * 4  # an identifier takes from two tokens up to the limit of six
    assert short.output_tokens == 3 * short.calls
    assert listwise.seconds_alone > 2 * listwise.seconds  # one query uses a third of each step
    assert listwise.flops > first.flops


def test_thoughts_and_answers_that_are_no_order_cost_all_that_was_requested(build, llama, tmp_path):
    head = 'source = "test"\nlicence = "none"\nchanges = "none"\ntext = """'
    rating, scores = tmp_path / "rating.toml", tmp_path / "scores.toml"
    rating.write_text(head + 'Rate {{ document }} for {{ query }} from 0 to 10."""')
    scores.write_text(
        head + "Query: {{ query }}\n{% for passage in passages %}\n[{{ passage.id }}] "
        '{{ passage.text }}\n{% endfor %}\nYour reasons, then <answer> tags."""'
    )
    names = (
        *("rating:max_tokens=40", f"rating:prompt={rating},max_tokens=50,as=direct"),
        f"listwise:{WINDOWED},thinking=true,max_tokens=90",
        f"groupwise:prompt={scores},max_tokens=70,group=3,max_doc_tokens=30",
    )
    plan = plan_suite(build(*names, model=llama), H200)
    for row, most in zip(plan.rows, (40, 50, 90, 70), strict=True):
        assert row.output_tokens == most * row.calls > 0
    assert "all behind thoughts or in tags, by max_tokens" in " ".join(plan.assumptions)


@pytest.mark.parametrize("name", ["dual-end:k=2", "setwise:answer=generate,children=2"])
def test_an_answer_that_names_passages_costs_no_more_than_the_names(build, llama, name):
    options = f"{name},max_tokens=200,max_doc_tokens=8"
    (row,) = plan_suite(build(options, model=llama), H200).rows
    assert 0 < row.output_tokens < 100 * row.calls


def test_a_model_free_reranker_costs_nothing(build):
    (row,) = plan_suite(build("reverse"), H200).rows
    assert (row.queries, row.calls, row.flops, row.seconds_alone, row.model) == (3, 0, 0, 0, "")
    assert row.cacheable is None
    assert row.queries_per_pflop is None


def test_requests_that_were_sent_after_another_first_stage_cost_nothing_again(build, llama):
    suite = build(POINTWISE, model=llama, profiles=("bm25", "rrf(bm25,bm25)"))
    once, again = plan_suite(suite, H200).rows
    assert once.repeated == 0
    assert again.repeated == again.calls == once.calls
    assert (again.read_tokens, again.seconds) == (0, 0)
    assert again.flops == pytest.approx(once.flops)
    assert again.seconds_alone == pytest.approx(once.seconds_alone)
    whole = total_row((once, again))
    assert (whole.calls, whole.seconds) == (2 * once.calls, once.seconds)


def test_a_sample_and_a_depth_are_planned_as_they_are_run(build, llama):
    (row,) = plan_suite(build(POINTWISE, model=llama, queries=2, depth=5), H200).rows
    assert (row.queries, row.calls) == (2, 10)


def test_a_larger_block_finds_less_in_the_cache(build, llama):
    suite = build(POINTWISE, model=llama)
    found = [plan_suite(suite, H200, block=block).rows[0] for block in (1, 16, 512)]
    assert found[0].cacheable_tokens > found[1].cacheable_tokens > found[2].cacheable_tokens == 0
    assert found[0].seconds_cached <= found[1].seconds_cached <= found[2].seconds_cached
    assert len({row.seconds for row in found}) == 1


tokens = st.lists(st.integers(0, 1), min_size=1, max_size=14)


@given(st.lists(tokens, max_size=8), st.integers(1, 4))
def test_the_prefix_cache_holds_the_longest_beginning_that_was_read_before(sequences, size):
    blocks = PrefixCache(size)
    for place, ids in enumerate(sequences):
        heads = range(0, len(ids), size)  # full blocks; the last token is always computed
        known = [
            n for n in heads if any(s[:n] == ids[:n] and len(s) >= n for s in sequences[:place])
        ]
        expected = max(known, default=0) if place else 0
        assert blocks.read(ids, len(ids) - 1) == expected


@pytest.mark.parametrize(
    ("requests", "served"),
    [
        ([NextToken(PROMPT, ("Y",)), NextToken(PROMPT, ("N",))], lambda n: n - 1),
        ([Generate(PROMPT, 5), Generate(PROMPT, 6)], lambda n: n - 1),
        ([Likelihood(PROMPT, " a"), Likelihood(PROMPT, " a b")], lambda n: n - 1),
    ],
)
def test_the_positions_that_are_predicted_from_are_computed_and_the_rest_is_cached(
    llama, requests, served
):
    reader = open_reader(choose_engine("transformers", {"model": str(llama)}), None)
    engine = CountingEngine(reader, H200, 1)
    replies = dict(engine.answer(requests))
    prompt = len(reader.preparer.tokens.prompts([PROMPT])[0].ids)
    assert engine.counted.read == sum(reply.prompt_tokens for reply in replies.values())
    assert engine.counted.cached == served(prompt)


def test_a_shape_takes_the_place_of_the_models_own_sizes_and_context(build, llama):
    suite = build(POINTWISE, model=llama)
    (own,) = plan_suite(suite, H200).rows
    planned = plan_suite(suite, H200, shape="Qwen3-4B")
    (row,) = planned.rows
    assert row.prompt_tokens == own.prompt_tokens
    assert row.model == "Qwen3-4B"
    at_least = 2 * SHAPES["Qwen3-4B"].body * row.prompt_tokens
    assert at_least < row.flops < 1.2 * at_least
    assert row.queries_per_pflop == pytest.approx(3e15 / row.flops)
    assert row.seconds == pytest.approx(row.flops / H200.matmul)
    assert f"Tokens are those of {llama}" in planned.assumptions[-1]


@pytest.mark.parametrize(
    ("reranker", "model", "block", "error", "message"),
    [
        ("first:max_model_len=60", "llama", 16, RequestFailed, "exceed the model's context of 60"),
        ("cross-encoder", "llama", 16, EngineFault, "has no head for pairs"),
        (POINTWISE, "encoder", 16, EngineFault, "no causal language model"),
        ("pointwise:engine=fake", None, 16, BadOption, "give --model"),
        (POINTWISE, "llama", 0, BadOption, "--block must be at least 1"),
    ],
)
def test_an_error_is_raised_before_anything_runs(
    build, request, reranker, model, block, error, message
):
    suite = build(reranker, model=model and request.getfixturevalue(model))
    with pytest.raises(error, match=message):
        plan_suite(suite, H200, block=block)


def test_a_tokenizer_of_another_model_need_not_have_the_labels_nor_predict(build, encoder):
    suite = build(POINTWISE, model=encoder)
    assert plan_suite(suite, H200, shape="Qwen3-0.6B").rows[0].calls == 36


def test_the_tokenizer_of_an_encoder_decoder_counts_for_another_model(build, t5):
    suite = build("pointwise:prompt=yes-no", model=t5)
    assert plan_suite(suite, H200, shape="Qwen3-0.6B").rows[0].calls == 36


@pytest.mark.parametrize("reranker", ["mvp", "lit5", "listt5", "pointwise:prompt=rankt5,raw=true"])
def test_rerankers_of_encoder_decoders_are_planned_with_their_own_sizes(build, t5, reranker):
    (row,) = plan_suite(build(reranker, model=t5), H200).rows
    whole = Shape.of(AutoConfig.from_pretrained(t5).to_dict())
    assert row.calls > 0
    assert row.cacheable_tokens == 0
    assert row.flops > 2 * whole.body * (row.prompt_tokens - row.calls)  # of each a start token
    assert row.seconds > 0


@pytest.mark.parametrize("reranker", ["mvp", "lit5", "listt5", "pointwise:prompt=rankt5,raw=true"])
def test_rerankers_of_encoder_decoders_are_planned_with_another_models_tokenizer(
    build, llama, reranker
):
    (row,) = plan_suite(build(reranker, model=llama), H200, shape="Qwen3-0.6B").rows
    assert row.calls > 0
    assert row.prompt_tokens > row.calls


def test_a_model_that_is_not_on_this_machine_is_an_error_with_an_alternative(build, tmp_path):
    suite = build(POINTWISE, model=tmp_path / "absent")
    with pytest.raises(EngineFault, match=r"no such folder.*\n.*--shape Qwen3-4B"):
        plan_suite(suite, H200)


def test_the_command_prints_a_table_with_its_assumptions(call, data, llama, tmp_path):
    names = ("--reranker", POINTWISE, "--reranker", "reverse")
    lines = call("plan", "--task", data, *names, "--model", llama).output.splitlines()
    assert any("GPU-hours" in line for line in lines[:4])
    assert any(line.split()[:2] == ["all", "total"] for line in lines)
    assert [line for line in lines if line.startswith(("Limits, not", "Assumed:"))] == lines[-3:-1]
    assert not list(tmp_path.glob("runs*"))


def test_the_command_reads_a_suite_file_and_prints_json(call, data, llama, tmp_path):
    file = tmp_path / "suite.toml"
    rows = f'[[task]]\ntask = "{data}"\n[[reranker]]\nreranker = "{POINTWISE}"\nmodel = "{llama}"\n'
    file.write_text(rows)
    done = call("plan", file, "--gpu", "l4", "--shape", "Qwen3-0.6B", "--block", 32, "--json")
    found = json.loads(done.stdout)
    assert (found["gpu"]["name"], found["gpu"]["measured"], found["block"]) == ("l4", False, 32)
    (row,) = found["rows"]
    assert row["gpu_hours"] == pytest.approx(row["seconds_cached"] / 3600)
    assert 0 < row["cacheable"] < 1
    assert found["total"]["calls"] == row["calls"] == 36


def test_the_command_takes_every_flag_of_run(call, data, llama, tmp_path):
    missing = {p.name for p in main.commands["run"].params} - {
        p.name for p in main.commands["plan"].params
    }
    assert missing <= {"wide", "explain"}  # of the report
    words = ["--task", data, "--reranker", POINTWISE, "--as", "mine", "--model", llama, "--engine"]
    words += ["vllm", "--data-parallel", "2", "--out", tmp_path / "runs", "--no-cache", "--cache"]
    words += [tmp_path / "replies", "--keep-going", "--json"]
    rows = json.loads(call("plan", *words).stdout)["rows"]
    assert [row["reranker"] for row in rows] == ["mine"]
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "replies").exists()
    toml = call("plan", *words, "--print-toml").stdout
    assert toml == call("run", *words, "--print-toml").stdout
    assert "data-parallel = 2" in toml


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gpu", "h20"], "unknown GPU 'h20'; did you mean h200"),
        (["--shape", "Qwen-4B"], "unknown shape 'Qwen-4B'; did you mean Qwen3-4B"),
        (["--reranker", "pointwize"], "unknown reranker 'pointwize'; did you mean pointwise"),
    ],
)
def test_the_command_names_what_does_not_exist(refused, data, llama, words, message):
    flags = ("--task", data, "--reranker", "pointwise", "--model", llama)
    assert message in refused("plan", *flags, *words)


def test_a_real_task_is_planned_as_worked_out_by_hand(call, nano, llama):
    """A pool of TREC DL 2019 has 100 documents a query: 100 calls, or 9 windows."""
    options = ("--model", llama, "--shape", "Qwen3-4B", "--queries", 4, "--json")
    rerankers = ("--reranker", "pointwise", "--reranker", "first")
    task = nano / "NanoGraded" / "trec_dl19"
    done = call("plan", "--task", task, "--profile", "bm25", *rerankers, *options)
    pointwise, first = json.loads(done.stdout)["rows"]
    assert [r["calls"] / 4 for r in (pointwise, first)] == [100, 9]
    assert [r["rounds"] / 4 for r in (pointwise, first)] == [1, 9]
    assert pointwise["cacheable"] > 3 * first["cacheable"]
