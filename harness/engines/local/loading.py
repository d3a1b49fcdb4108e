"""Loading a model's weights, whole and with its head in float32."""

from __future__ import annotations

import functools
from typing import Any, Literal

from ...quiet import quiet
from ..checkpoint import Checkpoint, clear_errors, where
from ..models import find_model
from .buffers import load_whole
from .heads import float32_heads

Task = Literal["classifier", "causal", "encoder"]


def load_model(checkpoint: Checkpoint, task: Task) -> Any:
    """Load the weights for `task`, merge the adapter, and put the model where it is to run.

    Raises EngineFault where a weight that the task needs is not in the checkpoint: transformers
    would fill it with random numbers. Pickled weights are read with `weights_only=True`, which
    runs no code; safetensors are preferred.
    """
    import torch
    import transformers

    classes = {
        "classifier": transformers.AutoModelForSequenceClassification,
        "causal": transformers.AutoModelForCausalLM,
        "encoder": transformers.AutoModel,
    }
    read = functools.partial(
        classes[task].from_pretrained,
        checkpoint.place.source,
        config=_config_for(checkpoint, task),
        dtype=getattr(torch, checkpoint.dtype),
        weights_only=True,
        **where(checkpoint.place, checkpoint.options),
        **_pinned(checkpoint),
    )
    with quiet(), clear_errors(checkpoint.name):
        adapter = checkpoint.options.adapter
        model = load_whole(read, checkpoint.name, head_elsewhere=_brings_head(adapter))
        model = _with_adapter(model, adapter)
        if task != "encoder":  # what is read of it is its last hidden states
            float32_heads(model)
        return model.to(checkpoint.device).eval()


def _config_for(checkpoint: Checkpoint, task: Task) -> Any:
    # An adapter that brings its own head to a bare language model brings one score.
    headless = not checkpoint.architecture.endswith("ForSequenceClassification")
    if task == "classifier" and headless and checkpoint.options.adapter:
        checkpoint.config.num_labels = 1
    return checkpoint.config


def _with_adapter(model: Any, adapter: str | None) -> Any:
    """Merge the LoRA adapter (hub id or folder) into the weights; without one, do nothing."""
    if adapter is None:
        return model
    from peft import PeftModel

    place = find_model(adapter)
    found = PeftModel.from_pretrained(model, place.source, revision=place.revision)
    return found.merge_and_unload()


def _brings_head(adapter: str | None) -> bool:
    if adapter is None:
        return False
    from peft import PeftConfig

    place = find_model(adapter)
    config = PeftConfig.from_pretrained(place.source, revision=place.revision)
    return config.task_type == "SEQ_CLS" or bool(config.modules_to_save)


def _pinned(checkpoint: Checkpoint) -> dict[str, Any]:
    """What transformers would choose by itself, as it stands in the identity."""
    code, attention = checkpoint.code, checkpoint.attention
    return {
        **({} if code is None else {"code_revision": code.partition("@")[2]}),
        **({} if attention is None else {"attn_implementation": attention}),
    }
