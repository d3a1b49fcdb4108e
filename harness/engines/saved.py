"""What sentence-transformers saved beside a model: its modules, and the prompts of its pairs."""

from __future__ import annotations

from .loading import Checkpoint
from .models import small_json


def is_composed(checkpoint: Checkpoint) -> bool:
    """Whether `CrossEncoder` would do more with this checkpoint than run its classification head.

    That is so for several modules, saved prompts, or a chat template that would wrap the pair. An
    adapter that brings a head to a language model is such a head too.
    """
    saved = small_json(checkpoint.place, "config_sentence_transformers.json") or {}
    if saved.get("model_type") != "CrossEncoder":
        options = checkpoint.options
        brought = options.head == "classifier" and options.adapter is not None
        classifier = checkpoint.architecture.endswith("ForSequenceClassification")
        return (classifier or brought) and bool(checkpoint.tokenizer.chat_template)
    modules = small_json(checkpoint.place, "modules.json") or []
    templated = bool(checkpoint.tokenizer.chat_template)
    return len(modules) > 1 or templated or bool(saved.get("default_prompt_name"))


def module_types(checkpoint: Checkpoint) -> list[str]:
    """Last names of the sentence-transformers modules that a checkpoint lists, if it does."""
    modules = small_json(checkpoint.place, "modules.json") or []
    return [str(module["type"]).rsplit(".", 1)[-1] for module in modules]


def saved_system(checkpoint: Checkpoint) -> str | None:
    """Return the prompt that a checkpoint puts before each pair, None without one."""
    saved = small_json(checkpoint.place, "config_sentence_transformers.json") or {}
    prompt: str | None = (saved.get("prompts") or {}).get(saved.get("default_prompt_name"))
    return prompt
