"""BEIR folders: `corpus.jsonl`, `queries.jsonl` and one `qrels/NAME.tsv` per task.

The layout is that of the BEIR benchmark (https://github.com/beir-cellar/beir): `_id`, `title` and
`text` in the corpus, a header line in the qrels. MTEB's repositories have it too, with
`qrels/NAME.jsonl`. A document is `title text`, as BEIR's own BM25 baseline and the Nano data sets
read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import BadData, unknown
from .checking import Tables, make_task
from .files import JSONL, SEPARATED, read_files, read_jsonl, stem, suffix
from .qrelsfile import by_our_names, read_trec_qrels
from .task import NoLists, Source, Task, TaskOptions, TaskRef

_QRELS = (*SEPARATED, *JSONL)
"""Suffixes of files with judgements; of two files of one name the first of these is read."""


def is_beir(folder: Path) -> bool:
    """Say whether a folder is laid out as BEIR lays out its data sets."""
    return any((folder / f"corpus.jsonl{end}").is_file() for end in ("", ".gz"))


def beir_tasks(
    given: str, folder: Path, *, split: str | None, options: TaskOptions
) -> list[TaskRef]:
    """Return the tasks of a BEIR folder: one for each file in `qrels/`, or the one named `split`.

    With a TREC qrels file the task is that file's, and is named after it unless `split` is given.
    """
    _jsonl(folder, "queries")
    if options.qrels != "qrels":
        chosen = {split or Path(options.qrels).stem: _qrels_file(options.qrels)}
    else:
        chosen = _chosen(folder, split)
    set_name = folder.resolve().name
    return [
        TaskRef(f"{set_name}/{stem}", partial(_load, _Part(given, folder, stem, file), options))
        for stem, file in chosen.items()
    ]


def _qrels_file(given: str) -> Path:
    if not Path(given).is_file():
        raise BadData(f"qrels {given!r} is no file; a BEIR folder takes the path of a TREC file")
    return Path(given)


def _chosen(folder: Path, split: str | None) -> dict[str, Path]:
    found = {
        stem(file): file for end in reversed(_QRELS) for file in (folder / "qrels").glob(f"*{end}")
    }
    files = dict(sorted(found.items()))
    if not files:
        wanted = "a .tsv, .csv or .jsonl file for each task"
        raise BadData(f"{folder}/qrels holds no judgements; a BEIR folder has {wanted}")
    if split is None:
        return files
    if split not in files:
        raise unknown(f"task of {folder}", split, files)
    return {split: files[split]}


@dataclass(frozen=True, slots=True)
class _Part:
    given: str
    folder: Path
    split: str
    qrels: Path


def _load(part: _Part, options: TaskOptions) -> Task:
    own = part.qrels.parent == part.folder / "qrels" and suffix(part.qrels) in _QRELS
    texts = {name: _jsonl(part.folder, name) for name in ("queries", "corpus")}
    return make_task(
        f"{part.folder.resolve().name}/{part.split}",
        part.split,
        tables=Tables(
            read_jsonl(texts["queries"], ("_id", "text")),
            read_jsonl(texts["corpus"], ("_id", "text")),
            by_our_names(read_files([part.qrels])) if own else read_trec_qrels(part.qrels),
            shared=True,
        ),
        source=Source("beir", part.given),
        shipped=NoLists(),
        options=options,
    )


def _jsonl(folder: Path, name: str) -> Path:
    for file in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"):
        if file.is_file():
            return file
    raise BadData(f"{folder} has no {name}.jsonl; a BEIR folder needs corpus and queries")
