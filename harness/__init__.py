"""Measure which reranker is worth its cost, on my kind of task, after my kind of retriever.

    >>> import rerank_bench
    >>> best = rerank_bench.rerank("query", ["a document", …], reranker="cross-encoder", model=…)
    >>> task = rerank_bench.load_task("stdlib-code")
    >>> pool = rerank_bench.build_pool(task, "bm25")
    >>> rows = rerank_bench.load_runs("runs/").rows

Importing this loads neither torch nor transformers; each name loads what it needs when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    BadData,
    BadOption,
    EngineDied,
    EngineFault,
    MissingExtra,
    RequestFailed,
    RerankBenchError,
    RerankerFault,
    RunConflict,
    UnknownName,
)
from .types import (
    Candidates,
    ContinuationScore,
    Document,
    Engine,
    Failure,
    Fitted,
    Flow,
    Generate,
    Generation,
    LabelScores,
    Likelihood,
    Logits,
    Message,
    NextToken,
    PairScore,
    Prompt,
    Reply,
    Request,
    Reranker,
    Scored,
    Scores,
    Statistics,
    ask,
    batched,
)

if TYPE_CHECKING:
    from .api import Ranked, RankedDocument, load_run, rerank
    from .engines import answer_after_thoughts, open_engine
    from .engines.fake import FakeEngine
    from .evaluation.frames import Runs, load_runs
    from .pools import Pool, PoolOptions, PoolRow, build_pool
    from .prompt import Template, escape_identifiers, load_template
    from .reranking import Job, Reranked, Usage, drive, order, rerank_one
    from .tasks import Task, TaskOptions, find_tasks, load_task

_LATER = {
    "reranking": ("Job", "Reranked", "Usage", "drive", "order", "rerank_one"),
    "engines": ("answer_after_thoughts", "open_engine"),
    "engines.fake": ("FakeEngine",),
    "evaluation.frames": ("Runs", "load_runs"),
    "api": ("Ranked", "RankedDocument", "load_run", "rerank"),
    "pools": ("Pool", "PoolOptions", "PoolRow", "build_pool"),
    "prompt": ("Template", "escape_identifiers", "load_template"),
    "tasks": ("Task", "TaskOptions", "find_tasks", "load_task"),
}
_HOME = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


__all__ = [
    "BadData", "BadOption", "Candidates", "ContinuationScore", "Document", "Engine", "EngineDied",
    "EngineFault", "Failure", "FakeEngine", "Fitted", "Flow", "Generate", "Generation", "Job",
    "LabelScores", "Likelihood", "Logits", "Message", "MissingExtra", "NextToken", "PairScore",
    "Pool", "PoolOptions", "PoolRow", "Prompt", "Ranked", "RankedDocument", "Reply", "Request",
    "RequestFailed", "RerankBenchError", "Reranked", "Reranker", "RerankerFault", "RunConflict",
    "Runs", "Scored", "Scores", "Statistics", "Task", "TaskOptions", "Template", "UnknownName",
    "Usage", "answer_after_thoughts", "ask", "batched", "build_pool", "drive",
    "escape_identifiers", "find_tasks", "load_run", "load_runs", "load_task", "load_template",
    "open_engine", "order", "rerank", "rerank_one",
]  # fmt: skip
