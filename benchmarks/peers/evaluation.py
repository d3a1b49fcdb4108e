"""A whole evaluation: thirteen tasks, three first stages, one cross-encoder, to nDCG@10.

All sides run in this process, with all imports done: they read the data sets from parquet files,
load the model, rerank and measure. Ours is the command `run`, which also writes run folders and
computes intervals and p-values. The three first stages share candidates; a pair that several of
them have is asked for once.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from cross_encoder import with_head
from nano_data import NAMES, PROFILES, NanoTask, nano_tasks, write
from side_by_side import Found, Match, Way, case, near, rounds, side_by_side

from rerank_bench.quiet import quiet

Values = Sequence[float]
ROUNDING = 1e-6
OF_MTEB = 1e-5  # which gives five decimals


def arguments(folder: Path, depth: int, profiles: Sequence[str], cache: Path) -> list[str]:
    """Return the command line of our side; every run folder is made anew."""
    out = Path(tempfile.mkdtemp(dir=folder))
    return [
        *("run", "--task", str(folder / "ours"), "--reranker", "cross-encoder"),
        *("--model", str(folder / "model"), "-o", "device=cpu", "--depth", str(depth), "--json"),
        *(part for profile in profiles for part in ("--profile", profile)),
        *("--out", str(out), "--cache", str(cache)),
    ]


def our_values(output: str, profiles: Sequence[str]) -> Values:
    """Return nDCG@10 by profile and task, from what the command prints."""
    found = {
        (row["profile"], row["task"].rpartition("/")[2]): row["natural"]
        for row in json.loads(output)
        if row["measure"] == "nDCG@10" and row["reranker"]
    }
    return [found[profile, f"Nano{name}"] for profile in profiles for name in NAMES]


def our_way(
    name: str, folder: Path, depth: int, profiles: Sequence[str], *, cold: bool
) -> Way[Values]:
    """Rerank and report by the command line's own function."""
    from rerank_bench.cli import main

    cache = folder / "cache"

    def run() -> Values:
        done = CliRunner().invoke(main, arguments(folder, depth, profiles, cache))
        if done.exit_code:
            raise SystemExit(f"rerank-bench: {done.stderr or done.exception!r}")
        return our_values(done.stdout, profiles)

    def empty() -> None:
        shutil.rmtree(cache, ignore_errors=True)

    return Way(name, run, before=empty if cold else lambda: None)


def evaluator_way(folder: Path, depth: int) -> Way[Values]:
    """Evaluate by the Nano evaluator of sentence-transformers, once for each first stage."""
    import datasets
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderNanoBEIREvaluator

    datasets.config.HF_DATASETS_CACHE = folder / "datasets"
    datasets.disable_progress_bars()

    def evaluator(profile: str) -> Any:
        return CrossEncoderNanoBEIREvaluator(
            [name.lower() for name in NAMES],
            dataset_id=str(folder / profile),
            rerank_k=depth,
            always_rerank_positives=False,
            write_csv=False,
        )

    def run() -> Values:
        with quiet():
            model = CrossEncoder(str(folder / "model"), device="cpu")
            found = {profile: evaluator(profile)(model) for profile in PROFILES}
        return [found[p][f"Nano{name}_R{depth}_ndcg@10"] for p in PROFILES for name in NAMES]

    for profile in PROFILES:  # its own copies of the data are made once
        evaluator(profile)
    return Way("sentence-transformers `CrossEncoderNanoBEIREvaluator`", run)


