"""Silence the model libraries while they load and run."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator

_NOISY = ("transformers", "huggingface_hub", "sentence_transformers", "peft", "accelerate")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the model libraries' warnings and bars; downloads keep theirs on a terminal."""
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as library

    loggers = [logging.getLogger(name) for name in _NOISY]
    before = [logger.level for logger in loggers]
    bars = library.is_progress_bar_enabled()
    library.disable_progress_bar()
    (enable_progress_bars if sys.stderr.isatty() else disable_progress_bars)()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
        if bars:
            library.enable_progress_bar()
