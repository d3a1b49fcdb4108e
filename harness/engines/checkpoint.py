"""A model's small files: where it is, its config and tokenizer, and what they say about it."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadOption, EngineFault
from ..quiet import quiet
from .models import ModelLocation, find_model, hub_commit, read_json
from .options import ModelOptions
from .tokens import Tokens

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Checkpoint:
    """A model's small files, read without its weights: place, config and tokenizer.

    asked_device: the device that was asked for, None for `default_device()`.
    """

    options: ModelOptions
    place: ModelLocation
    config: Any
    tokenizer: Any
    asked_device: str | None = None

    @functools.cached_property
    def device(self) -> str:
        """The device that the model runs on, in torch's words."""
        return self.asked_device or default_device()

    @functools.cached_property
    def dtype(self) -> str:
        """The dtype asked for; by default bfloat16 on a CUDA GPU and float32 elsewhere.

        On CPUs without bfloat16 instructions bfloat16 is two to three times slower than float32.
        """
        asked = self.options.dtype
        if asked is None:
            return "bfloat16" if self.device.startswith("cuda") else "float32"
        if asked not in DTYPES:
            raise BadOption(f"dtype {asked!r} is none of {', '.join(DTYPES)}")
        return asked

    @functools.cached_property
    def tokens(self) -> Tokens:
        """The tokenizer, as engines use it."""
        return Tokens(self.tokenizer, name=self.name)

    @property
    def name(self) -> str:
        """The model as the user gave it."""
        return self.place.name

    @property
    def architecture(self) -> str:
        """The first architecture that the config names, or nothing."""
        return next(iter(getattr(self.config, "architectures", None) or ()), "")

    @functools.cached_property
    def saved(self) -> Mapping[str, Any]:
        """The config of sentence-transformers that was saved with the model, or an empty one."""
        return read_json(self.place, "config_sentence_transformers.json") or {}

    @functools.cached_property
    def decoder(self) -> bool:
        """Whether each token sees only those before it, so that batches are padded on the left."""
        from transformers.models.auto import modeling_auto

        if self.config.is_encoder_decoder:
            return False
        kind = self.config.model_type
        causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        return self.architecture.endswith("ForCausalLM") or (causal and not masked)

    @functools.cached_property
    def encoder_decoder(self) -> bool:
        """Whether an encoder reads the prompt and a decoder writes the answer, as in T5."""
        from transformers.models.auto import modeling_auto

        kinds = modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        headless = self.architecture.endswith(("EncoderModel", "ForSequenceClassification"))
        return self.config.is_encoder_decoder and self.config.model_type in kinds and not headless

    @property
    def start_id(self) -> int:
        """The token with which an encoder-decoder's decoder begins; that of T5 is the padding."""
        for source in (_generation_config(self.place), self.config):
            found = getattr(source, "decoder_start_token_id", None)
            if found is not None:
                return int(found)
        if self.config.model_type not in T5_KINDS:
            raise EngineFault(f"model {self.name} does not say with which token its decoder begins")
        return int(self.config.pad_token_id or 0)

    @property
    def added_tokens(self) -> int:
        """How many tokens a model reads besides a prompt's own: BOS, or an encoder's end and start.

        A chat template brings its own.
        """
        tokens = self.tokens
        return tokens.leading + (len(tokens.single.after) + 1 if self.encoder_decoder else 0)

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
        named = read_json(self.place, "config.json") or {}
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
        # Models like RoBERTa number positions from their padding id on, so two fewer are left.
        if text.model_type.replace("_", "-") in _POSITIONS_AFTER_PADDING:
            positions -= (text.pad_token_id or 0) + 1
        asked = self.options.max_model_len or sys.maxsize
        return min(asked, positions, int(self.tokenizer.model_max_length))

    @functools.cached_property
    def end_ids(self) -> frozenset[int]:
        """The end tokens of the generation config, else of the config, else of the tokenizer."""
        for source in (_generation_config(self.place), self.config, self.tokenizer):
            found = getattr(source, "eos_token_id", None)
            if found is not None:
                return frozenset([found] if isinstance(found, int) else found)
        return frozenset()


