"""What the tests against other projects' rerankers share; each skips where its peer is missing."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Neither side may ask a hub: all models are tiny, random and local.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SUBSETS = ("en", "de")


@dataclass(frozen=True)
class Twin:
    """One retrieval task twice: `task(TYPE)` makes mteb's object, `folder` has MTEB's layout.

    It has two subsets with a split `dev`, graded judgements and some titles.
    """

    folder: Path
    task: Callable[..., Any]


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory, checkpoints: Any) -> Twin:
    pytest.importorskip("mteb")
    folder = tmp_path_factory.mktemp("twin") / "Twin"
    data = {subset: _rows(checkpoints.TEXTS, seed) for seed, subset in enumerate(SUBSETS)}
    for subset, tables in data.items():
        for config, rows in tables.items():
            (folder / f"{subset}-{config}").mkdir(parents=True)
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{subset}-{config}" / "dev.jsonl").write_text(lines)
    return Twin(folder, lambda kind="Retrieval": _mteb_task(data, kind))


def _rows(texts: list[str], seed: int) -> dict[str, list[dict[str, Any]]]:
    """80 lines of documentation, of which a query has the middle words of two or three."""
    rng = random.Random(seed)
    lines = rng.sample(sorted({" ".join(text.split()[:30]) for text in texts}), 80)
    titles = ["On" if n % 3 == 0 else "" for n in range(80)]
    corpus = [{"_id": f"d{n}", "title": titles[n], "text": line} for n, line in enumerate(lines)]
    queries, qrels = [], []
    for n in range(0, 60, 4):
        queries.append({"_id": f"q{n}", "text": " ".join(lines[n].split()[2:6])})
        grades = [(n, 3), (n + 1, rng.randint(0, 2)), (79 - n, 1)]
        qrels += [{"query-id": f"q{n}", "corpus-id": f"d{d}", "score": g} for d, g in grades]
    return {"corpus": corpus, "queries": queries, "qrels": qrels}


def _mteb_task(data: dict[str, dict[str, list[dict[str, Any]]]], kind: str) -> Any:
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    def table(rows: list[dict[str, Any]]) -> Any:
        return Dataset.from_list([{"id": row["_id"], **row} for row in rows]).remove_columns("_id")

    def grades(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for row in rows:
            found.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
        return found

    class TwinTask(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Twin", description="A task of a test.", type=kind, category="t2t",
            dataset={"path": "org/twin", "revision": "1"}, reference=None, eval_splits=["dev"],
            eval_langs={"en": ["eng-Latn"], "de": ["deu-Latn"]}, main_score="ndcg_at_10",
            modalities=["text"], date=None, domains=None, task_subtypes=None, license=None,
            annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation=None,
        )  # fmt: skip

        def load_data(self, **_: Any) -> None:
            self.dataset = {
                subset: {
                    "dev": {
                        "corpus": table(own["corpus"]),
                        "queries": table(own["queries"]),
                        "relevant_docs": grades(own["qrels"]),
                        "top_ranked": None,
                    }
                }
                for subset, own in data.items()
            }
            self.data_loaded = True

    return TwinTask()
