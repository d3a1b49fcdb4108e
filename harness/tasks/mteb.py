"""Read MTEB's retrieval and reranking tasks through the package mteb (extra `mteb`).

MTEB downloads, converts and checks its data itself; what it holds then is read as tables.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from ..errors import BadData, BadOption, MissingExtra, RerankBenchError, unknown
from .build import build_task
from .catalog import MTEB, MTEB_KINDS, sets
from .files import read_trec_qrels
from .hub import AGAIN
from .huggingface import LOG_IN, to_open
from .languages import TWO_LETTERS
from .table import Table
from .task import CANDIDATES, HUGGING_FACE, QRELS, Source, Task, TaskOptions, TaskRef, in_hash_order

OLDEST = (2, 26)
_INSTALL = "pip install 'rerank-bench[mteb]'"
_TYPES = ("Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking")
_MEASURES = {theirs: ours for ours, theirs in MTEB_KINDS.items()}
_BENCHMARKS = frozenset({
    "BEIR", "BEIR-NL", "BRIGHT", "BRIGHT-Pro", "CMTEB", "ChemTEB", "CoIR", "CoREB", "CodeRAG",
    "Encodechka", "FollowIR", "JinaVDR", "LMEB", "LongEmbed", "MAEB", "MINERSBitextMining", "MMTEB",
    "MTEB", "MVEB", "NanoBEIR", "NanoBEIR-multilingual", "R2MED", "RAR-b", "RuSciBench", "SEB",
    "VisualDocumentRetrieval",
})  # fmt: skip
"""MTEB's benchmarks whose names could be those of tasks."""


def mteb_tasks(name: str, options: TaskOptions) -> list[TaskRef]:
    """Return the tasks that `mteb:TASK`, `mteb:TASK/SPLIT` or `mteb:BENCHMARK` means.

    A task has one for each subset and split, `mteb:TASK/SPLIT` or `mteb:TASK/SUBSET-SPLIT`. Of a
    benchmark only the retrieval and reranking of texts are meant. Nothing is downloaded yet.
    Raises MissingExtra without mteb or with an old one, UnknownName with near names.
    """
    require_mteb(name, _without(name))
    if options.revision is not None or options.hub != HUGGING_FACE:
        raise BadOption(f"{name} is read at the revision and hub that mteb pins; drop the option")
    if options.judgements != QRELS and not Path(options.judgements).is_file():
        raise BadOption(f"{name} has one set of judgements; --qrels takes a TREC file")
    asked, _, part = name.removeprefix(MTEB).partition("/")
    refs = [ref for task in _named(asked) for ref in _refs(task, options)]
    wanted = [ref for ref in refs if part in ("", ref.name.partition("/")[2])]
    if not wanted:
        raise unknown("task", name, [ref.name for ref in refs])
    return wanted


def require_mteb(what: str, hint: str = "") -> None:
    """Raise MissingExtra unless mteb is installed and recent enough for `what`.

    hint: what to do without it, put after the command that installs it.
    """
    try:
        version = metadata.version("mteb")
    except metadata.PackageNotFoundError:
        raise MissingExtra(f"{what} needs the extra mteb: {_INSTALL}{hint}") from None
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise MissingExtra(f"mteb {version} is too old for {what} (mteb>={oldest}): {_INSTALL}")


