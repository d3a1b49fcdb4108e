"""The language adapter that an XMOD model reads with."""

from __future__ import annotations

from ..errors import BadOption, EngineFault
from .checkpoint import Checkpoint


def set_language(checkpoint: Checkpoint, language: str | None) -> None:
    """Make `language` the default of a checkpoint's config; None leaves its own.

    Raises BadOption for a language that the model has no adapter for, or a model without any;
    EngineFault for a model that has adapters and no default, where none is given.
    """
    config, name = checkpoint.config, checkpoint.name
    if config.model_type != "xmod":
        if language is not None:
            raise BadOption(f"language={language}: model {name} has no language adapters")
        return
    if language is None and config.default_language is None:
        raise EngineFault(f"model {name} needs language=: one of {', '.join(config.languages)}")
    if language is not None and language not in config.languages:
        has = ", ".join(config.languages)
        raise BadOption(f"language={language}: model {name} has adapters for {has}")
    config.default_language = language or config.default_language
