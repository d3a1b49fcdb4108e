"""`plan` over whole suites that ship: all their tasks and rerankers, with tiny stand-ins.

Data sets have the names, splits and commits of the catalogue, models those of the suites. A model
has a config and a tokenizer, and weights only where vectors are computed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rerank_bench.reranking import catalogue as named
from rerank_bench.tasks import catalogue
from rerank_bench.tasks.catalog import collections
from rerank_bench.tasks.hub import HUBS

ROWS = {
    "corpus": [{"_id": f"d{n}", "text": f"apple number {n}"} for n in range(12)],
    "queries": [{"_id": "q1", "text": "which apple is number 1?"}],
    "qrels": [{"query-id": "q1", "corpus-id": "d1"}],
    "reranking_hybrid": [{"query-id": "q1", "corpus-ids": [f"d{n}" for n in range(12)]}],
}


@dataclass
class Catalogued:
    """A hub with the data sets of the catalogue; each file of a config has the same rows."""

    folder: Path
    name: str = "huggingface"
    splits: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    commits: dict[str, str | None] = field(default_factory=dict)
    fetched: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for config, rows in ROWS.items():
            lines = "".join(f"{json.dumps(row)}\n" for row in rows)
            (self.folder / f"{config}.jsonl").write_text(lines)
        for entry in catalogue().values():
            self.splits[entry.hub].append(entry.split)
            self.commits[entry.hub] = entry.revision

    def listing(self, dataset: str, revision: str | None) -> tuple[str, list[str]]:
        assert revision == self.commits[dataset]
        names = [f"{config}/{split}.jsonl" for config in ROWS for split in self.splits[dataset]]
        return revision or "1" * 40, names

    def fetch(self, dataset: str, commit: str, name: str) -> Path:
        self.fetched.add(f"{dataset}/{name}")
        return self.folder / f"{name.partition('/')[0]}.jsonl"

    def copy(self, dataset: str, revision: str | None) -> None:
        raise AssertionError(dataset)


@pytest.fixture
def tasks(tmp_path, monkeypatch) -> Catalogued:
    found = Catalogued(tmp_path)
    monkeypatch.setitem(HUBS, "huggingface", found)
    return found


def publish(hub, repository: str, folder: Path, commit: str = "", *, weights: bool = False) -> None:
    """Put a checkpoint on the hub under another name, with a context as long as any."""
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    if not weights:
        files = {name: data for name, data in files.items() if "safetensors" not in name}
    config = json.loads(files["config.json"]) | {"max_position_embeddings": 40_000}
    about = json.loads(files["tokenizer_config.json"]) | {"model_max_length": 40_000}
    if not weights:
        files["config.json"] = json.dumps(config).encode()
    files["tokenizer_config.json"] = json.dumps(about).encode()
    hub.publish(repository, files, commit)


@pytest.fixture
def models(hub, cross_encoder, qwen_judge, encoder) -> None:
    for name, folder in {
        "bge-reranker-v2-m3": cross_encoder,
        "Qwen3-Reranker-0.6B": qwen_judge,
    }.items():
        publish(hub, named()[name].model, folder, named()[name].revision)
    publish(hub, "BAAI/bge-m3", encoder, weights=True)


def test_hakari_core_is_planned_for_every_task_that_its_audit_finds_suited(call, tasks, models):
    done = call("plan", "hakari-core", "--json")
    rows = json.loads(done.stdout)["rows"]
    suited = [entry.name for entry in collections()["hakari-core"]]
    assert len(suited) == 257
    labels = ("random", "bge-reranker-v2-m3")
    assert [(row["task"], row["reranker"]) for row in rows] == [
        (task, label) for task in suited for label in labels
    ]
    assert {(row["reranker"], row["calls"], row["prompt_tokens"] > 0) for row in rows} == {
        ("random", 0, False), ("bge-reranker-v2-m3", 12, True),
    }  # fmt: skip
    assert len(tasks.fetched) == len(ROWS) * 257
    assert "Traceback" not in done.stderr


def test_mteb_two_stage_is_planned_for_every_task_and_reranker(call, tasks, models):
    done = call("plan", "mteb-two-stage")
    table = json.loads(call("plan", "mteb-two-stage", "--json").stdout)["rows"]
    assert len(table) == 8 * 2
    assert {row["profile"] for row in table} == {"dense(BAAI/bge-m3)"}
    assert {(row["reranker"], row["calls"]) for row in table} == {
        ("bge-reranker-v2-m3", 10), ("Qwen3-Reranker-0.6B", 10),
    }  # fmt: skip
    for name in ("T2Retrieval", "MMarcoRetrieval", "CmedqaRetrieval", "VideoRetrieval"):
        assert name in done.stdout
    assert "Traceback" not in done.stderr
