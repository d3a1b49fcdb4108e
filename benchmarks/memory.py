"""Peak memory of each step of an evaluation as its input grows: 1x, 4x and 16x.

    python benchmarks/memory.py [--scales 1 4 16] [--steps load bm25 dense run report]
    python benchmarks/memory.py --steps run report --scales 16 100 --passages 100000 --words 8

1x is 250 queries of 100 candidates and 25,000 passages of about 56 words, drawn from a Zipf law
over 200,000 words; with `--passages` every scale has as many passages, and queries alone grow. Each
step runs in a process of its own. `peak_gb` is its greatest resident
memory; `own_gb` leaves out the pages of mapped files, which the system drops when it needs room.
The reranker is a cross-encoder that engine fake answers; the encoder is a static embedding of 384
dimensions. Computed pools are of the first 250 queries. `run` compiles the measures, as the first
run on a machine does. Prints a table with the growth per passage or per query, and stores the rows
in benchmarks/results/memory.json, beside those of other steps and sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "memory.json"
QUERIES, PASSAGES, CANDIDATES, WORDS = 250, 25_000, 100, 200_000
POOLED = 250  # queries of computed pools
PER = {"load": "passages", "bm25": "passages", "dense": "passages"}
NAME = "zipf"


def words(random: np.random.Generator, count: int) -> np.ndarray:
    """Return `count` words whose frequencies follow a Zipf law."""
    ranks = np.exp(random.random(count) * np.log(WORDS)).astype(int)
    return np.char.add("w", ranks.astype(str))


def texts(random: np.random.Generator, count: int, mean: int) -> list[str]:
    """Return texts of `mean` words on average, at least half of that."""
    lengths = random.integers(mean // 2, mean * 3 // 2, count)
    ends = np.cumsum(lengths)
    drawn = words(random, int(ends[-1])).tolist()
    return [" ".join(drawn[end - n : end]) for end, n in zip(ends, lengths, strict=True)]


def write(file: Path, parts: Iterator[dict[str, Any]]) -> None:
    """Write a parquet file part by part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file.parent.mkdir(parents=True, exist_ok=True)
    writer = None
    for part in parts:
        table = pa.table(part)
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def make(folder: Path, queries: int, passages: int, length: int) -> None:
    """Write a task with one list of candidates; every query has two positives.

    length: mean words of a passage.
    """
    random = np.random.default_rng(0)

    def corpus() -> Iterator[dict[str, Any]]:
        for start in range(0, passages, 50_000):
            ids = [f"passage-{n}" for n in range(start, min(start + 50_000, passages))]
            yield {"_id": ids, "text": texts(random, len(ids), length)}

    names = [f"query-{n}" for n in range(queries)]
    found = random.integers(0, passages, (queries, CANDIDATES + 8))
    lists = [[f"passage-{n}" for n in dict.fromkeys(row.tolist())][:CANDIDATES] for row in found]
    judged = {
        "query-id": [name for name in names for _ in range(2)],
        "corpus-id": [own[place] for own in lists for place in (3, 60)],
        "score": [1] * (2 * queries),
    }
    write(folder / "corpus" / f"{NAME}.parquet", corpus())
    queried = {"_id": names, "text": texts(random, queries, 8)}
    write(folder / "queries" / f"{NAME}.parquet", iter([queried]))
    write(folder / "qrels" / f"{NAME}.parquet", iter([judged]))
    listed = {"query-id": names, "corpus-ids": lists}
    write(folder / "bm25" / f"{NAME}.parquet", iter([listed]))


def make_encoder(folder: Path) -> None:
    """Save a static embedding of every word."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[UNK]": 0} | {f"w{n}": n + 1 for n in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    weights = np.random.default_rng(1).normal(size=(len(vocabulary), 384)).astype("float32")
    static = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[static]).save(str(folder))


def load(folder: Path) -> Any:
    """Load the task."""
    from rerank_bench.tasks import TaskOptions, find_tasks

    (found,) = find_tasks(str(folder / "task"), TaskOptions())
    return found.load()


def pool(folder: Path, profile: str) -> str:
    """Build a computed pool and return its sha256."""
    from rerank_bench.pools import PoolOptions, build_pool

    task = load(folder)
    few = dict(list(task.queries.items())[:POOLED])
    options = PoolOptions(query_prompt="", doc_prompt="", device="cpu")
    made = build_pool(replace(task, queries=few), profile, options)
    for name, note in made.notes.items():
        print(name, note, file=sys.stderr)
    return made.sha256


def run(folder: Path) -> int:
    """Rerank the task's list."""
    from rerank_bench.cli import main

    command = ["run", "--task", str(folder / "task"), "--profile", "bm25", "--reranker"]
    command += ["cross-encoder", "--engine", "fake", "--out", str(folder / "runs")]
    main([*command, "--cache", str(folder / "replies"), "--json"], standalone_mode=False)
    return (folder / "replies" / "replies.sqlite").stat().st_size


