"""The page's class that wraps any reranker of the package rerankers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rerank_bench import load_run
from rerank_bench.cli import main
from rerank_bench.runs import Run

pytest.importorskip("rerankers")

PAGE = Path(__file__).parents[2] / "docs" / "other-tools.md"


@pytest.fixture
def data(beir: Any, checkpoints: Any) -> Path:
    lines = [" ".join(text.split()[:20]) for text in checkpoints.TEXTS[:30]]
    queries = {f"q{n}": f"the of {lines[n]}" for n in range(0, 30, 5)}
    corpus = {f"d{n}": line for n, line in enumerate(lines)}
    folder: Path = beir(queries, corpus, {q: {f"d{q[1:]}": 1} for q in queries})
    return folder


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "from rerankers import" in block]
    (tmp_path / "theirs.py").write_text(code)
    return tmp_path / "theirs.py"


def run(data: Path, out: Path, reranker: str, *flags: object, exit_code: int = 0) -> str:
    arguments = ["run", "--task", data, "--profile", "bm25()", "--out", out, "--no-cache", *flags]
    done = CliRunner().invoke(main, [*map(str, arguments), "--reranker", reranker])
    assert done.exit_code == exit_code, done.output
    return done.stderr


def results(out: Path, label: str) -> Run:
    return load_run(out / "data" / "test" / "bm25%28%29" / label)


def test_a_cross_encoder_of_theirs_ranks_as_ours_does(
    data: Path, theirs: Path, cross_encoder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    run(data, out, f"{theirs}:Theirs:name={cross_encoder},kind=cross-encoder,as=theirs")
    run(data, out, "cross-encoder:as=ours", "--model", cross_encoder)
    pairs = zip(results(out, "theirs").results, results(out, "ours").results, strict=True)
    for their, our in pairs:
        assert their.doc_ids == our.doc_ids
        assert len(set(our.scores)) > 1
    assert results(out, "theirs").manifest["seconds"] == 0


def test_a_ranking_without_scores_is_turned_into_scores(
    data: Path, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rerankers.documents import Document
    from rerankers.results import RankedResults, Result

    import rerankers

    class ById:
        def rank(self, query: str, docs: list[str], doc_ids: list[int]) -> RankedResults:
            order = sorted(doc_ids, key=lambda place: docs[place])
            found = [Result(Document(docs[n], doc_id=n), rank=r) for r, n in enumerate(order, 1)]
            return RankedResults(found, query)

    monkeypatch.setattr(rerankers, "Reranker", lambda *_, **__: ById())
    run(data, tmp_path / "runs", f"{theirs}:Theirs:name=any,as=theirs")
    corpus = {}
    for line in (data / "corpus.jsonl").read_text().splitlines():
        row = json.loads(line)
        corpus[row["_id"]] = row["text"]
    for result in results(tmp_path / "runs", "theirs").results:
        texts = [corpus[doc_id] for doc_id in result.doc_ids]
        assert texts == sorted(texts)


def test_a_model_that_rerankers_cannot_load_stops_the_run(
    data: Path, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rerankers

    monkeypatch.setattr(rerankers, "Reranker", lambda *_, **__: None)
    told = run(data, tmp_path / "runs", f"{theirs}:Theirs:name=any", exit_code=1)
    assert "rerankers cannot load any" in told