def _without(name: str) -> str:
    known = [n for n in sets() if n.startswith(MTEB)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    if near:
        return f"; did you mean {near[0]}?"
    own = name.removeprefix(MTEB)
    may_be_task = re.fullmatch(r"[\w.-]+(/[\w.+-]+)?", own) and own not in _BENCHMARKS
    return f"; or name its repository: --task mteb/{own}" if may_be_task else ""


def _named(name: str) -> list[Any]:
    """Return the tasks of texts that are found by ranking, of a task's or a benchmark's name."""
    import mteb

    try:
        found = [mteb.get_task(name)]
    except KeyError:
        try:
            found = list(mteb.get_benchmark(name).tasks)
        except KeyError:
            raise unknown("task", f"{MTEB}{name}", [f"{MTEB}{n}" for n in _names()]) from None
    tasks = [task for own in found for task in _parts(own) if _is_read(task)]
    if not tasks:
        kind = found[0].metadata.type
        raise BadData(f"{MTEB}{name} has no retrieval or reranking of texts ({kind})")
    return tasks


def _names() -> list[str]:
    import mteb

    tasks = (task.metadata.name for task in mteb.get_tasks(task_types=_TYPES))
    return [*tasks, *(benchmark.name for benchmark in mteb.get_benchmarks())]


def _parts(task: Any) -> Sequence[Any]:
    """Return the tasks that an aggregate such as CQADupstackRetrieval is made of."""
    from mteb.abstasks.aggregated_task import AbsTaskAggregate

    return task.metadata.tasks if isinstance(task, AbsTaskAggregate) else [task]


def _is_read(task: Any) -> bool:
    return task.metadata.type in _TYPES and set(task.metadata.modalities) == {"text"}


def _refs(task: Any, options: TaskOptions) -> Iterator[TaskRef]:
    for subset in task.hf_subsets:
        prefix = "" if subset == "default" else f"{subset}-"
        for split in task.eval_splits:
            name = f"{MTEB}{task.metadata.name}/{prefix}{split}"
            yield TaskRef(name, partial(load_task_of, task, subset, split, name, options))


def load_task_of(task: Any, subset: str, split: str, name: str, options: TaskOptions) -> Task:
    """Return one subset and split of a task of MTEB's.

    task: an `AbsTaskRetrieval`, whose data are loaded and converted to MTEB's current form here.
    """
    about = task.metadata
    data = _data(task, subset, split)
    where = f"{about.name} {subset}/{split}"
    tables = {
        "corpus": _texts(data["corpus"], f"{where} corpus", ("text", "title")),
        "queries": _texts(data["queries"], f"{where} queries", ("text", "instruction")),
        "qrels": _judgements(data["relevant_docs"], f"{where} qrels"),
    }
    if options.judgements != QRELS:
        tables["qrels"] = read_trec_qrels(Path(options.judgements))
    lists = data.get("top_ranked")
    languages = _languages(about, subset)
    built = build_task(
        name,
        name.rpartition("/")[2],
        tables=tables,
        source=Source("mteb", about.dataset["path"], about.dataset["revision"]),
        options=options,
        shared=True,
        shipped={CANDIDATES: partial(in_hash_order, lists)} if lists else {},
    )
    excluded = options.exclude_identical
    return replace(
        built,
        language=languages[0] if len(languages) == 1 else None,
        instruction=_instruction(about.prompt),
        exclude_identical=task.ignore_identical_ids if excluded is None else excluded,
        identical_by="id",
        main_measure=_main_measure(about.main_score),
        main_score=about.main_score,
    )


def _data(task: Any, subset: str, split: str) -> Any:
    """Load one subset and split alone; raise RerankBenchError if MTEB cannot."""
    own = copy.copy(task)
    own.filter_eval_splits([split])
    if own.metadata.is_multilingual:
        own.filter_languages(None, hf_subsets=[subset])
    try:
        if not own.data_loaded:
            own.load_data()
        own.convert_v1_dataset_format_to_v2(num_proc=None)
    except Exception as error:  # whatever the loaders of hundreds of tasks raise
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        path = task.metadata.dataset["path"]
        what = f"mteb cannot load {task.metadata.name} ({path})"
        raise RerankBenchError(f"{what}: {reason}{_cure(error, path)}") from error
    return own.dataset[subset][split]


def _cure(error: Exception, path: str) -> str:
    """Return what to do where access or the network made MTEB fail; nothing for other causes."""
    from httpx2 import TransportError
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    if any(isinstance(one, GatedRepoError) or " is a gated " in str(one) for one in causes):
        return f"; {to_open(path)}"
    unreached = (ConnectionError, TimeoutError, TransportError, LocalEntryNotFoundError)
    if any(isinstance(one, unreached) for one in causes):
        return f"; {AGAIN}"
    if any(type(one).__name__ == "DatasetNotFoundError" for one in causes):
        return f"; if it is private, {LOG_IN}"
    return ""


def _texts(rows: Any, where: str, optional: Sequence[str]) -> Table:
    """Return the columns of a `datasets.Dataset` that MTEB reads."""
    names = ["text", *(name for name in optional if name != "text" and name in rows.column_names)]
    return Table(where, {"_id": rows["id"], **{name: rows[name] for name in names}})


def _judgements(relevant: Mapping[str, Mapping[str, int]], where: str) -> Table:
    rows = [(q, d, grade) for q, graded in relevant.items() for d, grade in graded.items()]
    names = ("query-id", "corpus-id", "score")
    return Table(where, {name: [row[i] for row in rows] for i, name in enumerate(names)})


def _languages(about: Any, subset: str) -> list[str]:
    """Return the languages of a subset, as ISO 639-1 where such a code is known here."""
    found = about.eval_langs
    codes = found[subset] if isinstance(found, dict) else found
    return list(dict.fromkeys(TWO_LETTERS.get(code[:3], code[:3]) for code in codes))


def _instruction(prompt: Any) -> str | None:
    found = prompt.get("query") if isinstance(prompt, dict) else prompt
    return found or None


def _main_measure(score: str) -> str | None:
    """Return our name for a main score such as `map_at_1000`; None if it is not computed here."""
    if score == "accuracy":
        return "recall@1"  # as mteb computes it
    kind, _, cut = score.rpartition("_at_")
    return f"{_MEASURES[kind]}@{cut}" if kind in _MEASURES and cut.isdigit() else None