def report(folder: Path) -> None:
    """Report on the run."""
    from rerank_bench.cli import main

    main(["report", str(folder / "runs"), "--json"], standalone_mode=False)


STEPS: dict[str, Callable[[Path], Any]] = {
    "load": lambda folder: load(folder).source.sha256,
    "bm25": lambda folder: pool(folder, "bm25()"),
    "dense": lambda folder: pool(folder, f"dense({folder.parent / 'encoder'})"),
    "run": run,
    "report": report,
}


def memory(field: str) -> float:
    """Return a field of this process's status in GB; only Linux has it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024 / 1e9


@contextmanager
def watched(peaks: dict[str, float]) -> Iterator[None]:
    """Store the peaks of this process's memory, looking at its own part 50 times a second."""
    ended = threading.Event()
    peaks["own_gb"] = 0.0

    def look() -> None:
        while not ended.wait(0.02):
            peaks["own_gb"] = max(peaks["own_gb"], memory("RssAnon"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        peaks["peak_gb"] = memory("VmHWM")


def measure(step: str, folder: Path) -> dict[str, Any]:
    """Run one step in this process."""
    peaks: dict[str, float] = {}
    start = time.perf_counter()
    with watched(peaks):
        result = STEPS[step](folder)
    return {**peaks, "seconds": time.perf_counter() - start, "result": result}


def measured(step: str, folder: Path) -> dict[str, Any]:
    """Run one step in a process of its own, with a cache of its own."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    environment = {**os.environ, "RERANK_BENCH_CACHE": str(folder / "cache")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def growth(rows: list[dict[str, Any]], step: str) -> dict[str, Any] | None:
    """Return bytes per passage or query between the two largest scales.

    rows: of one length of passages. At smaller scales the first part of what is stored in parts is
    not full yet.
    """
    per = PER.get(step, "queries")
    own = sorted((row for row in rows if row["step"] == step), key=lambda row: row["scale"])
    if len(own) < 2:
        return None
    one, other = own[-2:]
    size = other[per] - one[per]
    bytes_each = {k: (other[k] - one[k]) * 1e9 / size for k in ("own_gb", "peak_gb")}
    print(f"{step:8} grows by {bytes_each['own_gb']:7.0f} bytes per one of the {per}")
    return {"step": step, "per": per, "words": own[0]["words"], **bytes_each}


def main() -> None:
    """Measure every step at every scale and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--passages", type=int, help="as many at every scale")
    parser.add_argument("--words", type=int, default=56, help="of a passage, on average")
    parser.add_argument("--work", type=Path, help="keep the synthetic data here")
    parser.add_argument("--write", type=Path, default=RESULTS)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print("\n" + json.dumps(measure(given.step, given.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        rows = list(compared(given, given.work or Path(temporary)))
    store(given.write, rows)


def store(file: Path, rows: list[dict[str, Any]]) -> None:
    """Store rows beside those of other steps and sizes, with the growth of each step."""
    from rerank_bench.engines import machine
    from rerank_bench.runs.manifest import versions

    before = json.loads(file.read_text())["rows"] if file.exists() else []
    about = {"versions": versions(), "hardware": machine()}
    found = {_size(row): row for row in [*before, *({**row, **about} for row in rows)]}
    rows = sorted(found.values(), key=_size)
    sizes = dict.fromkeys((row["words"], row["step"]) for row in rows)
    grown = [growth([row for row in rows if row["words"] == n], step) for n, step in sizes]
    described = {"rows": rows, "growth": [one for one in grown if one]}
    file.write_text(json.dumps(described, indent=2) + "\n")


def _size(row: dict[str, Any]) -> tuple[Any, ...]:
    return -row["words"], list(STEPS).index(row["step"]), row["scale"], row["passages"]


def compared(given: argparse.Namespace, work: Path) -> Iterator[dict[str, Any]]:
    """Yield and print a row for each scale and step."""
    if "dense" in given.steps and not (work / "encoder").exists():
        make_encoder(work / "encoder")
    for scale in given.scales:
        queries, passages = scale * QUERIES, given.passages or scale * PASSAGES
        folder = work / f"{queries}-{passages}-{given.words}"
        if not folder.exists():
            make(folder / "task", queries, passages, given.words)
        for step in given.steps:
            row = {"scale": scale, "step": step, "queries": queries, "passages": passages}
            row |= {"words": given.words, **measured(step, folder)}
            print(
                f"{step:8} {scale:3}x {queries:7,} queries {passages:9,} passages "
                f"{row['peak_gb']:6.2f} GB peak {row['own_gb']:6.2f} GB own "
                f"{row['seconds']:7.1f} s",
                flush=True,
            )
            yield row


if __name__ == "__main__":
    main()
