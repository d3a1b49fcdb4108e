"""What a vLLM process is started with: arguments by mode, and an environment by replica."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import BadOption, EngineFault
from ...types import Label
from ..checkpoint import Checkpoint
from ..models import find_model
from ..options import ModelOptions, option
from ..pairing import output_names

Mode = Literal["generate", "labels", "classify", "tokens", "last", "mean", "cls"]
"""What a process answers; `tokens` gives a vector of each token, the last three a pooled one."""

_WHOLE = {"mean", "cls"}  # all of a text's states are needed, and a cached prefix has none
_POOLED = {"last", *_WHOLE}
_USUAL = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the worker is a process of its own already
    "VLLM_NO_USAGE_STATS": "1",
    # Our context is never beyond the position embeddings, but vLLM also looks at shorter limits
    # that sentence-transformers saves with a model.
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB; else vLLM on a CPU wants nearly all memory to be free
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
"""A worker's environment, where the user's own does not say otherwise."""

FLOAT32_HEAD = {"head_dtype": "float32"}
"""Has vLLM compute the language head in float32; those of its classifiers are so by default."""

PLAIN_HEADS = frozenset({
    "GemmaForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "Phi3ForCausalLM",
    "Qwen2ForCausalLM", "Qwen3ForCausalLM",
})  # fmt: skip
"""Architectures of which `head=labels` was seen to give the logits of the language head."""

_BY_NAME = (
    "quantization", "kv_cache_dtype", "tensor_parallel_size", "gpu_memory_utilization",
    "max_num_seqs", "max_num_batched_tokens", "block_size", "enforce_eager", "load_format", "seed",
    "trust_remote_code", "revision",
)  # fmt: skip
"""Options that `vllm.LLM` knows by the same name."""


@dataclass(frozen=True, kw_only=True)
class VllmOptions(ModelOptions):
    """Options of engine vllm, most by the names of `vllm.LLM`.

    head: as above, or `labels`: a head for a reranker's fixed labels alone, which are in `labels`.
    data_parallel: engine processes, each with GPUs of its own.
    vllm: a JSON object with any further arguments of `vllm.LLM`.
    """

    quantization: str | None = option(None, in_label=True)
    kv_cache_dtype: str | None = option(None, in_label=True)
    tensor_parallel_size: int = option(1, least=1)
    gpu_memory_utilization: float | None = None
    max_num_seqs: int | None = option(None, least=1)
    block_size: int | None = option(None, least=1)
    enforce_eager: bool | None = None
    load_format: str | None = None
    seed: int = 0
    data_parallel: int = option(1, least=1)
    vllm: str | None = option(None, in_label=True)
    labels: tuple[Label, ...] = option((), from_reranker=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker process is started with.

    arguments: of `vllm.LLM`. adapter: folder or hub id of a LoRA adapter. label_head: token ids of
    a head for labels alone. end_ids: tokens that end a text. names: what the checkpoint calls the
    outputs of its classification head.
    """

    arguments: Mapping[str, Any]
    adapter: str | None = None
    label_head: tuple[int, ...] = ()
    end_ids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


def worker_settings(
    checkpoint: Checkpoint,
    options: VllmOptions,
    mode: Mode,
    context: int,
    label_head: Sequence[int] = (),
) -> Settings:
    """Return a worker's settings; `label_head` are the token ids that mode `labels` has a head for.

    Raises EngineFault for a mode that the checkpoint has no head for.
    """
    named = {name: getattr(options, name) for name in _BY_NAME}
    adapter = None if options.adapter is None else find_model(options.adapter).source
    arguments = {
        "model": checkpoint.place.source,
        "dtype": checkpoint.dtype,
        "max_model_len": context,
        "generation_config": "vllm",  # no sampling defaults from the checkpoint
        "enable_prefix_caching": True if checkpoint.decoder and mode not in _WHOLE else None,
        **named,
        **_of_mode(checkpoint, mode, label_head),
        **({} if adapter is None else _lora(adapter)),
    }
    further = _further(options)
    overrides = {**arguments.pop("hf_overrides", {}), **further.pop("hf_overrides", {})}
    chosen = {name: value for name, value in arguments.items() if value is not None}
    shaped = {"hf_overrides": overrides} if overrides else {}
    return Settings(
        {**chosen, **further, **shaped},
        adapter,
        tuple(label_head) if mode == "labels" else (),
        tuple(sorted(checkpoint.end_ids)),
        output_names(checkpoint),
    )


