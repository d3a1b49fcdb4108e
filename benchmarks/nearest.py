"""Recall of the approximate search of `dense()` on vectors of real sentences.

    python benchmarks/nearest.py [--task FOLDER …] [--minutes 4]

The sentences are those of Python's documentation and of the corpora of the tasks; 100 of the tasks'
queries are searched for. Two kinds of vectors: those of all-MiniLM-L6-v2, of as many sentences as
it encodes in the minutes, and the means of its token embeddings, of all sentences. Over each an
inverted file is made as `dense()` makes it over more than 1,000,000 texts, with codes of 8 and of 4
bits, and compared with the exact first 100. Prints a table and writes
benchmarks/results/nearest.json.
"""

from __future__ import annotations

import argparse
import json
import pydoc_data.topics
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from rerank_bench.engines import find_model, machine
from rerank_bench.pools.nearest import inverted_file
from rerank_bench.runs.manifest import versions
from rerank_bench.tasks import TaskOptions, find_tasks

RESULTS = Path(__file__).parent / "results" / "nearest.json"
DEPTH, FOUND, QUERIES, BATCH = 100, 200, 100, 256
_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n|(?<=[。！？])")


def texts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return distinct sentences of 20 to 400 characters, and queries, both in random order."""
    tasks = [ref.load() for name in names for ref in find_tasks(name, TaskOptions())]
    corpora = [text for task in tasks for text in task.corpus.values()]
    whole = [*pydoc_data.topics.topics.values(), *corpora]
    parts = dict.fromkeys(" ".join(part.split()) for text in whole for part in _END.split(text))
    sentences = [part for part in parts if 20 <= len(part) <= 400]
    queries = list(dict.fromkeys(q for task in tasks for q in task.queries.values()))
    draw = random.Random(0)
    return draw.sample(sentences, len(sentences)), draw.sample(queries, min(QUERIES, len(queries)))


def encoded(model: Any, sentences: Sequence[str], seconds: float) -> np.ndarray:
    """Encode until the seconds are over; shape (sentences, 384), of length 1."""
    end, found = time.monotonic() + seconds, []
    for start in range(0, len(sentences), BATCH):
        if time.monotonic() > end:
            break
        found.append(model.encode(sentences[start : start + BATCH], normalize_embeddings=True))
    return np.concatenate(found)


def means(model: Any, sentences: Sequence[str]) -> np.ndarray:
    """Return the means of the token embeddings; shape (sentences, 384)."""
    weights = model[0].auto_model.get_input_embeddings().weight.detach().numpy()
    ids = model.tokenizer(list(sentences), add_special_tokens=False)["input_ids"]
    return np.stack([weights[own].mean(axis=0) for own in ids])


def recall(vectors: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    """Return the share of the exact first DEPTH among the first FOUND, by the bits of a code."""
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    near, found = exact.search(queries, DEPTH)[1], {}
    for bits in (8, 4):
        rows = inverted_file([vectors], len(vectors), bits).search(queries, FOUND)[1]
        shares = [len(set(a) & set(b)) / DEPTH for a, b in zip(near, rows, strict=True)]
        found[f"{bits} bits"] = float(np.mean(shares))
    return found


def main() -> None:
    """Measure both kinds of vectors and write what was found."""
    from sentence_transformers import SentenceTransformer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", action="append", default=["stdlib-code"], help="repeats")
    parser.add_argument("--minutes", type=float, default=4.0, help="0 for token embeddings alone")
    given = parser.parse_args()
    sentences, queries = texts(given.task)
    model = SentenceTransformer(find_model("minilm").source, device="cpu")
    vectors, asked = means(model, sentences), means(model, queries)
    centre = vectors.mean(axis=0)
    kinds = {"token embeddings": [vectors - centre, asked - centre]}
    if given.minutes:
        some = encoded(model, sentences, 60 * given.minutes)
        kinds["all-MiniLM-L6-v2"] = [some, encoded(model, queries, 600)]
    rows = []
    for kind, both in kinds.items():
        for one in both:
            faiss.normalize_L2(one)
        rows.append({"vectors": kind, "sentences": len(both[0]), **recall(*both)})
        print(rows[-1], flush=True)
    found = {"rows": rows, "depth": DEPTH, "queries": len(queries), "tasks": len(given.task)}
    found |= {"versions": versions(), "hardware": machine()}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
