"""Which queries, candidates and parts of texts are reranked, and by which instruction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BadOption
from ..prompt import load_template

if TYPE_CHECKING:
    from ..tasks import Task
    from .choice import Choice

MODEL, TASK = "model", "task"
"""Policies: every model gets its published default, or all that can take one get the task's."""


@dataclass(frozen=True)
class Scope:
    """How much is run, and how.

    queries: the N queries with the smallest sha256 of seed and id; None for all. depth: rerank the
    first K candidates and the safeguard; the rest keeps its place behind. max_doc_chars: cut every
    document first, in characters. max_doc_tokens: cut every document to so many tokens of each
    reranker's tokenizer, where its own budget is greater. instructions: `model`, each model's own
    default, or `task`, the task's. keep_going: a failed query ends alone, not the run, and tasks
    and lists whose ids do not match are taken.
    """

    queries: int | None = None
    seed: int = 0
    depth: int | None = None
    max_doc_chars: int | None = None
    max_doc_tokens: int | None = None
    instructions: str = MODEL
    keep_going: bool = False

    def __post_init__(self) -> None:
        if self.instructions not in {MODEL, TASK}:
            raise BadOption(f"--instructions is {MODEL} or {TASK}, not {self.instructions!r}")
        for name in ("queries", "depth", "max_doc_chars", "max_doc_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadOption(f"--{name.replace('_', '-')} must be at least 1, not {value}")


def chosen_queries(query_ids: Sequence[str], scope: Scope) -> frozenset[str]:
    """Return the sampled queries: the same for every profile and reranker, nested in N."""

    def draw(query_id: str) -> bytes:
        return hashlib.sha256(f"{scope.seed}\0{query_id}".encode()).digest()

    return frozenset(sorted(query_ids, key=draw)[: scope.queries])


def given(task: Task, policy: str) -> str | None:
    """Return the instruction that the candidates of a task carry, None under policy `model`."""
    return task.instruction if policy == TASK else None


def in_effect(task: Task, choice: Choice, policy: str) -> dict[str, str] | None:
    """Return the `source` (`own`, `task` or `model default`) and the `text` of a run's instruction.

    None where the reranker takes none. One that does not say whether it takes any, by an attribute
    `takes_instruction`, counts as taking the task's.
    """
    declared, of_task = choice.declared, given(task, policy)
    takes = declared.takes_instruction
    if not (of_task is not None if takes is None else takes) or declared.yields_nothing:
        return None
    if declared.instruction:
        return {"source": "own", "text": declared.instruction}
    if of_task:
        return {"source": TASK, "text": of_task}
    usual = load_template(declared.prompt).instruction if declared.prompt else ""
    return {"source": "model default", "text": usual} if usual else None