def mteb_task(task: NanoTask, profile: str) -> Any:
    """Return a task of mteb's second stage, with the candidates of a first one."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Nano(AbsTaskRetrieval):  # type: ignore[misc]
        metadata = TaskMetadata(
            name=task.split, description="A task of a benchmark.", type="Retrieval",
            category="t2t", dataset={"path": "a/nano", "revision": "1"}, reference=None,
            eval_splits=["test"], eval_langs=["eng-Latn"], main_score="ndcg_at_10",
            modalities=["text"], date=None, domains=None, task_subtypes=None, license=None,
            annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation=None,
        )  # fmt: skip

        def load_data(self, **_: Any) -> None:
            def table(texts: Mapping[str, str]) -> Any:
                return Dataset.from_dict({"id": [*texts], "text": [*texts.values()]})

            data = {
                "corpus": table(task.corpus),
                "queries": table(task.queries),
                "relevant_docs": {q: {d: 1} for q, d in task.positive.items()},
                "top_ranked": {q: list(own) for q, own in task.lists[profile].items()},
            }
            self.dataset, self.data_loaded = {"default": {"test": data}}, True

    return Nano()


def mteb_way(folder: Path, tasks: Sequence[NanoTask], profile: str) -> Way[Values]:
    """Evaluate the second stage by mteb, with a model of sentence-transformers."""
    import mteb
    import torch
    from sentence_transformers import CrossEncoder

    def run() -> Values:
        with quiet():
            identity = torch.nn.Identity()
            model = CrossEncoder(str(folder / "model"), device="cpu", activation_fn=identity)
            found = mteb.evaluate(
                model, [mteb_task(task, profile) for task in tasks], cache=None,
                co2_tracker=False, show_progress_bar=False,
            )  # fmt: skip
        values = {r.task_name: r.scores["test"][0]["ndcg_at_10"] for r in found.task_results}
        return [values[task.split] for task in tasks]

    return Way("mteb, second stage", run)


def command_seconds(folder: Path, depth: int) -> float:
    """Return the seconds of the warm command in a process of its own, with all its imports."""
    start = time.perf_counter()
    program = [sys.executable, "-c", "from rerank_bench.cli import main; main()"]
    command = [*program, *arguments(folder, depth, [*PROFILES], folder / "cache")]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def prepare(folder: Path, tasks: Sequence[NanoTask]) -> None:
    """Write the data sets of both sides and the model, and import and compile what ours needs."""
    write(folder / "ours", tasks, {profile: profile for profile in PROFILES})
    for profile in PROFILES:
        write(folder / profile, tasks, {"bm25": profile})
    with quiet():
        with_head(folder / "model", 0)
    our_way("", folder, 1, ["bm25"], cold=True).run()


@case("evaluation", "mteb", "sentence-transformers")
@click.option("--queries", default=10, show_default=True, help="Of each of 13 tasks.")
@click.option("--documents", default=300, show_default=True, help="Of each task.")
@click.option("--words", default=45, show_default=True, help="Of each document.")
@click.option("--depth", default=20, show_default=True)
@rounds(1)
def evaluation(queries: int, documents: int, words: int, depth: int, rounds: int) -> Found:
    """13 tasks x 3 first stages, from files to nDCG@10."""
    tasks = nano_tasks(queries, documents, words, depth)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, tasks)
        peer = evaluator_way(folder, depth)
        cold, warm = (
            our_way(f"`run`, cache {name}", folder, depth, [*PROFILES], cold=name == "cold")
            for name in ("cold", "warm")
        )
        rows = side_by_side(
            [Match(cold, peer, 2), Match(warm, peer, 100)],
            near("nDCG@10", ROUNDING),
            rounds,
            warm_up=False,
        )
        whole = command_seconds(folder, depth)
        one = our_way("`run`, one first stage, cache cold", folder, depth, ["bm25"], cold=True)
        second = [Match(one, mteb_way(folder, tasks, "bm25"), 1.5)]
        rows += side_by_side(second, near("nDCG@10", OF_MTEB), rounds, warm_up=False)
    return Found(rows, {**counted(tasks), "seconds_of_the_warm_command": whole})


def counted(tasks: Sequence[NanoTask]) -> dict[str, int]:
    """Count the pairs of all lists, and those that differ."""
    lists = [(q, p, own[q]) for t in tasks for p, own in t.lists.items() for q in own]
    return {
        "pairs": sum(len(own) for _, _, own in lists),
        "different_pairs": len({(q, d) for q, _, own in lists for d in own}),
    }
