"""Runs in the files of MTEB: results, model descriptions and predictions; mteb is not needed.

    OUT/results/MODEL/REVISION/experiments/EXPERIMENT/TASK.json
    OUT/results/MODEL/REVISION/experiments/EXPERIMENT/model_meta.json
    OUT/predictions/MODEL/REVISION/EXPERIMENT/TASK_predictions.json

A reranker is the model `rerank-bench/LABEL`; a first stage is an experiment of it, named by what
decided the candidates and which of them were measured (`experiment_of`). For what reads models
alone each can be a model, `rerank-bench/LABEL@EXPERIMENT`, with its files in MODEL/REVISION. OUT is
a cache folder for `mteb.ResultCache(OUT)`, to which further subsets and splits of a task may be
added later. As in MTEB, a ranking is the candidates that were reranked, and no more: with --depth
10 the documents below are left out, and so is the safeguard.

mteb breaks ties by document id, descending; `strictly_descending` makes the scores in predictions.
"""

from __future__ import annotations

import datetime
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadData
from ..evaluation import MAIN, measure, natural, positives_of, strictly_descending
from ..runs import QueryResult, Run, find_all_runs, read_run
from ..tasks import MTEB_KINDS, mteb_language
from .experiments import clashing_stages, experiment_name, experiment_of, first_stage, mteb_revision

CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)
"""The ranks at which MTEB cuts a ranking."""