def _of_mode(checkpoint: Checkpoint, mode: Mode, label_head: Sequence[int]) -> dict[str, Any]:
    if mode == "generate":
        half = checkpoint.dtype != "float32"
        return {"runner": "generate", "hf_overrides": FLOAT32_HEAD if half else {}}
    if mode == "tokens":
        return {"runner": "pooling", "convert": "embed", "pooler_config": {"task": "token_embed"}}
    if mode in _POOLED:
        pooler = {"task": "embed", "seq_pooling_type": mode.upper()}
        return {"runner": "pooling", "convert": "embed", "pooler_config": pooler}
    if mode == "classify":
        _require_classifier(checkpoint)
        return {"runner": "pooling"}
    _require_plain_head(checkpoint)
    pieces = checkpoint.tokenizer.convert_ids_to_tokens(list(label_head))
    overrides = {
        "architectures": [checkpoint.architecture.replace("CausalLM", "SequenceClassification")],
        "classifier_from_token": pieces,
        "method": "no_post_processing",
    }
    return {"runner": "pooling", "hf_overrides": overrides}


def _require_plain_head(checkpoint: Checkpoint) -> None:
    """Refuse a model whose logits may be more than its head's weights times the last hidden state.

    vLLM makes a classifier of these weights alone: it drops biases, and scales or caps no logit.
    """
    if checkpoint.architecture not in PLAIN_HEADS:
        raise EngineFault(
            f"model {checkpoint.name} ({checkpoint.architecture}): vLLM may give other logits with "
            "head=labels than with the whole language head; leave out head=labels"
        )


def _require_classifier(checkpoint: Checkpoint) -> None:
    if not checkpoint.architecture.endswith("ForSequenceClassification"):
        raise EngineFault(
            f"model {checkpoint.name} ({checkpoint.architecture}) has no classification head"
        )


def _lora(adapter: str) -> dict[str, Any]:
    from peft import PeftConfig

    rank = int(getattr(PeftConfig.from_pretrained(adapter), "r", 1))
    room = next((known for known in _LORA_RANKS if known >= rank), rank)
    return {"enable_lora": True, "max_lora_rank": room, "max_loras": 1}


_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM makes room for."""


def _further(options: VllmOptions) -> dict[str, Any]:
    """Return the arguments in option `vllm`, a JSON object."""
    if options.vllm is None:
        return {}
    try:
        found = json.loads(options.vllm)
    except ValueError as error:
        raise BadOption(f"engine vllm: option vllm is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadOption(
            'engine vllm: option vllm takes a JSON object, such as {"max_logprobs": 30}'
        )
    if not isinstance(found.get("hf_overrides", {}), dict):
        raise BadOption("engine vllm: hf_overrides in option vllm must be a JSON object")
    return found


def environments(options: VllmOptions) -> list[Mapping[str, str]]:
    """One environment per replica, each with GPUs of its own where there are any."""
    usual = {name: value for name, value in _USUAL.items() if name not in os.environ}
    wanted, each = options.data_parallel, options.tensor_parallel_size
    gpus = visible_gpus()
    if not gpus:
        return [usual] * wanted
    if wanted * each > len(gpus):
        raise EngineFault(
            f"data_parallel={wanted} with tensor_parallel_size={each} needs {wanted * each} GPUs; "
            f"there are {len(gpus)}"
        )
    shares = [gpus[i * each : (i + 1) * each] for i in range(wanted)]
    return [{**usual, "CUDA_VISIBLE_DEVICES": ",".join(share)} for share in shares]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(i) for i in range(count)]
