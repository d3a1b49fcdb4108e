"""Opening a model: quietly, safely, and with one clear line when it cannot be."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import BadOption, EngineFault
from ..quiet import quiet
from .buffers import load_whole
from .heads import float32_heads
from .models import ModelPlace, find_model, hub_commit, small_json

if TYPE_CHECKING:
    from . import EngineOptions

Task = Literal["classifier", "causal", "encoder"]
DTYPES = ("float32", "bfloat16", "float16")


def device_of(options: EngineOptions) -> str:
    """The device asked for, else the first GPU there is, else the CPU."""
    import torch

    if options.device is not None:
        return options.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype_of(options: EngineOptions) -> str:
    """The dtype asked for; by default bfloat16 on a CUDA GPU and float32 elsewhere.

    On CPUs without bfloat16 instructions bfloat16 is two to three times slower than float32.
    """
    if options.dtype is not None:
        if options.dtype not in DTYPES:
            raise BadOption(f"dtype {options.dtype!r} is none of {', '.join(DTYPES)}")
        return options.dtype
    return "bfloat16" if device_of(options).startswith("cuda") else "float32"


@dataclass(frozen=True)
class Checkpoint:
    """A model's small files, read without its weights: place, config and tokenizer."""

    options: EngineOptions
    place: ModelPlace
    config: Any
    tokenizer: Any

    @property
    def name(self) -> str:
        """The model as the user gave it."""
        return self.place.name

    @property
    def architecture(self) -> str:
        """The first architecture that the config names, or nothing."""
        return next(iter(getattr(self.config, "architectures", None) or ()), "")

    @property
    def decoder(self) -> bool:
        """Whether each token sees only those before it, so that batches are padded on the left."""
        from transformers.models.auto import modeling_auto

        kind = self.config.model_type
        causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        return self.architecture.endswith("ForCausalLM") or (causal and not masked)

    @property
    def pair_template(self) -> str | None:
        """The source of the option `pair_template`: its text, or that of the `.jinja` file."""
        given = self.options.pair_template
        if given is None or not given.endswith(".jinja"):
            return given
        try:
            return Path(given).expanduser().read_text(encoding="utf-8")
        except OSError as error:
            raise BadOption(f"pair_template {given} cannot be read: {error.strerror}") from error

    @functools.cached_property
    def code(self) -> str | None:
        """Repository and commit of the model's code, where it comes from another repository."""
        repository = self._code_repository
        if repository is None:
            return None
        return f"{repository}@{hub_commit(repository, None)}"

    @property
    def _code_repository(self) -> str | None:
        """The other repository that `auto_map` names, as `owner/name--module.Class`."""
        if not self.options.trust_remote_code:
            return None
        named = small_json(self.place, "config.json") or {}
        classes = [name for name in (named.get("auto_map") or {}).values() if isinstance(name, str)]
        found = {c.partition("--")[0] for c in classes if "--" in c} - {self.place.source}
        if len(found) > 1:
            raise EngineFault(
                f"model {self.name} takes code from {', '.join(sorted(found))}; only one other "
                "repository can be recorded: copy the model with its code into one folder"
            )
        return next(iter(found), None)

    @functools.cached_property
    def attention(self) -> str | None:
        """How transformers computes attention; None where the model's own code decides.

        It is what the config asks for, else `sdpa` where the architecture supports it.
        """
        import transformers

        kind = getattr(transformers, self.architecture, None)
        if kind is None or self.options.trust_remote_code:
            return None
        asked: str | None = self.config._attn_implementation
        return asked or ("sdpa" if kind._supports_sdpa else "eager")

    @property
    def context(self) -> int:
        """Longest sequence in tokens: the least of option, position embeddings and tokenizer."""
        text = self.config.get_text_config()
        positions = getattr(text, "max_position_embeddings", None) or sys.maxsize
        # RoBERTa's kin number positions from their padding id on, and so hold two tokens fewer.
        if text.model_type.replace("_", "-") in _POSITIONS_AFTER_PADDING:
            positions -= (text.pad_token_id or 0) + 1
        asked = self.options.max_model_len or sys.maxsize
        return min(asked, positions, int(self.tokenizer.model_max_length))


_POSITIONS_AFTER_PADDING = {
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod", "data2vec-text", "longformer",
}  # fmt: skip


def open_checkpoint(options: EngineOptions) -> Checkpoint:
    """Find the model and read its config and tokenizer. Raises EngineFault in one line."""
    from transformers import AutoConfig, AutoTokenizer

    if not options.model:
        raise EngineFault(f"engine {options.engine} needs a model: hub id, folder or .gguf file")
    with quiet(), _clear(options.model):
        place = find_model(options.model, revision=options.revision)
        where = _where(place, options)
        config = AutoConfig.from_pretrained(place.source, **where)
        tokenizer = AutoTokenizer.from_pretrained(place.source, **where)
    if not getattr(tokenizer, "is_fast", False):
        raise EngineFault(f"model {place.name} has no fast tokenizer (tokenizer.json)")
    return Checkpoint(options, place, config, tokenizer)