T5_KINDS = {"t5", "mt5", "umt5"}
_POSITIONS_AFTER_PADDING = {
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod", "data2vec-text", "longformer",
}  # fmt: skip


def open_checkpoint(options: ModelOptions, *, device: str | None = None) -> Checkpoint:
    """Find the model and read its config and tokenizer; raises EngineFault in one line."""
    from transformers import AutoConfig, AutoTokenizer

    with quiet(), explain_errors(options.model):
        place = find_model(options.model, revision=options.revision)
        opened = loading_arguments(place, options)
        config = AutoConfig.from_pretrained(place.source, **opened)
        tokenizer = AutoTokenizer.from_pretrained(place.source, **opened)
    if not getattr(tokenizer, "is_fast", False):
        raise EngineFault(f"model {place.name} has no fast tokenizer (tokenizer.json)")
    # Without the files of a tokenizer transformers makes one that knows special tokens alone, a
    # hundred at most; the vocabulary of another one takes tenths of a second to copy.
    special, few = tokenizer.all_special_tokens, len(tokenizer) < 1_000
    if few and len(set(tokenizer.get_vocab()).difference(special)) < 2:
        raise EngineFault(
            f"model {place.name} has no tokenizer: put the files of the one it was trained with "
            "(tokenizer.json, tokenizer_config.json) beside its weights"
        )
    return Checkpoint(options, place, config, tokenizer, device)


def no_language_model(checkpoint: Checkpoint, *, cure: str = "") -> EngineFault:
    """The error for a model that predicts no next token, or does so with an encoder.

    cure: what to do about the latter.
    """
    model = f"model {checkpoint.name} ({checkpoint.architecture})"
    if checkpoint.encoder_decoder:
        return EngineFault(f"{model} is an encoder-decoder, not a causal language model{cure}")
    return EngineFault(f"{model} is no causal language model: it predicts no next token")


def no_encoder_decoder(checkpoint: Checkpoint) -> EngineFault:
    """The error for a model without the encoder and decoder that fusion needs."""
    return EngineFault(
        f"model {checkpoint.name} ({checkpoint.architecture}) is no encoder-decoder: "
        "fusion in the decoder needs one, such as T5"
    )


def refuse_encoder_decoder(checkpoint: Checkpoint) -> None:
    """Raise EngineFault for an encoder-decoder, which no vectors of a text are read from."""
    if checkpoint.config.is_encoder_decoder:
        raise EngineFault(f"model {checkpoint.name} is an encoder-decoder: no vectors")


def default_device() -> str:
    """Return the kind of GPU or other accelerator that there is, else `cpu`."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found is not None else "cpu"


def _generation_config(place: ModelLocation) -> Any:
    """What a checkpoint says about generating; most that are not made for it say nothing."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(place.source, revision=place.revision)
    except OSError:
        return None


def adapter_files(adapter: str | None) -> str | None:
    """Return what identifies an adapter: sha256 (hex) of its files, or its commit."""
    if adapter is None:
        return None
    place = find_model(adapter)
    return place.fingerprint or place.revision


def loading_arguments(place: ModelLocation, options: ModelOptions) -> dict[str, Any]:
    """Return the arguments with which transformers opens a model at `place`."""
    return {"revision": place.revision, "trust_remote_code": options.trust_remote_code}


@contextlib.contextmanager
def explain_errors(name: str) -> Iterator[None]:
    """Raise what libraries raise over a bad checkpoint as one line that names the model."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        hint = "; it needs trust_remote_code" if "trust_remote_code" in str(error) else ""
        said = first[:160] or type(error).__name__
        raise EngineFault(f"cannot open model {name}: {said}{hint}") from error
