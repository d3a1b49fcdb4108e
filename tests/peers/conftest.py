"""What the tests against other projects' rerankers share; each skips where its peer is missing."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

# Neither side may ask a hub: all models are tiny, random and local.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# `python -m pytest` puts our root on the path, where `rerankers/` would hide the package.
_ROOT = Path(__file__).parents[2]
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _ROOT]


@pytest.fixture(scope="session")
def query() -> str:
    return "how do I name the class of an object"


@pytest.fixture(scope="session")
def documents(checkpoints: Any) -> list[str]:
    """Real sentences of different lengths, so that batches are padded."""
    lines = checkpoints.TEXTS
    return [*lines[:12], "one", " ".join(lines[100:104]), "naïve 日本語 text"]


@pytest.fixture(scope="session")
def shares() -> Callable[[Sequence[float]], list[float]]:
    """What log-odds are as probabilities, in which some packages score."""
    return lambda scores: [1 / (1 + math.exp(-score)) for score in scores]


@pytest.fixture(scope="session")
def ours() -> Callable[..., list[float]]:
    """Score documents by this package, in their order: `ours(name, folder, query, documents)`."""
    from rerank_bench import rerank

    def score(
        name: str,
        folder: Path,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        **options: Any,
    ) -> list[float]:
        given = {"model": str(folder), "device": "cpu", "dtype": "float32", **options}
        ranked = rerank(query, documents, reranker=name, options=given, instruction=instruction)
        scores = {document.index: document.score for document in ranked}
        return [scores[place] for place in range(len(documents))]

    return score
