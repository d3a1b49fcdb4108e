"""Read BEIR folders: `corpus.jsonl`, `queries.jsonl` and one `qrels/NAME.tsv` per task.

This is the layout of the BEIR benchmark (https://github.com/beir-cellar/beir). MTEB's repositories
have it too, with `qrels/NAME.jsonl`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..errors import BadData, unknown
from .build import Tables, build_task
from .files import (
    JSONL,
    SEPARATED,
    read_files,
    read_jsonl,
    read_trec_qrels,
    standard_names,
    stem,
    suffix,
)
from .task import Source, Task, TaskOptions, TaskRef


def is_beir(folder: Path) -> bool:
    """Return whether a folder has the layout of a BEIR data set."""
    return any((folder / f"corpus{end}").is_file() for end in JSONL)


def beir_tasks(
    given: str, folder: Path, *, split: str | None, options: TaskOptions
) -> list[TaskRef]:
    """Return the tasks of a BEIR folder: one for each file in `qrels/`, or the one named `split`.

    A TREC qrels file makes one task, named after the file unless `split` is given.

    given: the folder as the user wrote it.
    """
    _jsonl(folder, "queries")
    if options.qrels == "qrels":
        chosen = _qrels_files(folder, split)
    elif Path(options.qrels).is_file():
        chosen = {split or Path(options.qrels).stem: Path(options.qrels)}
    else:
        what = f"qrels {options.qrels!r} is not a file"
        raise BadData(f"{what}; for a BEIR folder give the path of a TREC qrels file")
    name = folder.resolve().name
    return [
        TaskRef(f"{name}/{split}", partial(_load, given, folder, split, file, options))
        for split, file in chosen.items()
    ]


def _qrels_files(folder: Path, split: str | None) -> dict[str, Path]:
    # of two files of one name the one with the earlier suffix is read
    ends = reversed((*SEPARATED, *JSONL))
    found = {stem(file): file for end in ends for file in (folder / "qrels").glob(f"*{end}")}
    if not found:
        wanted = "a .tsv, .csv or .jsonl file for each task"
        raise BadData(f"{folder}/qrels holds no judgements; a BEIR folder has {wanted}")
    if split is None:
        return dict(sorted(found.items()))
    if split not in found:
        raise unknown(f"task of {folder}", split, found)
    return {split: found[split]}


def _load(given: str, folder: Path, split: str, qrels: Path, options: TaskOptions) -> Task:
    is_own = qrels.parent == folder / "qrels" and suffix(qrels) in (*SEPARATED, *JSONL)
    return build_task(
        f"{folder.resolve().name}/{split}",
        split,
        tables=Tables(
            read_jsonl(_jsonl(folder, "queries"), ("_id", "text")),
            read_jsonl(_jsonl(folder, "corpus"), ("_id", "text")),
            standard_names(read_files([qrels])) if is_own else read_trec_qrels(qrels),
            shared=True,
        ),
        source=Source("beir", given),
        options=options,
    )


def _jsonl(folder: Path, name: str) -> Path:
    files = [folder / f"{name}{end}" for end in JSONL]
    for file in files:
        if file.is_file():
            return file
    raise BadData(f"{folder} has no {files[0].name}; a BEIR folder needs corpus and queries")
