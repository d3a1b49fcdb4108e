"""Which of a text's hidden states is its vector, as a checkpoint of sentence-transformers says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import BadOption, EngineFault
from ..types import Embed, Vectors
from .checkpoint import Checkpoint
from .models import read_json
from .pairing import module_types
from .prepare import Answer, Answered, Prepared, sound

POOLINGS = ("last", "mean", "cls")
_SAVED_NAMES = {"lasttoken": "last", "mean": "mean", "cls": "cls"}
_FLAGS = "pooling_mode_"
_FLAG_NAMES = {"lasttoken": "last", "mean_tokens": "mean", "cls_token": "cls"}
_PROJECTED = {"HF_ColBERT", "JinaForRanking"}
_SHORTEST = 1e-12  # torch.nn.functional.normalize divides by no less
_KNOWN_MODULES = {"Transformer", "Pooling", "Dense", "Normalize"}


def pooling_of(request: Embed, checkpoint: Checkpoint) -> str:
    """Return one of `POOLINGS` for a request that names no tokens.

    Raises EngineFault for `saved` where the checkpoint does not say, or says what is not one of
    them; BadOption for a pooling that does not exist.
    """
    asked = str(request.pooling)
    if asked == "saved":
        return saved_pooling(checkpoint)
    if asked not in POOLINGS:
        raise BadOption(f"pooling {asked!r} is none of saved, {', '.join(POOLINGS)}")
    return asked


def server_pooling(request: Embed, checkpoint: Checkpoint) -> str:
    """Return one of `POOLINGS` for a model that vLLM or another server is to pool.

    Raises EngineFault for what only the transformers engine gives.
    """
    why = None
    if checkpoint.config.is_encoder_decoder:
        why = "is an encoder-decoder: no vectors"
    elif not isinstance(request.pooling, str):
        why = "is asked for the vectors of named tokens"
    elif "Dense" in module_types(checkpoint) or checkpoint.architecture in _PROJECTED:
        why = "projects its vectors"
    if why is not None:
        raise EngineFault(f"model {checkpoint.name} {why}: use --engine transformers")
    return pooling_of(request, checkpoint)


def without_empty(
    prepared: Sequence[Prepared], checkpoint: Checkpoint
) -> tuple[list[Prepared], list[Answered]]:
    """Return what a model must answer, and the vectors of texts to embed that have no tokens.

    These are zeros, as in sentence-transformers.
    """
    empty = {one.index for one in prepared if not one.ids and isinstance(one.request, Embed)}
    if not empty:
        return list(prepared), []
    import numpy as np

    zeros = Vectors.of(np.zeros((1, checkpoint.config.get_text_config().hidden_size)))
    todo = [one for one in prepared if one.index not in empty]
    return todo, [(index, zeros) for index in empty]


def pooled_vector(one: Prepared, values: Any, *, cached: int = 0) -> Answer:
    """Return the reply that holds one vector, scaled to length 1 where that is asked for."""
    import numpy as np

    vector = np.asarray(values, dtype=np.float32).reshape(1, -1)
    if one.request.normalise:
        vector = vector / max(float(np.linalg.norm(vector)), _SHORTEST)
    reply = Vectors.of(vector, prompt_tokens=len(one.ids), cached_tokens=cached)
    return sound((float(vector.sum()),), reply)


def saved_pooling(checkpoint: Checkpoint) -> str:
    """Read the pooling of a sentence-transformers checkpoint; EngineFault without a known one."""
    listed = read_json(checkpoint.place, "modules.json") or []
    modules = {str(module["type"]).rsplit(".", 1)[-1]: module["path"] for module in listed}
    others = modules.keys() - _KNOWN_MODULES
    if "Pooling" not in modules or others:
        what = f"has a module {min(others)}" if others else "does not say how it is pooled"
        cure = f"give pooling={', '.join(POOLINGS)}: whichever it was trained with"
        raise EngineFault(f"model {checkpoint.name} {what}; {cure}")
    if _reads_messages(checkpoint):
        raise EngineFault(
            f"model {checkpoint.name} was saved to read texts through its chat template: give "
            f"pooling={', '.join(POOLINGS)} and a prompt file with [[message]] tables"
        )
    saved = read_json(checkpoint.place, f"{modules['Pooling']}/config.json") or {}
    names = _names(saved)
    if len(names) != 1 or names[0] not in POOLINGS or not saved.get("include_prompt", True):
        raise EngineFault(
            f"model {checkpoint.name} is pooled as {saved}, which is not supported: one of "
            f"{', '.join(POOLINGS)} over the whole text is"
        )
    return names[0]


def _reads_messages(checkpoint: Checkpoint) -> bool:
    """Whether sentence-transformers would make a chat message of a text."""
    saved = read_json(checkpoint.place, "sentence_bert_config.json") or {}
    told = "message" in (saved.get("modality_config") or {})
    return told and bool(checkpoint.tokenizer.chat_template)


def _names(saved: dict[str, Any]) -> list[str]:
    """Return the names of all pooling modes; one that is not known keeps its own name."""
    if "pooling_mode" in saved:
        mode = saved["pooling_mode"]
        modes = [mode] if isinstance(mode, str) else list(mode)
        return [_SAVED_NAMES.get(name, name) for name in modes]
    flags = [key.removeprefix(_FLAGS) for key, on in saved.items() if key.startswith(_FLAGS) and on]
    return [_FLAG_NAMES.get(name, name) for name in flags]
