"""What the page says of each first stage: a conclusion with its notes, and what was left out."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from ...evaluation import Evaluation
from ..notes import notes_of, sentence


def sentences(found: Evaluation) -> list[dict[str, Any]]:
    """Return a sentence with notes for each first stage of each data set, or task in none."""
    in_means = {task for group in found.groups for task in group.tasks}
    tasks = [row for row in found.results.main if row["task"] not in in_means]
    rows = [row for row in (*found.means.main, *tasks) if not row["apart"]]
    rows.sort(key=lambda row: (row["tasks"] == 1, row["task"], row["profile"], -row["natural"]))
    made = []
    for (task, profile), part in groupby(rows, key=lambda row: (row["task"], row["profile"])):
        own = list(part)
        words = {"sentence": sentence(own), "notes": notes_of(own)}
        made.append({"task": task, "profile": profile, **words})
    return made


def left_out(found: Evaluation) -> list[str]:
    """Return what is in no table or has no mean, and why."""
    without = [
        f"{group.name} · {profile} · {reranker}: no mean, with {why}"
        for group in found.groups
        for profile, reranker, why in group.left_out
    ]
    return list(dict.fromkeys([*found.left_out, *without]))
