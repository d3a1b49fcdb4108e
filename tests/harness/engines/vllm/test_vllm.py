"""What can be said of the vLLM engine without vLLM: settings, refusals, prompts, errors."""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from multiprocessing.connection import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore

from rerank_bench import BadOption, EngineFault, MissingExtra, NextToken, PairScore, Prompt
from rerank_bench.engines import (
    ModelOptions,
    PairTemplate,
    Prepared,
    Preparer,
    Tokens,
    open_checkpoint,
    open_engine,
)
from rerank_bench.engines import vllm as vllm_engine
from rerank_bench.engines.local.loading import load
from rerank_bench.engines.local.pairs import prepare_composed
from rerank_bench.engines.vllm import LONGEST_CONTEXT, MOST_LABELS, VllmEngine
from rerank_bench.engines.vllm import settings as vllm_settings
from rerank_bench.engines.vllm.calls import read
from rerank_bench.engines.vllm.settings import (
    Settings,
    VllmOptions,
    environments,
    worker_settings,
)
from rerank_bench.engines.vllm.worker import (
    WorkerModel,
    explain,
    in_effect,
    listen,
    require_head_dtype,
    require_label_ids,
)
from rerank_bench.types import Embed, Failure, Generate, Generation, Logits, Vectors

Installed = Callable[[str | None], None]


def arguments(folder: Path, mode: Any, *, head: tuple[int, ...] = (), **options: Any) -> Any:
    chosen = VllmOptions(model=str(folder), **options)
    return worker_settings(open_checkpoint(chosen), chosen, mode, 99, head).arguments


def test_options_reach_vllm_by_their_own_names_and_unset_ones_do_not(llama: Path) -> None:
    found = arguments(
        llama, "generate", dtype="float16", kv_cache_dtype="fp8", max_num_seqs=7, vllm='{"x": 1}'
    )
    assert (found["dtype"], found["kv_cache_dtype"], found["max_num_seqs"]) == ("float16", "fp8", 7)
    assert (found["max_model_len"], found["runner"], found["x"]) == (99, "generate", 1)
    assert found["generation_config"] == "vllm"
    assert "quantization" not in found
    assert "block_size" not in found


def test_each_mode_asks_vllm_for_its_own_head(llama: Path, cross_encoder: Path, qwen: Path) -> None:
    assert arguments(cross_encoder, "classify")["runner"] == "pooling"
    assert "enable_prefix_caching" not in arguments(cross_encoder, "classify")
    assert arguments(llama, "tokens")["pooler_config"] == {"task": "token_embed"}
    for mode, cached in [("last", True), ("mean", False), ("cls", False)]:
        found = arguments(llama, mode)
        assert found["pooler_config"] == {"task": "embed", "seq_pooling_type": mode.upper()}
        assert found.get("enable_prefix_caching", False) == cached
    overrides = arguments(qwen, "labels", head=(40, 41))["hf_overrides"]
    assert overrides["architectures"] == ["Qwen3ForSequenceClassification"]
    assert overrides["method"] == "no_post_processing"
    tokenizer = open_checkpoint(ModelOptions(model=str(qwen))).tokenizer
    pieces = overrides["classifier_from_token"]
    assert tokenizer.convert_tokens_to_ids(pieces) == [40, 41]
    with pytest.raises(EngineFault, match="no classification head"):
        arguments(llama, "classify")


@pytest.mark.parametrize("given", ["{", "[1]", '"a"'])
def test_further_arguments_must_be_a_json_object(given: str, llama: Path) -> None:
    with pytest.raises(BadOption, match="JSON"):
        arguments(llama, "generate", vllm=given)


def test_every_replica_has_gpus_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_settings, "visible_gpus", lambda: ["0", "3", "5", "6"])
    shares = environments(VllmOptions(model="m", data_parallel=2, tensor_parallel_size=2))
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["0,3", "5,6"]
    with pytest.raises(EngineFault, match="needs 6 GPUs; there are 4"):
        environments(VllmOptions(model="m", data_parallel=3, tensor_parallel_size=2))


