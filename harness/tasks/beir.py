"""BEIR folders: `corpus.jsonl`, `queries.jsonl` and one `qrels/NAME.tsv` per task.

The layout is that of the BEIR benchmark (https://github.com/beir-cellar/beir): `_id`, `title` and
`text` in the corpus, a header line in the qrels. A document is `title text`, as BEIR's own BM25
baseline and the Nano data sets read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadData, unknown
from .checking import Tables, make_task
from .tables import Table, read_lines
from .task import NoLists, Source, Task, TaskOptions, TaskRef
from .trec import read_trec_qrels, whole_number


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
    files = {file.stem: file for file in sorted((folder / "qrels").glob("*.tsv"))}
    if not files:
        raise BadData(f"{folder}/qrels holds no .tsv file; a BEIR folder has one for each task")
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
    read = _read_tsv if part.qrels.parent == part.folder / "qrels" else read_trec_qrels
    qrels = read(part.qrels)
    queries = _read_jsonl(_jsonl(part.folder, "queries"))
    tables = Tables(_judged(queries, qrels), _read_jsonl(_jsonl(part.folder, "corpus")), qrels)
    return make_task(
        f"{part.folder.resolve().name}/{part.split}",
        part.split,
        tables=tables,
        source=Source("beir", part.given),
        shipped=NoLists(),
        options=options,
    )


def _judged(queries: Table, qrels: Table) -> Table:
    # queries.jsonl is shared by train, dev and test: the others' queries are no part of this task
    judged = set(qrels.ids("query-id"))
    ids, found = queries.ids("_id"), queries.column("text")
    rows = [(i, text) for i, text in zip(ids, found, strict=True) if i in judged]
    if judged and not rows:
        raise BadData(f"{qrels.where} judges none of the queries in {queries.where}")
    return Table(queries.where, {"_id": [i for i, _ in rows], "text": [text for _, text in rows]})


def _jsonl(folder: Path, name: str) -> Path:
    for file in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"):
        if file.is_file():
            return file
    raise BadData(f"{folder} has no {name}.jsonl; a BEIR folder needs corpus and queries")


def _read_jsonl(path: Path) -> Table:
    columns: dict[str, list[Any]] = {"_id": [], "text": []}
    for number, row in _objects(path):
        missing = [key for key in columns if key not in row]
        if missing:
            raise BadData(f"{path}, line {number}: {missing[0]!r} is missing")
        title = row.get("title") or ""
        columns["_id"].append(row["_id"])
        columns["text"].append(f"{title} {row['text']}" if title else row["text"])
    return Table(str(path), columns)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadData(f"{path}, line {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise BadData(f"{path}, line {number} is no JSON object")
        yield number, row


def _read_tsv(path: Path) -> Table:
    columns: dict[str, list[str | int]] = {"query-id": [], "corpus-id": [], "score": []}
    for number, line in read_lines(path):
        parts = line.split("\t")
        if number == 1 and parts[0] == "query-id":
            continue
        if len(parts) != 3:
            wanted = "3 columns with tabs between them (query-id corpus-id score)"
            raise BadData(f"{path}, line {number}: expected {wanted}, found {len(parts)}")
        columns["query-id"].append(parts[0])
        columns["corpus-id"].append(parts[1])
        columns["score"].append(whole_number(parts[2], path, number))
    return Table(str(path), columns)
