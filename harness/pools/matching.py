"""Whether a first stage's lists use the ids of the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import BadData
from ..tasks import CURE, SHARE, Task, examples

OF_A_FILE = (SHARE, 0.5)
OF_A_SHIPPED_LIST = (0.9, 0.9)
"""Which shares of queries and of ranked documents may match nothing in the task.

A list that the data set ships may have been made for a larger corpus or for fewer queries.
"""


def check_ids(
    what: str,
    ranked: Mapping[str, Sequence[tuple[str, float | None]]],
    task: Task,
    *,
    limits: tuple[float, float],
) -> None:
    """Raise BadData where more than `limits` is not of the task's queries or of its documents.

    Lists of more queries than the task has, or of fewer, are no mismatch; only what is unmatched on
    both sides is.
    """
    strays = [q for q in ranked if q not in task.queries]
    missing = [q for q in task.queries if q not in ranked]
    if min(len(strays), len(missing)) > limits[0] * len(task.queries):
        lacking = f"lacks {len(missing)} of {len(task.queries)} queries of task {task.name}"
        raise BadData(f"{what} {lacking} and ranks others ({examples(strays, missing)}); {CURE}")
    found = [doc_id for q in task.queries for doc_id, _ in ranked.get(q, ())]
    outside = [doc_id for doc_id in found if doc_id not in task.corpus]
    if len(outside) > limits[1] * len(found):
        part = f"{len(outside)} of {len(found)} ranked documents"
        pair = examples(outside, task.corpus)
        raise BadData(f"{what}: {part} are not in the corpus of {task.name} ({pair}); {CURE}")
