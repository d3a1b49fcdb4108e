"""Answer requests with a model.

In: requests, which name no engine. Out: replies, each with its tokens. An engine is found by its
entry point and chosen with its own options (`choose_engine`); `ReplyCache` stores replies.
"""

from __future__ import annotations

from .cache import Keys, ReplyCache, decode
from .checkpoint import Checkpoint, default_device, no_language_model, open_checkpoint
from .colbert import sides_of
from .encoder_decoder import preparer_of
from .fake import FakeEngine, overlap
from .hardware import machine
from .late import Encode
from .local.buffers import load_whole
from .models import PACKAGED, ModelLocation, find_model, packaged_path, read_json
from .none import NO_ENGINE
from .options import (
    CHECKPOINT_OPTIONS,
    DEFAULT_ENGINE,
    EngineChoice,
    ModelOptions,
    choose_engine,
    could_answer,
    engine_class,
    engine_points,
    missing_option,
    open_engine,
    option,
    option_fields,
    option_kinds,
    readers,
    require_support,
)
from .pairing import PairTemplate, no_pair_head, pair_head, pair_tokens, require_pair_text
from .pooling import pooling_of
from .prepare import Prepared, Preparer
from .thinking import answer_after_thoughts, thoughts
from .tokens import Tokens

__all__ = [
    "CHECKPOINT_OPTIONS", "DEFAULT_ENGINE", "NO_ENGINE", "PACKAGED", "Checkpoint", "Encode",
    "EngineChoice", "FakeEngine", "Keys", "ModelLocation", "ModelOptions", "PairTemplate",
    "Prepared", "Preparer", "ReplyCache", "Tokens", "answer_after_thoughts", "choose_engine",
    "could_answer", "decode", "default_device", "engine_class", "engine_points", "find_model",
    "load_whole", "machine", "missing_option", "no_language_model", "no_pair_head",
    "open_checkpoint", "open_engine", "option", "option_fields", "option_kinds", "overlap",
    "packaged_path", "pair_head", "pair_tokens", "pooling_of", "preparer_of", "read_json",
    "readers", "require_pair_text", "require_support", "sides_of", "thoughts",
]  # fmt: skip