def no_language_model(checkpoint: Checkpoint) -> EngineFault:
    """The error for a model that predicts no next token."""
    return EngineFault(
        f"model {checkpoint.name} ({checkpoint.architecture}) is no causal language model: "
        "it predicts no next token"
    )


def end_ids(checkpoint: Checkpoint) -> frozenset[int]:
    """The end tokens of the generation config, else of the config, else of the tokenizer."""
    for source in (_generation_config(checkpoint), checkpoint.config, checkpoint.tokenizer):
        found = getattr(source, "eos_token_id", None)
        if found is not None:
            return frozenset([found] if isinstance(found, int) else found)
    return frozenset()


def _generation_config(checkpoint: Checkpoint) -> Any:
    """What the checkpoint says about generating; most that are not made for it say nothing."""
    from transformers import GenerationConfig

    place = checkpoint.place
    try:
        return GenerationConfig.from_pretrained(place.source, revision=place.revision)
    except OSError:
        return None


def load_model(checkpoint: Checkpoint, task: Task) -> Any:
    """Load the weights for `task`, merge the adapter, and put the model where it is to run.

    Raises EngineFault where a weight that the task needs is not in the checkpoint: transformers
    would fill it with random numbers. Pickled weights are read with `weights_only=True`, which
    runs no code; safetensors are preferred.
    """
    import torch
    import transformers

    options = checkpoint.options
    classes = {
        "classifier": transformers.AutoModelForSequenceClassification,
        "causal": transformers.AutoModelForCausalLM,
        "encoder": transformers.AutoModel,
    }
    read = functools.partial(
        classes[task].from_pretrained,
        checkpoint.place.source,
        config=_config_for(checkpoint, task),
        dtype=getattr(torch, dtype_of(options)),
        weights_only=True,
        **_where(checkpoint.place, options),
        **_pinned(checkpoint),
    )
    with quiet(), _clear(checkpoint.name):
        model = load_whole(read, checkpoint.name, head_elsewhere=_brings_head(options.adapter))
        model = with_adapter(model, options.adapter)
        if task != "encoder":  # what is read of it is its last hidden states
            float32_heads(model)
        return model.to(device_of(options)).eval()


def _config_for(checkpoint: Checkpoint, task: Task) -> Any:
    # An adapter that brings its own head to a bare language model brings one score.
    headless = not checkpoint.architecture.endswith("ForSequenceClassification")
    if task == "classifier" and headless and checkpoint.options.adapter:
        checkpoint.config.num_labels = 1
    return checkpoint.config


def with_adapter(model: Any, adapter: str | None) -> Any:
    """Merge the LoRA adapter (hub id or folder) into the weights; without one, do nothing."""
    if adapter is None:
        return model
    from peft import PeftModel

    place = find_model(adapter)
    found = PeftModel.from_pretrained(model, place.source, revision=place.revision)
    return found.merge_and_unload()


def adapter_files(adapter: str | None) -> str | None:
    """What tells an adapter's weights from others: sha256 (hex) of its files, or its commit."""
    if adapter is None:
        return None
    place = find_model(adapter)
    return place.fingerprint or place.revision


def _brings_head(adapter: str | None) -> bool:
    if adapter is None:
        return False
    from peft import PeftConfig

    place = find_model(adapter)
    config = PeftConfig.from_pretrained(place.source, revision=place.revision)
    return config.task_type == "SEQ_CLS" or bool(config.modules_to_save)


def _where(place: ModelPlace, options: EngineOptions) -> dict[str, Any]:
    return {"revision": place.revision, "trust_remote_code": options.trust_remote_code}


def _pinned(checkpoint: Checkpoint) -> dict[str, Any]:
    """What transformers would choose by itself, as it stands in the identity."""
    code, attention = checkpoint.code, checkpoint.attention
    return {
        **({} if code is None else {"code_revision": code.partition("@")[2]}),
        **({} if attention is None else {"attn_implementation": attention}),
    }


@contextlib.contextmanager
def _clear(name: str) -> Iterator[None]:
    """Turn what the libraries raise over a bad checkpoint into one line that names the model."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        hint = "; it needs trust_remote_code" if "trust_remote_code" in str(error) else ""
        said = first[:160] or type(error).__name__
        raise EngineFault(f"cannot open model {name}: {said}{hint}") from error
