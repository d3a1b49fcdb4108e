"""Rerank the candidates of many queries with one engine.

In: a reranker by name (`choose`), a task and its pool (`Jobs`). Out: per query one score per
candidate, what was counted on the way and what it cost (`drive` yields `Reranked` or `Failed`).
`health` decides whether a method worked as it is meant to; `limits` computes what its requests need
of a GPU.
"""

from __future__ import annotations

from .candidates import FIRST_STAGE, RANDOM, REVERSE, Fitting, Jobs, Part, arranged
from .cascade import choose, choose_with, is_cascade, with_stages
from .choice import After, Choice
from .declared import MODEL_PAIR, Declared
from .entries import Entry, catalogue
from .fitting import Budget, Fitter, pair_budget
from .flow import Failed, Job, Outcome, Reranked, Usage, total
from .health import Check, checks, invalid, label_probability
from .limits import (
    GIB,
    Gpu,
    decode_flops,
    decode_seconds,
    encoded_flops,
    find_gpu,
    ideal_flops,
    prefill_seconds,
    sequence_flops,
    sequences_held,
)
from .opening import OpenReranker, open_reranker
from .registry import Defaults, build, find_entry, load_method, methods, parse
from .scheduler import drive, order, rerank_one
from .scope import TASK, Scope, chosen_queries, in_effect
from .shapes import Shape, find_shape

__all__ = [
    "FIRST_STAGE",
    "GIB",
    "MODEL_PAIR",
    "RANDOM",
    "REVERSE",
    "TASK",
    "After",
    "Budget",
    "Check",
    "Choice",
    "Declared",
    "Defaults",
    "Entry",
    "Failed",
    "Fitter",
    "Fitting",
    "Gpu",
    "Job",
    "Jobs",
    "OpenReranker",
    "Outcome",
    "Part",
    "Reranked",
    "Scope",
    "Shape",
    "Usage",
    "arranged",
    "build",
    "catalogue",
    "checks",
    "choose",
    "choose_with",
    "chosen_queries",
    "decode_flops",
    "decode_seconds",
    "drive",
    "encoded_flops",
    "find_entry",
    "find_gpu",
    "find_shape",
    "ideal_flops",
    "in_effect",
    "invalid",
    "is_cascade",
    "label_probability",
    "load_method",
    "methods",
    "open_reranker",
    "order",
    "pair_budget",
    "parse",
    "prefill_seconds",
    "rerank_one",
    "sequence_flops",
    "sequences_held",
    "total",
    "with_stages",
]
