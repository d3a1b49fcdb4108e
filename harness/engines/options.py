"""How an engine is opened: its options, and which engine reads which of them."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import BadOption
from ..types import Label


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to open an engine. Only what is named here can be set with `-o` or in a reranker's name.

    For all that load or call a model:
    engine: a name of `ENGINES`. model: a hub id, a folder, a `.gguf` file, or a short name
    (`minilm`, `smollm2`) of a model that a pip package brings; over HTTP the name it is served by.
    revision: a hub revision. adapter: a LoRA adapter, hub id or folder; over HTTP its served name.
    dtype: `float32`, `bfloat16` or `float16`; by default float32 on a CPU and bfloat16 on a GPU;
    over HTTP only written down. head: what answers: `classifier` or `maxsim` for pairs, by default
    read off the model; for vLLM also `labels`, a head for a reranker's fixed labels alone, which
    are in `labels`. pair_template: how a query and a document become one text for a classification
    head: a Jinja template over `query` and `document`, or the path of one (.jinja). max_model_len:
    a context shorter than the model's, in tokens. max_num_batched_tokens: tokens in one forward
    pass. trust_remote_code: run code that comes with the model; off unless asked for.

    transformers: device: `cpu`, `cuda`, `cuda:1`, `mps`.

    vllm, by the names of `vllm.LLM`: quantization, kv_cache_dtype, tensor_parallel_size,
    gpu_memory_utilization, max_num_seqs, block_size, enforce_eager, load_format, seed.
    data_parallel: engine processes, each with GPUs of its own. vllm: a JSON object with any further
    arguments of `vllm.LLM`.

    http: base_url: comma separated servers that share the load. dialect: their API, `vllm`,
    `openai`, `tei`, `jina` or `cohere`. top_logprobs: how many of the most probable tokens a server
    of dialect `openai` reports. api_key_env: the environment variable that holds the key.
    tokenizer: the model's own, hub id or folder; by default what the server says it serves.
    concurrency: requests under way at once. request_seconds, run_seconds: deadlines, of one attempt
    at a request and of all answering. wait_seconds: for the server to come up.
    """

    engine: str = "transformers"
    model: str | None = None
    revision: str | None = None
    adapter: str | None = None
    dtype: str | None = None
    head: str | None = None
    labels: tuple[Label, ...] = ()
    pair_template: str | None = None
    max_model_len: int | None = None
    max_num_batched_tokens: int | None = None
    trust_remote_code: bool = False
    device: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float | None = None
    max_num_seqs: int | None = None
    block_size: int | None = None
    enforce_eager: bool | None = None
    load_format: str | None = None
    seed: int = 0
    data_parallel: int = 1
    vllm: str | None = None
    base_url: str | None = None
    dialect: str = "vllm"
    top_logprobs: int = 20
    api_key_env: str | None = None
    tokenizer: str | None = None
    concurrency: int = 32
    request_seconds: float = 300.0
    run_seconds: float | None = None
    wait_seconds: float = 300.0

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadOption(f"engine {self.engine}: {name} must be at least 1, not {value}")


_AT_LEAST_ONE = (
    "max_model_len", "max_num_batched_tokens", "tensor_parallel_size", "max_num_seqs",
    "block_size", "data_parallel", "concurrency", "top_logprobs",
)  # fmt: skip

_ALL = ("engine", "model")
_MODEL = (
    *_ALL, "revision", "adapter", "dtype", "head", "pair_template", "max_model_len",
    "max_num_batched_tokens", "trust_remote_code",
)  # fmt: skip
READS: Mapping[str, tuple[str, ...]] = {
    "fake": _ALL,
    "none": ("engine",),
    "transformers": (*_MODEL, "device"),
    "vllm": (
        *_MODEL, "quantization", "kv_cache_dtype", "tensor_parallel_size",
        "gpu_memory_utilization", "max_num_seqs", "block_size", "enforce_eager", "load_format",
        "seed", "data_parallel", "vllm",
    ),
    "http": (
        *_ALL, "revision", "adapter", "dtype", "head", "pair_template", "max_model_len",
        "trust_remote_code", "base_url", "dialect", "top_logprobs", "api_key_env", "tokenizer",
        "concurrency", "request_seconds", "run_seconds", "wait_seconds",
    ),
}  # fmt: skip
"""Engine name -> the options it reads; setting another one is an error, not a silence."""


def option_kinds(engine: str) -> dict[str, Any]:
    """Return the options of `engine` with their types."""
    kinds = typing.get_type_hints(EngineOptions)
    return {name: kinds[name] for name in READS[engine]}


def readers(option: str) -> list[str]:
    """The engines that read `option`; none where it is no engine's option at all."""
    return [engine for engine, names in READS.items() if option in names]


def check_options(options: EngineOptions) -> None:
    """Raise BadOption for an option that was set but that the engine does not read."""
    for f in fields(options):
        allowed = f.name in READS[options.engine] or f.name == "labels"
        if not allowed and getattr(options, f.name) != f.default:
            others = " and ".join(readers(f.name))
            told = f"engine {options.engine} has no option {f.name}; it is one of {others}"
            raise BadOption(told)
