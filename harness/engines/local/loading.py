"""Loading a model's weights, whole and with its head in float32."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
import transformers

from ...errors import EngineFault
from ...quiet import quiet
from ..checkpoint import T5_KINDS, Checkpoint, explain_errors, loading_arguments
from ..models import find_model
from .buffers import load_whole
from .encoders import optimize_encoder
from .heads import float32_heads, float32_module
from .prefixes import Prefix, why_no_shared_prefix
from .projection import Layer, load_projection

Task = Literal["causal", "classifier", "composed", "encoder", "seq2seq"]
"""What a network is loaded for: which of its heads, if any, is loaded with it."""


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, and the checkpoint that it was loaded from.

    projection: the layers after an encoder's hidden states. languages: PEFT's view of the network,
        where it has adapters of languages. prefix: what all sequences begin with that are read now,
        if it is read once for all of them.
    """

    network: Any
    checkpoint: Checkpoint
    projection: tuple[Layer, ...] = ()
    languages: Any = None
    prefix: Prefix | None = None

    @property
    def scores_last(self) -> bool:
        """Whether a classification head scores the last token of a decoder."""
        return self.checkpoint.decoder and hasattr(self.network, "score")

    @functools.cached_property
    def no_sharing_reason(self) -> str | None:
        """Why no prefix is computed once for several sequences, None where it can be."""
        return why_no_shared_prefix(self.network)

    def project(self, states: torch.Tensor) -> torch.Tensor:
        """Return hidden states after the projection, shape (…, dim)."""
        for layer in self.projection:
            states = layer(states)
        return states

    def use_adapter(self, adapter: str | None) -> None:
        """Read what follows with the language adapter of this name; None for a model without."""
        if self.languages is not None:
            self.languages.set_adapter(_peft_name(adapter))
        elif adapter is not None:
            self.network.set_default_language(adapter)


def load(
    checkpoint: Checkpoint, task: Task, languages: Mapping[str, str] = MappingProxyType({})
) -> LoadedModel:
    """Load the weights for `task`, merge the adapter, and move the network to its device.

    languages: PEFT adapters, hub id or folder, by the language that each of them reads.

    Raises EngineFault where a weight that the task needs is not in the checkpoint: transformers
    would fill it with random numbers. Pickled weights are read with `weights_only=True`, which
    runs no code; safetensors are preferred.
    """
    if task == "composed":
        return LoadedModel(_cross_encoder(checkpoint), checkpoint)
    with quiet(), explain_errors(checkpoint.name):
        network = _network(checkpoint, task)
        read = {_peft_name(language): adapter for language, adapter in languages.items()}
        adapted = _adapted(network, read) if read else None
        if task != "encoder":  # what is read of it is its last hidden states
            float32_heads(network)
        projection = load_projection(checkpoint) if task == "encoder" else ()
        network = network.to(checkpoint.device).eval()
        if adapted is None:  # PEFT goes by a layer's own weight
            optimize_encoder(network)
        return LoadedModel(network, checkpoint, projection, adapted)


def _network(checkpoint: Checkpoint, task: Task) -> Any:
    classes: dict[Task, Any] = {
        "causal": transformers.AutoModelForCausalLM,
        "classifier": transformers.AutoModelForSequenceClassification,
        "encoder": transformers.AutoModel,
        "seq2seq": transformers.AutoModelForSeq2SeqLM,
    }
    options, adapter = checkpoint.options, checkpoint.options.adapter
    read = functools.partial(
        classes[task].from_pretrained,
        checkpoint.place.source,
        config=_config_for(checkpoint, task),
        dtype=getattr(torch, checkpoint.dtype),
        weights_only=True,
        **loading_arguments(checkpoint.place, options),
        **_pinned(checkpoint),
        **_renamed(checkpoint, task),
    )
    found = load_whole(read, checkpoint.name, head_elsewhere=_brings_head(adapter))
    return found if adapter is None else _adapted(found, {"default": adapter}).merge_and_unload()


