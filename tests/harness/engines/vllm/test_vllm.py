"""What can be said of the vLLM engine without vLLM: settings, refusals, prompts, errors."""

from __future__ import annotations

import json
import operator
import sys
from collections import deque
from collections.abc import Callable
from importlib import metadata
from multiprocessing.connection import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore

from rerank_bench import BadOption, EngineFault, MissingExtra, NextToken, PairScore, Prompt
from rerank_bench.engines import (
    EngineOptions,
    PairTemplate,
    Tokens,
    Works,
    open_checkpoint,
    open_engine,
    require_pair_text,
)
from rerank_bench.engines import vllm as vllm_engine
from rerank_bench.engines.asks import MOST_LABELS, Told
from rerank_bench.engines.batches import Batcher
from rerank_bench.engines.pairs import ComposedPairs
from rerank_bench.engines.reading import Reading
from rerank_bench.engines.vllm import LONGEST_CONTEXT, VllmEngine
from rerank_bench.engines.vllm import settings as vllm_settings
from rerank_bench.engines.vllm.settings import environments, worker_settings
from rerank_bench.engines.vllm.worker import (
    Served,
    explain,
    in_effect,
    listen,
    require_head_dtype,
    require_label_ids,
)
from rerank_bench.types import Failure, Generate

Installed = Callable[[str | None], None]


def arguments(folder: Path, mode: Any, *, head: tuple[int, ...] = (), **options: Any) -> Any:
    checkpoint = open_checkpoint(EngineOptions("vllm", str(folder), **options))
    return worker_settings(checkpoint, mode, 99, head).arguments


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
    assert arguments(llama, "embed")["pooler_config"] == {"task": "token_embed"}
    overrides = arguments(qwen, "labels", head=(40, 41))["hf_overrides"]
    assert overrides["architectures"] == ["Qwen3ForSequenceClassification"]
    assert overrides["method"] == "no_post_processing"
    tokenizer = open_checkpoint(EngineOptions(model=str(qwen))).tokenizer
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
    shares = environments(EngineOptions("vllm", data_parallel=2, tensor_parallel_size=2))
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["0,3", "5,6"]
    with pytest.raises(EngineFault, match="needs 6 GPUs; there are 4"):
        environments(EngineOptions("vllm", data_parallel=3, tensor_parallel_size=2))


