"""The runs that a suite makes: what each is, where it is stored, and whether it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import EngineChoice
from ..errors import BadOption, RunConflict
from ..pools import Pool
from ..reranking import Scope, chosen_queries, in_effect
from ..runs import (
    QueryResult,
    Variant,
    cascade_settings,
    check_finished,
    read_manifest,
    run_folder,
    settings,
)
from .prepared import Suite, TaskPool

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..tasks import Task
    from ..types import Engine


ALONE = 20
"""Queries that are served one at a time, where that is asked for."""


def check_labels(suite: Suite) -> None:
    """Raise BadOption where two rerankers have one label."""
    labels = [choice.label for choice in suite.rerankers]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise BadOption(f"two rerankers would both be stored as {twice}; give one of them as=NAME")


@dataclass
class PlannedRun:
    """A run to be made, with the results so far; `label` is that of the reranker and variant.

    own: the settings of a cascade's last stage alone, whose input is the run in the folder
    `earlier`; of another run its settings.
    """

    task: Task
    pool: Pool
    choice: Choice
    variant: Variant
    label: str
    settings: Mapping[str, Any]
    own: Mapping[str, Any]
    folder: Path
    finished: bool
    earlier: Path | None = None
    results: dict[str, QueryResult] = field(default_factory=dict)


def plan_runs(
    suite: Suite, prepared: Sequence[TaskPool], engines: Mapping[EngineChoice, Engine]
) -> list[PlannedRun]:
    """Return every run; raise RunConflict for a folder of a run with other settings."""
    plans: dict[Path, PlannedRun] = {}
    asked = ((item, choice) for item in prepared for choice in item.rerankers)
    for (item, choice), variant in product(asked, suite.variants):
        pool = _first_queries(item.pool, suite.scope) if variant.alone else item.pool
        scope = _described(suite.scope, item) | variant.settings
        instruction = in_effect(item.task, choice, suite.scope.instructions)
        engine = engines[choice.engine]
        after = choice.after
        stage = choice if after is None else replace(choice, label=after.stage)
        own = settings(item.task, pool, stage, engine, scope=scope, instruction=instruction)
        place = partial(_folder, suite.out, item, variant)
        folder = place(choice)
        earlier = None if after is None else place(after.earlier)
        described = own
        if after is not None and earlier is not None:
            before = plans[earlier].settings
            described = cascade_settings(own, before, label=choice.label, depth=after.depth)
        finished = check_finished(folder, described)
        if folder in plans:
            raise RunConflict(
                f"two runs would both be stored in {folder}; "
                "run them into different --out folders, or give rerankers as=NAME"
            )
        if finished and not suite.scope.keep_going:
            _require_no_failures(folder)
        label = f"{choice.label}{variant.suffix}"
        plans[folder] = PlannedRun(
            item.task, pool, choice, variant, label, described, own, folder, finished, earlier
        )
    return list(plans.values())


def _folder(out: Path, item: TaskPool, variant: Variant, choice: Choice) -> Path:
    label = f"{choice.label}{variant.suffix}"
    return run_folder(out, item.task.name, item.pool.profile, label)


def _first_queries(pool: Pool, scope: Scope) -> Pool:
    """Return the pool of the queries that are served one at a time."""
    few = chosen_queries([row.query_id for row in pool.rows], replace(scope, queries=ALONE))
    return replace(pool, rows=tuple(row for row in pool.rows if row.query_id in few))


def _require_no_failures(folder: Path) -> None:
    if failed := read_manifest(folder).get("failed", 0):
        raise RunConflict(
            f"{folder} is done, but {failed} of its queries failed; "
            "move it away to run it again, or accept it with --keep-going"
        )


def _described(scope: Scope, item: TaskPool) -> dict[str, Any]:
    return {
        "queries": scope.queries,
        "seed": scope.seed,
        "depth": scope.depth,
        "max_doc_chars": scope.max_doc_chars,
        "max_doc_tokens": scope.max_doc_tokens,
        "qrels": item.task_options.judgements,
        "min_grade": item.task_options.min_grade,
        "exclude_identical": item.task_options.exclude_identical,
        "ignore_column": list(item.task_options.ignore_column),
        "query_prompt": item.pool_options.query_prompt,
        "query_prompt_name": item.pool_options.query_prompt_name,
        "doc_prompt": item.pool_options.doc_prompt,
    }