def _renamed(checkpoint: Checkpoint, task: Task) -> dict[str, Any]:
    """Return how to name weights that were saved with a wrapper around T5's encoder.

    The code of fusion-in-decoder (ListT5, MVP) wraps the encoder and each of its blocks.
    """
    if task != "seq2seq" or checkpoint.config.model_type not in T5_KINDS:
        return {}
    names = {
        r"^encoder\.encoder\.block\.(\d+)\.module\.": r"encoder.block.\1.",
        r"^encoder\.encoder\.": "encoder.",
    }
    return {"key_mapping": names}


def _config_for(checkpoint: Checkpoint, task: Task) -> Any:
    # An adapter that brings its own head to a bare language model brings one score.
    headless = not checkpoint.architecture.endswith("ForSequenceClassification")
    if task == "classifier" and headless and checkpoint.options.adapter:
        checkpoint.config.num_labels = 1
    return checkpoint.config


def _adapted(network: Any, adapters: Mapping[str, str]) -> Any:
    """Add PEFT adapters by name to a network, in place; return what switches between them.

    Raises EngineFault for an adapter whose weights are not those of the network's layers: PEFT
    would leave them out.
    """
    from peft import PeftModel
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    names, found = _names_of_adapters(network), None
    for name, adapter in adapters.items():
        place = find_model(adapter)
        read = {"revision": place.revision, "key_mapping": names}
        if found is None:
            found = PeftModel.from_pretrained(network, place.source, name, **read)
        loaded = found.load_adapter(place.source, name, **read)
        added = PEFT_TYPE_TO_PREFIX_MAPPING[found.peft_config[name].peft_type]
        wrong = [*loaded.missing_keys, *(key for key in loaded.unexpected_keys if added in key)]
        if wrong:
            raise EngineFault(f"adapter {adapter} does not fit the model's layers: {wrong[0]}")
    return found


def _names_of_adapters(network: Any) -> dict[str, str] | None:
    """Return how weights are renamed that were trained with another head, or without one."""
    prefix, bare = network.base_model_prefix, network.base_model
    if bare is network:
        return {rf"^{prefix}\.": ""}
    layers = "|".join(name for name, _ in bare.named_children())
    return {rf"^({layers})\.": rf"{prefix}.\1."}


def _peft_name(language: str | None) -> str:
    # PEFT removes an adapter's name from names of weights, which may hold that of a language
    return f"read-{language}"


def _brings_head(adapter: str | None) -> bool:
    if adapter is None:
        return False
    from peft import PeftConfig

    place = find_model(adapter)
    config = PeftConfig.from_pretrained(place.source, revision=place.revision)
    return config.task_type == "SEQ_CLS" or bool(config.modules_to_save)


def _pinned(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what transformers would choose by itself, as the identity states it."""
    code, attention = checkpoint.code, checkpoint.attention
    return {
        **({} if code is None else {"code_revision": code.partition("@")[2]}),
        **({} if attention is None else {"attn_implementation": attention}),
    }


def _cross_encoder(checkpoint: Checkpoint) -> Any:
    """Load a sentence-transformers CrossEncoder that is more than a plain classification head.

    Causal language models with a score of two logits, chat templates with query and document roles,
    encoders with pooling and dense layers: the library prepares and scores, we cut the batches.
    """
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer

    options, place = checkpoint.options, checkpoint.place
    if options.adapter:
        raise EngineFault(f"model {place.name} takes no adapter: it is more than one module")
    read = functools.partial(
        CrossEncoder,
        place.source,
        revision=place.revision,
        device=checkpoint.device,
        trust_remote_code=options.trust_remote_code,
        model_kwargs={"torch_dtype": getattr(torch, checkpoint.dtype)},
    )
    with quiet():
        found = load_whole(read, place.name).eval()
    float32_heads(found)
    for module in found.children():
        if not isinstance(module, Transformer):
            float32_module(module)
    return found