def test_what_the_user_set_in_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_settings, "visible_gpus", list)
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "9")
    (mine,) = environments(VllmOptions(model="m"))
    assert "VLLM_CPU_KVCACHE_SPACE" not in mine
    assert mine["VLLM_NO_USAGE_STATS"] == "1"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Simulate an installed version of vllm-cpu; None for no vLLM at all."""

    def install(version: str | None) -> None:
        found = {} if version is None else {"vllm": ["vllm-cpu"]}
        monkeypatch.setattr(metadata, "packages_distributions", lambda: found)
        real = metadata.version
        monkeypatch.setattr(
            metadata, "version", lambda name: version if name == "vllm-cpu" else real(name)
        )

    return install


def test_without_vllm_one_line_names_the_extra(llama: Path, installed: Installed) -> None:
    installed(None)
    engine = open_engine("vllm", model=str(llama))
    with pytest.raises(MissingExtra, match=r"rerank-bench\[vllm\]"):
        _ = engine.identity


def test_an_identity_tells_what_shapes_replies_and_nothing_else(
    llama: Path, installed: Installed
) -> None:
    installed("0.31.1")

    def identity(**options: Any) -> Any:
        return VllmEngine(VllmOptions(model=str(llama), **options)).identity

    plain = identity()
    assert identity(max_num_seqs=3, gpu_memory_utilization=0.5, data_parallel=2) == plain
    for shaping in ({"dtype": "bfloat16"}, {"quantization": "fp8"}, {"load_format": "dummy"},
                    {"vllm": '{"a": 1}'}, {"head": "labels"}):  # fmt: skip
        assert identity(**shaping) != plain
    installed("0.32.0")
    assert identity() == {**plain, "version": "0.32.0"}


def test_a_context_is_cut_to_what_a_gpu_can_hold_unless_asked_for(llama: Path) -> None:
    engine = VllmEngine(VllmOptions(model=str(llama)))
    long = SimpleNamespace(
        context=1 << 20, tokens=engine.checkpoint.tokens, name="long", config=None
    )
    engine.__dict__.update(checkpoint=long, head="none")
    assert engine.preparer.context == LONGEST_CONTEXT
    asked = VllmEngine(VllmOptions(model=str(llama), max_model_len=64))
    assert asked.preparer.context == 64


class Answering:
    """Worker processes that give every request one answer."""

    def __init__(self, answer: Any, in_effect: Any = None) -> None:
        self.answer, self.start_seconds, self.seconds = answer, 3.0, 1.0
        self.processes = [SimpleNamespace(in_effect=in_effect or {})] * 2

    def close(self) -> None: ...

    def run(self, requests: Any) -> Any:
        return ((one, self.answer) for one in requests if one is not None)


def served(monkeypatch: pytest.MonkeyPatch, folder: Path, answer: Any, **options: Any) -> Any:
    monkeypatch.setattr(vllm_engine, "Workers", lambda *_, **__: Answering(answer))
    return VllmEngine(VllmOptions(model=str(folder), **options))


def test_labels_that_vllm_or_its_label_head_cannot_read_are_refused(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = served(monkeypatch, llama, Failure("none"))
    with pytest.raises(EngineFault, match=f"129 labels, but vLLM reads {MOST_LABELS}"):
        list(engine.stream(iter([NextToken(Prompt(text="a"), tuple(range(129)))])))
    headed = served(monkeypatch, llama, Failure("none"), head="labels", labels=("A", "B"))
    assert list(headed.stream(iter([NextToken(Prompt(text="a"), ("B",))])))
    with pytest.raises(EngineFault, match=r"token \d+ is no label of the head"):
        list(headed.stream(iter([NextToken(Prompt(text="a"), ("B", "C"))])))


def test_a_text_is_decoded_up_to_its_first_stop_string(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ids,) = Tokens(open_checkpoint(ModelOptions(model=str(llama))).tokenizer, name="m").encode(
        ["one, two"]
    )
    engine = served(monkeypatch, llama, Generation("", True, tuple(ids)))
    asked = Generate(Prompt(text="a"), 9, stop=(",",))
    ((_, whole), (_, cut)) = engine.stream(iter([replace(asked, stop=()), asked]))
    assert (whole.text, cut.text) == ("one, two", "one")


def prepared(request: Any, folder: Path) -> Prepared:
    tokens = Tokens(open_checkpoint(ModelOptions(model=str(folder))).tokenizer, name="m")
    ((one,), _) = Preparer(tokens, 100).prepare([(0, request)])
    return one


@pytest.mark.parametrize("head", [False, True])
def test_labels_are_read_off_the_output_and_nan_is_a_failure(llama: Path, head: bool) -> None:
    one = prepared(NextToken(Prompt(text="a"), ("A", "B")), llama)
    settings = Settings({}, label_head=tuple(one.labels.values()) if head else ())

    def output(values: list[float]) -> Any:
        logprobs = {
            t: SimpleNamespace(logprob=v) for t, v in zip(one.labels.values(), values, strict=True)
        }
        pooled = SimpleNamespace(data=torch.tensor(values), logprobs=[logprobs])
        return SimpleNamespace(outputs=pooled if head else [pooled], num_cached_tokens=1)

    found: Any = read(one, settings, output([-1.0, -2.0]))
    assert found.logprob["A"] - found.logprob["B"] == pytest.approx(1.0)
    assert (found.over_labels, found.cached_tokens, found.prompt_tokens) == (head, 1, len(one.ids))
    assert isinstance(read(one, settings, output([float("nan"), 0.0])), Failure)


def test_a_templated_pair_is_what_sentence_transformers_reads(qwen_reranker: Path) -> None:
    checkpoint = open_checkpoint(ModelOptions(model=str(qwen_reranker)), device="cpu")
    pairs = list(enumerate([PairScore("what is it", "the value"), PairScore("a", "")]))
    tokens = Tokens(checkpoint.tokenizer, name="m")
    ours, _ = Preparer(tokens, 200, PairTemplate.of(checkpoint)).prepare(pairs)
    theirs, _ = prepare_composed(load(checkpoint, "composed"), pairs)
    assert [list(one.ids) for one in ours] == [list(one.ids) for one in theirs]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_language_head_in_half_precision_is_computed_in_float32(llama: Path, dtype: str) -> None:
    assert arguments(llama, "generate", dtype=dtype)["hf_overrides"] == {"head_dtype": "float32"}
    assert "hf_overrides" not in arguments(llama, "generate", dtype="float32")
    more = arguments(llama, "generate", dtype=dtype, vllm='{"hf_overrides": {"x": 1}}')
    assert more["hf_overrides"] == {"head_dtype": "float32", "x": 1}
    model = '{"hf_overrides": {"head_dtype": "model"}}'
    off = arguments(llama, "generate", dtype=dtype, vllm=model)
    assert off["hf_overrides"] == {"head_dtype": "model"}
    with pytest.raises(BadOption, match="hf_overrides in option vllm must be a JSON object"):
        arguments(llama, "generate", vllm='{"hf_overrides": 1}')


def test_an_encoder_decoder_is_refused_with_the_engine_that_runs_it(t5: Path) -> None:
    request = NextToken(Prompt(text="a"), ("true", "false"))
    with pytest.raises(EngineFault, match="vLLM runs none: use --engine transformers"):
        list(VllmEngine(VllmOptions(model=str(t5))).stream(iter([request])))


def test_vectors_that_vllm_does_not_pool_are_refused_with_the_engine_that_does(
    llama: Path, t5: Path
) -> None:
    for folder, pooling, message in [
        (llama, ("<|im_end|>",), "named tokens: use --engine transformers"),
        (llama, "saved", "does not say how it is pooled"),
        (t5, "mean", "encoder-decoder: no vectors: use --engine transformers"),
    ]:
        with pytest.raises(EngineFault, match=message):
            list(
                VllmEngine(VllmOptions(model=str(folder))).stream(
                    iter([Embed(Prompt(text="a"), pooling)])
                )
            )


@pytest.mark.parametrize(("reads", "model"), [(True, "bfloat16"), (False, "float32")])
def test_a_vllm_that_computes_no_head_in_float32_is_refused(
    monkeypatch: pytest.MonkeyPatch, reads: bool, model: str
) -> None:
    class Reads:
        def __init__(self) -> None:
            self.head_dtype = None

    class Does:
        def __init__(self) -> None: ...

    module = SimpleNamespace(LogitsProcessor=Reads if reads else Does)
    for name in ("vllm", "vllm.model_executor", "vllm.model_executor.layers"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(__path__=[]))
    monkeypatch.setitem(sys.modules, "vllm.model_executor.layers.logits_processor", module)
    config = SimpleNamespace(head_dtype=f"torch.{model}")
    asked = {"hf_overrides": {"head_dtype": "float32"}}
    with pytest.raises(RuntimeError, match="no language head in float32") as caught:
        require_head_dtype(asked, config)
    assert "set dtype=float32" in explain(caught.value)
    require_head_dtype({}, config)
    if reads:
        require_head_dtype(asked, SimpleNamespace(head_dtype="torch.float32"))


def test_a_label_head_is_refused_where_vllm_would_drop_a_part_of_the_logits(
    tmp_path: Path, checkpoints: Any
) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    shape = checkpoints.decoder_shape(len(checkpoints.byte_pairs(tmp_path, chat=None)))
    Gemma2ForCausalLM(Gemma2Config(**shape)).save_pretrained(tmp_path)
    with pytest.raises(EngineFault, match=r"Gemma2ForCausalLM.*leave out head=labels"):
        arguments(tmp_path, "labels", head=(40, 41))


def test_a_pair_without_any_template_needs_the_transformers_engine(llama_classifier: Path) -> None:
    checkpoint = open_checkpoint(ModelOptions(model=str(llama_classifier)))
    checkpoint.tokenizer.chat_template = None
    with pytest.raises(EngineFault, match="--engine transformers"):
        PairTemplate.of(checkpoint)


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        ("CUDA out of memory. Tried to allocate", "lower gpu_memory_utilization"),
        ("To serve at least one request, 9 GiB KV cache is needed", "lower max_model_len"),
        ("1 validation error for X\n  quantization\n  Value error, no such", "quantization: Value"),
        ("", "RuntimeError"),
    ],
)
def test_what_vllm_raises_becomes_one_line_with_a_cure(raised: str, shown: str) -> None:
    line = explain(RuntimeError(raised))
    assert shown in line
    assert "\n" not in line


def test_a_bug_is_shown_with_its_type() -> None:
    assert explain(KeyError(17)) == "KeyError: 17"
    assert explain(RuntimeError("no room")) == "no room"


def test_a_vllm_that_cannot_look_at_token_ids_is_refused() -> None:
    with pytest.raises(RuntimeError, match="logprob_token_ids"):
        require_label_ids(SimpleNamespace(__struct_fields__=("n",)))
    require_label_ids(SimpleNamespace(__struct_fields__=("logprob_token_ids",)))


def test_a_worker_receives_large_messages_while_it_is_busy() -> None:
    here, there = Pipe()
    messages = listen(there)
    large = b"x" * 5_000_000  # more than a pipe holds
    here.send(large)
    assert messages.get(timeout=10) == large
    here.close()
    assert messages.get(timeout=10) is None


class Unreadable:
    """What cannot be unpickled at the other end."""

    def __reduce__(self) -> Any:
        return operator.getitem, ({}, "no such key")


def test_what_a_worker_cannot_read_is_an_error_and_no_silence() -> None:
    here, there = Pipe()
    here.send(Unreadable())
    worker = WorkerModel.__new__(WorkerModel)
    worker._running, worker._waiting = {}, deque()
    with pytest.raises(KeyError, match="no such key"):
        worker.serve(there)


def test_a_manifest_holds_what_vllm_resolved_and_how_many_processes(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SimpleNamespace(
        model_config=SimpleNamespace(
            dtype="torch.bfloat16", quantization="gptq_marlin", max_model_len=9, enforce_eager=True
        ),
        cache_config=SimpleNamespace(
            cache_dtype="auto", block_size=16, enable_prefix_caching=1, gpu_memory_utilization=0.9
        ),
        scheduler_config=SimpleNamespace(max_num_seqs=4, max_num_batched_tokens=99),
        parallel_config=SimpleNamespace(tensor_parallel_size=1),
    )
    found = in_effect("0.32.0", config)
    assert (found["quantization"], found["kv_cache_dtype"]) == ("gptq_marlin", "bfloat16")
    config.cache_config.cache_dtype = "fp8_e4m3"
    assert in_effect("0.32.0", config)["kv_cache_dtype"] == "fp8_e4m3"
    monkeypatch.setattr(vllm_engine, "Workers", lambda *_, **__: Answering(None, found))
    engine = VllmEngine(VllmOptions(model=str(llama), data_parallel=2))
    assert engine.statistics.in_effect == {}
    assert list(engine.stream(iter([NextToken(Prompt(text="a"), ("B",))]))) == [(0, None)]
    assert engine.statistics.in_effect == {**found, "data_parallel": 2}
    assert (engine.statistics.loading_seconds, engine.statistics.work_seconds) == (3.0, 1.0)


def test_a_run_without_vllm_ends_in_one_line_and_leaves_no_folder(
    llama: Path, tmp_path: Path, beir: Callable[..., Path], installed: Installed
) -> None:
    from click.testing import CliRunner

    from rerank_bench.cli import main

    installed(None)
    task = beir({"q": "a query"}, {"d": "a document", "e": "another"}, {"q": {"d": 1}})
    words = ["run", "--task", str(task), "--profile", "bm25()", "--out", str(tmp_path / "runs")]
    words += ["--engine", "vllm", "--model", str(llama), "--no-cache", "--reranker", "pointwise"]
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 1
    assert "rerank-bench[vllm]" in found.stderr
    assert not (tmp_path / "runs").exists()
    assert found.stdout == ""


def test_several_modules_do_not_keep_a_language_model_from_being_asked_for_labels(
    llama: Path, tmp_path: Path
) -> None:
    transformer = Transformer(str(llama), transformer_task="text-generation")
    CrossEncoder(modules=[transformer, LogitScore(40, 41)]).save_pretrained(str(tmp_path))
    engine = VllmEngine(VllmOptions(model=str(tmp_path)))
    assert engine.preparer.prepare([(0, NextToken(Prompt(text="a"), ("A",)))])[0]
    with pytest.raises(EngineFault, match="query and document roles"):
        list(engine.stream(iter([PairScore("a", "b")])))


def test_only_a_text_to_embed_has_zeros_where_it_has_no_tokens(
    monkeypatch: pytest.MonkeyPatch, llama_classifier: Path
) -> None:
    def never(self: VllmEngine, mode: str, requests: Any) -> Any:
        assert not list(requests)
        return iter(())

    monkeypatch.setattr(VllmEngine, "_run", never)
    empty = {"pair_template": "{{ query }}{{ document }}"}
    for request, options, kind in [
        (Embed(Prompt(text=""), "last"), {}, Vectors),
        (PairScore("", ""), empty, Failure),
        (PairScore("", ""), {"head": "maxsim"}, Logits),
    ]:
        engine = VllmEngine(VllmOptions(model=str(llama_classifier), **options))
        ((_, reply),) = engine.stream(iter([request]))
        assert isinstance(reply, kind)
