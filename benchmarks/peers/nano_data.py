"""Thirteen tasks of NanoBEIR's names and layout, made of Python's standard library.

A query is a sentence on what a function does, its one positive that function's source, cut to a
number of words. A task's candidate lists are those of all functions, without what is not in its
corpus. With one positive of each query all measures of nDCG have the same ideal.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rerank_bench import Task, build_pool, load_task
from rerank_bench.pools import PoolOptions

NAMES = (
    "ArguAna", "ClimateFEVER", "DBPedia", "FEVER", "FiQA2018", "HotpotQA", "MSMARCO", "NFCorpus",
    "NQ", "QuoraRetrieval", "SCIDOCS", "SciFact", "Touche2020",
)  # fmt: skip
PROFILES = {"bm25": "bm25()", "dense": "dense(minilm)", "hybrid": "rrf(bm25(),dense(minilm))"}
Lists = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class NanoTask:
    """A task: its split's name, texts by id, each query's positive, and lists by profile."""

    split: str
    queries: Mapping[str, str]
    corpus: Mapping[str, str]
    positive: Mapping[str, str]
    lists: Mapping[str, Lists]


def nano_tasks(queries: int, documents: int, words: int, depth: int) -> list[NanoTask]:
    """Make the tasks: `queries` and `documents` of each, texts of `words`, lists of `depth`."""
    whole = _distinct(load_task("stdlib-code"), words)
    options = PoolOptions(depth=len(whole.corpus))
    ranked = {
        name: {row.query_id: row.natural for row in build_pool(whole, profile, options).rows}
        for name, profile in PROFILES.items()
    }
    asked = list(whole.queries)
    if queries * len(NAMES) > len(asked):
        raise SystemExit(f"there are {len(asked) // len(NAMES)} queries for each task at most")
    return [
        _part(whole, name, asked[place * queries : (place + 1) * queries], documents, ranked, depth)
        for place, name in enumerate(NAMES)
    ]


def _distinct(task: Task, words: int) -> Task:
    """Cut the documents, and leave out those that then equal another one, with their queries."""
    texts = {doc_id: " ".join(text.split()[:words]) for doc_id, text in task.corpus.items()}
    first = {text: doc_id for doc_id, text in reversed(texts.items())}
    corpus = {doc_id: text for text, doc_id in first.items()}
    kept = {q: text for q, text in task.queries.items() if task.positives(q) <= corpus.keys()}
    return replace(task, queries=kept, corpus=corpus)


def _part(
    whole: Task,
    name: str,
    asked: Sequence[str],
    documents: int,
    ranked: Mapping[str, Lists],
    depth: int,
) -> NanoTask:
    positive = {query_id: min(whole.positives(query_id)) for query_id in asked}
    others = sorted(whole.corpus.keys() - positive.values())
    chosen = random.Random(name).sample(others, documents - len(asked))
    corpus = {doc_id: whole.corpus[doc_id] for doc_id in [*positive.values(), *chosen]}
    lists = {
        profile: {q: list(dict.fromkeys(_found(own[q], corpus)))[:depth] for q in asked}
        for profile, own in ranked.items()
    }
    queries = {query_id: whole.queries[query_id] for query_id in asked}
    return NanoTask(f"Nano{name}", queries, corpus, positive, lists)


def _found(ranked: Sequence[str], corpus: Mapping[str, str]) -> Iterator[str]:
    """Yield a list's documents, then those that it lacks: a peer takes no list that is empty."""
    yield from (doc_id for doc_id in ranked if doc_id in corpus)
    yield from sorted(corpus)


def write(folder: Path, tasks: Sequence[NanoTask], lists: Mapping[str, str]) -> None:
    """Write a data set as on the hub: parquet files, and a README.md that names them.

    lists: config -> the profile whose lists it has.
    """
    card = ["---", "configs:"]
    for config in ("corpus", "queries", "qrels", *lists):
        card += [f"- config_name: {config}", "  data_files:"]
        for task in tasks:
            file = f"{config}/{task.split}.parquet"
            card += [f"  - split: {task.split}", f"    path: {file}"]
            _write(folder / file, _columns(task, config, lists))
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))


def _columns(
    task: NanoTask, config: str, lists: Mapping[str, str]
) -> Mapping[str, Sequence[object]]:
    if config == "qrels":
        return {"query-id": [*task.positive], "corpus-id": [*task.positive.values()]}
    if config in lists:
        own = task.lists[lists[config]]
        return {"query-id": [*own], "corpus-ids": [*own.values()]}
    texts = task.corpus if config == "corpus" else task.queries
    return {"_id": [*texts], "text": [*texts.values()]}


def _write(file: Path, columns: Mapping[str, Sequence[object]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
