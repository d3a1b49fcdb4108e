"""What sentence-transformers saved beside a model: its modules, and the prompts of its pairs."""

from __future__ import annotations

from typing import Any

from .loading import Checkpoint


def is_composed(checkpoint: Checkpoint) -> bool:
    """Whether `CrossEncoder` would do more with this checkpoint than run its classification head.

    That is so for several modules, saved prompts, or a chat template that would wrap the pair.
    """
    saved = small_json(checkpoint, "config_sentence_transformers.json") or {}
    if saved.get("model_type") != "CrossEncoder":
        classifier = checkpoint.architecture.endswith("ForSequenceClassification")
        return classifier and bool(checkpoint.tokenizer.chat_template)
    modules = small_json(checkpoint, "modules.json") or []
    templated = bool(checkpoint.tokenizer.chat_template)
    return len(modules) > 1 or templated or bool(saved.get("default_prompt_name"))


def module_types(checkpoint: Checkpoint) -> list[str]:
    """Last names of the sentence-transformers modules that a checkpoint lists, if it does."""
    modules = small_json(checkpoint, "modules.json") or []
    return [str(module["type"]).rsplit(".", 1)[-1] for module in modules]


def small_json(checkpoint: Checkpoint, name: str) -> Any:
    """A JSON file beside the config, or None where the checkpoint has none."""
    import json

    from transformers.utils import cached_file

    path = cached_file(
        checkpoint.place.source,
        name,
        revision=checkpoint.place.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return None
    with open(path, encoding="utf-8") as stream:  # noqa: PTH123 - cached_file returns a string
        return json.load(stream)


def saved_system(checkpoint: Checkpoint) -> str | None:
    """Return the prompt that a checkpoint puts before each pair, None without one."""
    saved = small_json(checkpoint, "config_sentence_transformers.json") or {}
    prompt: str | None = (saved.get("prompts") or {}).get(saved.get("default_prompt_name"))
    return prompt