_APART = "name one of the rerankers with --as, or export them into two folders"
_HASH = "sha256:"
_SPLIT = re.compile(r"(?:(?P<subset>.+)-)?(?P<split>test|dev|validation|train)")
_OF_MTEB = re.compile(r"(?:(?P<subset>.+)-)?(?P<split>[^-]+)")
_UNKNOWN = (
    "release_date", "languages", "n_parameters", "memory_usage_mb", "max_tokens", "embed_dim",
    "license", "open_weights", "public_training_code", "public_training_data", "similarity_fn_name",
    "use_instructions", "training_datasets", "loader",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A run under MTEB's names; `subset` is `default` where a data set has none.

    is_model: whether its experiment is part of the model's name. clashing: as for `first_stage`.
    """

    run: Run
    task: str
    subset: str
    split: str
    is_model: bool = False
    clashing: Collection[str] = ()

    @classmethod
    def of(cls, run: Run, *, is_model: bool = False, clashing: Collection[str] = ()) -> Result:
        """Read MTEB's names in the task's: `mteb:TASK/ar-dev`, `FOLDER/ar-dev`, any other.

        The task of another data set is named whole, with `__` for its slashes.
        """
        name = run.manifest["settings"]["task"]
        known, _, last = name.removeprefix("mteb:").rpartition("/")
        split = (_OF_MTEB if name.startswith("mteb:") else _SPLIT).fullmatch(last)
        if known and split is not None:
            names = known.replace("/", "__"), split["subset"] or "default", split["split"]
        else:
            task = name.removeprefix("mteb:").replace("/", "__")
            names = task, "default", run.manifest.get("split") or last
        return cls(run, *names, is_model, clashing)

    @property
    def experiment(self) -> dict[str, Any]:
        """MTEB's `experiment_kwargs`."""
        return experiment_of(self.run, self.clashing)

    @property
    def model(self) -> dict[str, Any]:
        """MTEB's description of a model; what is not known is null."""
        settings = self.run.manifest["settings"]
        engine, kwargs = settings.get("engine") or {}, self.experiment
        # mteb reads two underscores in a model's name as a slash
        suffix = f"@{experiment_name(kwargs).replace('__', ',')}" if self.is_model else ""
        return {
            "name": f"rerank-bench/{settings['reranker']['label']}{suffix}",
            "revision": mteb_revision(engine),
            "adapted_from": engine.get("model"),
            "experiment_kwargs": None if self.is_model else kwargs,
            "framework": [],
            "model_type": ["cross-encoder"],
            "modalities": ["text"],
            "reference": None,
            **dict.fromkeys(_UNKNOWN),
        }

    @property
    def place(self) -> tuple[str, ...]:
        """The folders of model, revision and, unless it is a model, experiment, as in MTEB."""
        name = self.model["name"].replace("/", "__").replace(" ", "_")
        experiment = () if self.is_model else (experiment_name(self.experiment),)
        return name, self.model["revision"], *experiment

    @property
    def rankings(self) -> dict[str, dict[str, float | None]]:
        """The reranked candidates of each query with their scores, best first; none if failed."""
        depth = self.run.manifest["settings"].get("depth")
        return {result.query_id: _ranking(result, depth) for result in self.run.results}


def to_mteb(roots: Sequence[Path], out: Path, *, as_models: bool = False) -> list[Path]:
    """Write the results and predictions of all runs; return the files.

    as_models: make each experiment a model of its own. Subsets and splits that are there from an
    earlier export stay. Raises BadData where two runs have one place, also one that is there, where
    MTEB's main score is not computed here, or there is no run.
    """
    tasks: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    seen: dict[tuple[str, ...], Path] = {}
    clashing = clashing_stages(find_all_runs(roots))
    for folder in find_all_runs(roots):
        own = Result.of(read_run(folder), is_model=as_models, clashing=clashing)
        _check_main_score(own, folder)
        key = (*own.place, own.task)
        first = seen.setdefault((*key, own.subset, own.split), folder)
        if first != folder:
            raise BadData(f"{first} and {folder} are the same result for MTEB; {_APART}")
        tasks[key].append(own)
    return [file for (*place, _), own in tasks.items() for file in _written(out, place, own)]


def _check_main_score(own: Result, folder: Path) -> None:
    """Raise BadData where MTEB's main score is a measure of its own, such as p-MRR."""
    measure, score = own.run.manifest.get("main_measure"), own.run.manifest.get("main_score")
    if measure is None and score:
        why = f"the main score of {own.task} is {score}, which is not computed here"
        raise BadData(f"{why}: {folder} cannot be a result of MTEB; use another --form")


def _written(out: Path, place: Sequence[str], results: Sequence[Result]) -> Iterable[Path]:
    task, meta = results[0].task, results[0].model
    experiment = [part for name in place[2:] for part in ("experiments", name)]
    folder = out.joinpath("results", *place[:2], *experiment)
    predictions = out.joinpath("predictions", *place, f"{task}_predictions.json")
    file = folder / f"{task}.json"
    try:
        result = task_result(results, _stored(file, "scores", "evaluation_time", "date"))
    except BadData as error:
        raise BadData(f"{file} {error}; {_APART}") from error
    content = prediction_file(results, _stored(predictions, "mteb_model_meta"))
    yield _write(folder / "model_meta.json", meta)
    yield _write(file, result)
    yield _write(predictions, content)


def _stored(file: Path, *keys: str) -> dict[str, Any] | None:
    """Return what an earlier export wrote, if any; BadData where it lacks one of `keys`."""
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadData(f"{file} is no file of an export; remove it ({error})") from error
    if not isinstance(found, dict) or not found.keys() >= {*keys}:
        raise BadData(f"{file} is no file of an export; remove it (it lacks {', '.join(keys)})")
    return found


def _write(file: Path, content: Mapping[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False), "utf-8")
    return file


def task_result(
    results: Sequence[Result], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return MTEB's result of one task from the runs of its subsets and splits.

    before: a result that is added to; BadData where it has other values, or is of other data.
    """
    before = before or {"scores": {}, "evaluation_time": 0.0, "date": None}
    entries = {(split, e["hf_subset"]): e for split, own in before["scores"].items() for e in own}
    added = [own for own in results if (own.split, own.subset) not in entries]
    for own in results:
        entry = _entry(own)
        if entries.setdefault((own.split, own.subset), entry) != entry:
            raise BadData(f"has another run of subset {own.subset}, split {own.split}")
    scores: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (split, _), entry in entries.items():
        scores[split].append(entry)
    created = [own.run.manifest["created"] for own in results if "created" in own.run.manifest]
    dates = map(datetime.datetime.fromisoformat, created)
    known = [before["date"]] if before["date"] is not None else []
    spent = sum(own.run.manifest.get("seconds", 0.0) for own in added)
    return {
        "dataset_revision": _revision(results, before.get("dataset_revision")),
        "task_name": results[0].task,
        "mteb_version": None,
        "scores": scores,
        "evaluation_time": before["evaluation_time"] + spent,
        "kg_co2_emissions": None,
        "date": max([*known, *(date.timestamp() for date in dates)], default=None),
    }


def _revision(results: Sequence[Result], before: str | None) -> str:
    """Return the commit of the data, or a hash of the first subset's; BadData for two commits."""
    sources = [own.run.manifest["settings"].get("source") or {} for own in results]
    found = [s.get("revision") or f"{_HASH}{s.get('sha256', '')}" for s in sources]
    found = [before, *found] if before else found
    commits = sorted({revision for revision in found if not revision.startswith(_HASH)})
    if len(commits) > 1:
        raise BadData(f"has runs of the data sets' commits {' and '.join(commits)}")
    return found[0]


def _entry(own: Result) -> dict[str, Any]:
    """Return the scores of one subset and split."""
    run, profile = own.run, own.run.manifest["settings"]["profile"]
    rankings = own.rankings
    ids = [list(ranking) for ranking in rankings.values()]
    grades = [positives_of(run.qrels[q], min_grade=run.min_grade) for q in rankings]
    kind, _, cut = (run.manifest.get("main_measure") or MAIN).partition("@")
    scores = mteb_scores(ids, grades, {*CUTOFFS, int(cut)})
    languages = {result.language for result in run.results if result.language}
    if not languages and run.manifest.get("language"):
        languages = {run.manifest["language"]}
    return {
        **scores,
        "accuracy": scores["recall_at_1"],
        "main_score": scores[f"{MTEB_KINDS[kind]}_at_{cut}"],
        "hf_subset": own.subset,
        "languages": sorted(map(mteb_language, languages)) or ["und"],
        "previous_results_model_meta": {
            "model_name": first_stage(profile["resolved"], own.clashing),
            "revision": profile.get("sha256"),
        },
    }


def mteb_scores(
    rankings: Sequence[Sequence[str]],
    grades: Sequence[Mapping[str, int]],
    cutoffs: Collection[int] = CUTOFFS,
) -> dict[str, float]:
    """Return the mean of each measure by MTEB's name, such as `ndcg_at_10`, rounded as MTEB does.

    rankings: document ids, best first; an empty one counts as 0.
    grades: those of all positives of each query, in the same order; one at least.

    nAUC is left out: it measures scores, not rankings.
    """
    names = {
        f"{ours}@{k}": f"{theirs}_at_{k}"
        for ours, theirs in MTEB_KINDS.items()
        for k in sorted(cutoffs)
    }
    values = measure(rankings, grades, tuple(names))
    # summed one by one as in MTEB: a mean of numpy's can round to the other side of a half
    return {
        key: round(sum(values[name].tolist()) / len(grades), 6 if key.startswith("mrr") else 5)
        for name, key in names.items()
    }


def prediction_file(
    results: Sequence[Result], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the scores of all documents, which `convert_to_reranking` and evaluators read.

    before: what the file has from an earlier export, which is kept.
    """
    meta = results[0].model
    content: dict[str, Any] = defaultdict(dict, before or {})
    content["mteb_model_meta"] = {"model_name": meta["name"], "revision": meta["revision"]}
    for own in results:
        content[own.subset][own.split] = {
            query_id: dict(zip(ranking, strictly_descending([*ranking.values()]), strict=True))
            for query_id, ranking in own.rankings.items()
        }
    return content


def _ranking(result: QueryResult, depth: int | None) -> dict[str, float | None]:
    if result.failed is not None:
        return {}
    scores = dict(zip(result.doc_ids, result.scores, strict=True))
    kept = natural(result.doc_ids, result.safeguard)[:depth]
    return {doc_id: scores[doc_id] for doc_id in kept}