def test_what_the_user_set_in_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_settings, "visible_gpus", list)
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "9")
    (mine,) = environments(EngineOptions("vllm"))
    assert "VLLM_CPU_KVCACHE_SPACE" not in mine
    assert mine["VLLM_NO_USAGE_STATS"] == "1"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Let a version of vllm-cpu look as if it were installed; None for no vLLM at all."""

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
    engine = open_engine(EngineOptions("vllm", str(llama)))
    with pytest.raises(MissingExtra, match=r"rerank-bench\[vllm\]"):
        _ = engine.identity


def test_an_identity_tells_what_shapes_replies_and_nothing_else(
    llama: Path, installed: Installed
) -> None:
    installed("0.31.1")

    def identity(**options: Any) -> Any:
        return VllmEngine(EngineOptions("vllm", str(llama), **options)).identity

    plain = identity()
    assert identity(max_num_seqs=3, gpu_memory_utilization=0.5, data_parallel=2) == plain
    for shaping in ({"dtype": "bfloat16"}, {"quantization": "fp8"}, {"load_format": "dummy"},
                    {"vllm": '{"a": 1}'}, {"head": "labels"}):  # fmt: skip
        assert identity(**shaping) != plain
    installed("0.32.0")
    assert identity() == {**plain, "version": "0.32.0"}


def test_a_context_is_cut_to_what_a_gpu_can_hold_unless_asked_for(llama: Path) -> None:
    engine = VllmEngine(EngineOptions("vllm", str(llama)))
    long = SimpleNamespace(
        context=1 << 20, tokenizer=engine.checkpoint.tokenizer, name="long", config=None
    )
    engine.__dict__.update(checkpoint=long, head="none")
    assert engine.works.context == LONGEST_CONTEXT
    asked = VllmEngine(EngineOptions("vllm", str(llama), max_model_len=64))
    assert asked.works.context == 64


def test_more_labels_than_vllm_reads_are_refused_with_the_number(llama: Path) -> None:
    tokens = Tokens(open_checkpoint(EngineOptions(model=str(llama))).tokenizer, name="m")
    works = Works(tokens, 100)
    (work,) = works.next_tokens([NextToken(Prompt(text="a"), tuple(range(129)))]).works
    with pytest.raises(EngineFault, match=str(MOST_LABELS)):
        Reading(tokens).ask(NextToken, work)


def test_numbers_that_are_none_and_reasons_become_failures(llama: Path) -> None:
    tokens = Tokens(open_checkpoint(EngineOptions(model=str(llama))).tokenizer, name="m")
    (work,) = Works(tokens, 100).next_tokens([NextToken(Prompt(text="a"), ("A",))]).works
    reading = Reading(tokens)
    assert isinstance(reading.reply(NextToken, work, Told((float("nan"),))), Failure)
    assert reading.reply(NextToken, work, "too long") == Failure("too long")


def test_equal_draws_have_equal_seeds_and_greedy_ones_none(llama: Path) -> None:
    tokens = Tokens(open_checkpoint(EngineOptions(model=str(llama))).tokenizer, name="m")

    def seed(**options: Any) -> int | None:
        request = Generate(Prompt(text="a"), 4, **options)
        (work,) = Works(tokens, 100).generations([request]).works
        return Reading(tokens).ask(Generate, work).seed

    assert seed() is None
    assert seed(temperature=1.0) == seed(temperature=1.0)
    assert seed(temperature=1.0) != seed(temperature=1.0, sample=1)


def test_a_templated_pair_is_what_sentence_transformers_reads(qwen_reranker: Path) -> None:
    checkpoint = open_checkpoint(EngineOptions(model=str(qwen_reranker), device="cpu"))
    pairs = [PairScore("what is it", "the value"), PairScore("a", "")]
    theirs = ComposedPairs(checkpoint, Batcher(1000))
    works = Works(Tokens(checkpoint.tokenizer, name="m"), 200, PairTemplate.of(checkpoint)).pairs(
        pairs
    )
    for pair, work in zip(pairs, works.works, strict=True):
        assert theirs._prepare([pair])["input_ids"][0].tolist() == list(work.ids)


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


def test_a_template_that_leaves_a_text_out_is_refused(
    llama_classifier: Path, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(EngineOptions(model=str(llama_classifier)))
    checkpoint.tokenizer.chat_template = "{{ messages[0].content }}"
    with pytest.raises(EngineFault, match="query and document roles"):
        require_pair_text(checkpoint)
    checkpoint.tokenizer.chat_template = None
    with pytest.raises(EngineFault, match="--engine transformers"):
        PairTemplate.of(checkpoint)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("CUDA out of memory. Tried to allocate", "lower gpu_memory_utilization"),
        ("To serve at least one request, 9 GiB KV cache is needed", "lower max_model_len"),
        ("1 validation error for X\n  quantization\n  Value error, no such", "quantization: Value"),
        ("", "RuntimeError"),
    ],
)
def test_what_vllm_raises_is_told_in_one_line_with_a_cure(said: str, told: str) -> None:
    line = explain(RuntimeError(said))
    assert told in line
    assert "\n" not in line


def test_a_bug_is_told_with_its_type_as_its_words_alone_say_nothing() -> None:
    assert explain(KeyError(17)) == "KeyError: 17"
    assert explain(RuntimeError("no room")) == "no room"


def test_a_vllm_that_cannot_look_at_token_ids_is_refused() -> None:
    with pytest.raises(RuntimeError, match="logprob_token_ids"):
        require_label_ids(SimpleNamespace(__struct_fields__=("n",)))
    require_label_ids(SimpleNamespace(__struct_fields__=("logprob_token_ids",)))


def test_a_worker_hears_large_messages_while_it_is_busy() -> None:
    here, there = Pipe()
    heard = listen(there)
    large = b"x" * 5_000_000  # more than a pipe holds
    here.send(large)
    assert heard.get(timeout=10) == large
    here.close()
    assert heard.get(timeout=10) is None


class Unreadable:
    """What cannot be unpickled at the other end."""

    def __reduce__(self) -> Any:
        return operator.getitem, ({}, "no such key")


def test_what_a_worker_cannot_read_is_an_error_and_no_silence() -> None:
    here, there = Pipe()
    here.send(Unreadable())
    served = Served.__new__(Served)
    served._running, served._waiting = {}, deque()
    with pytest.raises(KeyError, match="no such key"):
        served.serve(there)


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
    told = in_effect("0.32.0", config)
    assert (told["quantization"], told["kv_cache_dtype"]) == ("gptq_marlin", "bfloat16")
    assert "room" not in told
    config.cache_config.cache_dtype = "fp8_e4m3"
    assert in_effect("0.32.0", config)["kv_cache_dtype"] == "fp8_e4m3"

    workers = [SimpleNamespace(told=told)] * 2
    fleet = SimpleNamespace(workers=workers, start_seconds=3.0)
    monkeypatch.setattr(vllm_engine, "Fleet", lambda *_, **__: fleet)
    engine = VllmEngine(EngineOptions("vllm", str(llama), data_parallel=2))
    engine._started("generate", Reading(engine.works.tokens))
    assert engine.in_effect == {**told, "data_parallel": 2}


def test_a_run_without_vllm_ends_in_one_line_and_leaves_no_folder(
    llama: Path, tmp_path: Path, installed: Installed
) -> None:
    from click.testing import CliRunner

    from rerank_bench.cli import main

    installed(None)
    words = ["run", "--task", "stdlib-code", "--queries", "1", "--depth", "2", "--out"]
    words += [str(tmp_path / "runs"), "--engine", "vllm", "--model", str(llama), "--no-cache"]
    found = CliRunner().invoke(main, [*words, "--reranker", "pointwise"])
    assert found.exit_code == 1
    assert "rerank-bench[vllm]" in found.stderr
    assert not (tmp_path / "runs").exists()
    assert json.dumps(found.stdout) == '""'


def test_several_modules_do_not_keep_a_language_model_from_being_asked_for_labels(
    llama: Path, tmp_path: Path
) -> None:
    transformer = Transformer(str(llama), transformer_task="text-generation")
    CrossEncoder(modules=[transformer, LogitScore(40, 41)]).save_pretrained(str(tmp_path))
    engine = VllmEngine(EngineOptions("vllm", str(tmp_path)))
    assert engine.works.next_tokens([NextToken(Prompt(text="a"), ("A",))]).works
    with pytest.raises(EngineFault, match="query and document roles"):
        list(engine.stream(iter([PairScore("a", "b")])))
