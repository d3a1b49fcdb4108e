"""Which instruction a reranker works by: its model's own, the task's, or one that a user wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import BadOption
from ..prompt import load_template

if TYPE_CHECKING:
    from ..tasks import Task
    from .registry import Choice

MODEL, TASK = "model", "task"
"""Policies: every model gets its published default, or all that can take one get the task's."""


def check_policy(policy: str) -> None:
    """Raise BadOption for a policy that does not exist."""
    if policy not in {MODEL, TASK}:
        raise BadOption(f"--instructions is {MODEL} or {TASK}, not {policy!r}")


def given(task: Task, policy: str) -> str | None:
    """Return the instruction that the candidates of a task carry, None under policy `model`."""
    return task.instruction if policy == TASK else None


def in_effect(task: Task, choice: Choice, policy: str) -> dict[str, str] | None:
    """Return the `source` (`own`, `task` or `model default`) and the `text` of a run's instruction.

    None where the reranker takes none. One that does not say whether it takes any, by an attribute
    `takes_instruction`, counts as taking the task's.
    """
    reranker, of_task = choice.reranker, given(task, policy)
    takes = getattr(reranker, "takes_instruction", of_task is not None)
    if not takes or (choice.asks is not None and not choice.asks):
        return None
    if own := _text(reranker, "instruction"):
        return {"source": "own", "text": own}
    if of_task:
        return {"source": TASK, "text": of_task}
    prompt = _text(reranker, "prompt")
    usual = load_template(prompt).instruction if prompt else ""
    return {"source": "model default", "text": usual} if usual else None


def _text(reranker: object, name: str) -> str:
    """Return an attribute that is a text; a plugin may give the name to a method."""
    value = getattr(reranker, name, "")
    return value if isinstance(value, str) else ""
