"""Run by test_pylate.py in a process of its own: pylate saves checkpoints, loads and scores them.

pylate 1.6 needs sentence-transformers 5.3, which stands in a folder of its own. The one argument is
a JSON file: queries, documents and cases.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"PYLATE_SCORES_BACKEND": "torch", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
from pylate.models import ColBERT, Dense
from pylate.rank import rerank
from pylate.scores import colbert_scores
from sentence_transformers.models import Transformer


def save(folder: str, base: str, layers: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Save a checkpoint of random linear layers behind the encoder `base`."""
    torch.manual_seed(31)
    dense = [
        Dense(**{**layer, "activation_function": getattr(torch.nn, layer["activation_function"])()})
        for layer in layers
    ]
    ColBERT(modules=[Transformer(base), *dense], device="cpu", **settings).save(folder)


def ask(folder: str, queries: list[str], documents: list[str]) -> dict[str, np.ndarray]:
    """Vectors of each text, scores of each pair by itself, and scores of all documents at once."""
    torch.manual_seed(32)
    model = ColBERT(folder, device="cpu")
    q = model.encode(queries, is_query=True, show_progress_bar=False)
    d = model.encode(documents, is_query=False, show_progress_bar=False)
    alone = [[colbert_scores(one[None], other[None]).item() for other in d] for one in q]
    ids = list(range(len(documents)))
    ranked = rerank([ids] * len(q), q, [d] * len(q))
    together = [[r["score"] for r in sorted(found, key=lambda r: r["id"])] for found in ranked]
    vectors = {f"{kind}{i}": v for kind, part in (("q", q), ("d", d)) for i, v in enumerate(part)}
    return {**vectors, "alone": np.array(alone), "together": np.array(together)}


def main() -> None:
    """Answer every case in a file beside its folder."""
    asked = json.loads(Path(sys.argv[1]).read_text())
    for case in asked["cases"]:
        folder = case["folder"]
        save(folder, case["base"], case["layers"], case["settings"])
        config = Path(folder) / "config_sentence_transformers.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **case["changed"]}))
        found = ask(folder, asked["queries"], asked["documents"])
        np.savez(f"{folder}.npz", **found)


if __name__ == "__main__":
    main()
