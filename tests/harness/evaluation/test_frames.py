from __future__ import annotations

import contextlib
import io
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rerank_bench
from rerank_bench.errors import BadData
from rerank_bench.evaluation import Runs, evaluate
from rerank_bench.report import to_json
from rerank_bench.runs import QueryResult, Run, Variant, run_folder, write_run

PAGE = Path(__file__).parents[3] / "docs" / "notebook.md"


def store(root: Path, profile: str, label: str, variant: Variant | None = None) -> None:
    """Thirty queries with one positive each, in pools of 12; every tenth pool has a safeguard."""
    rng = random.Random(f"{profile} {label}")
    results = []
    for i in range(30):
        pool = [f"d{j}" for j in range(12)] if i % 10 else [f"x{j}" for j in range(11)] + ["d0"]
        ranks = {doc_id: rank for rank, doc_id in enumerate(pool, 1)}
        if label != "identity":
            rng.shuffle(pool)
        scores = (None if label == "identity" else 1.0 - j for j in range(12))
        results.append(
            QueryResult(
                f"q{i}", tuple(pool), tuple(scores), tuple(ranks[d] for d in pool),
                safeguard=None if i % 10 else "d0",
            )
        )  # fmt: skip
    settings = {
        "task": "stdlib-code",
        "profile": {"asked": profile, "resolved": profile, "origin": "computed"},
        "reranker": {"label": label, "method": label, "options": {}},
        "engine": {"name": "none"},
        "depth": None,
        "min_grade": 1,
        "queries": 30,
        **(variant.settings if variant else {}),
    }
    qrels = {f"q{i}": {f"d{i % 7 if i % 10 else 0}": 1, "other": 0} for i in range(30)}
    folder = run_folder(root, "stdlib-code", profile, label + (variant.suffix if variant else ""))
    write_run(folder, Run({"format": 1, "settings": settings}, tuple(results), qrels))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for profile in ("bm25", "dense(minilm)"):
        for label in ("identity", "minilm-late", "random", "reverse"):
            store(tmp_path / "runs", profile, label)
    return tmp_path / "runs"


def test_rows_are_those_of_the_report(runs: Path) -> None:
    frame = rerank_bench.load_runs(runs).rows
    objects = json.loads(to_json(evaluate([runs])))
    assert list(frame.columns) == list(objects[0])
    assert frame["gain"].fillna(0).tolist() == [one["gain"] or 0 for one in objects]
    assert frame[frame["reranker"].isna()]["measure"].str.startswith("recall").all()


def test_means_of_queries_are_the_rows(runs: Path) -> None:
    loaded = rerank_bench.load_runs(str(runs))
    means = loaded.queries.groupby(["profile", "reranker"])["natural"].mean()
    main = loaded.rows[loaded.rows["measure"] == "nDCG@10"].dropna(subset=["reranker"])
    reported = main.set_index(["profile", "reranker"])["natural"]
    assert means.to_dict() == pytest.approx(reported.to_dict())
    assert len(loaded.queries) == 8 * 30


def test_no_query_is_left_out_where_a_report_would(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rerank_bench.evaluation.reading.MOST_QUERIES", 100)
    assert len(evaluate([runs]).queries) == 0
    assert len(rerank_bench.load_runs(runs).queries) == 8 * 30


def test_rankings_hold_every_document_with_what_is_known_of_it(runs: Path) -> None:
    frame = rerank_bench.load_runs(runs).rankings
    assert len(frame) == 8 * 30 * 12
    own = frame[(frame["profile"] == "bm25") & (frame["query_id"] == "q10")]
    late = own[own["reranker"] == "minilm-late"]
    assert late["rank"].tolist() == list(range(1, 13))
    assert late["score"].tolist() == [1.0 - j for j in range(12)]
    safeguard = late[late["is_safeguard"]]
    assert safeguard[["doc_id", "first_stage_rank", "grade"]].values.tolist() == [["d0", 12, 1]]
    assert late["grade"].isna().sum() == 11
    assert own[own["reranker"] == "identity"]["score"].isna().all()


def test_variants_stand_in_frames_of_their_own(runs: Path) -> None:
    before = rerank_bench.load_runs(runs)
    store(runs, "bm25", "minilm-late", Variant(order="reverse"))
    store(runs, "bm25", "minilm-late", Variant(alone=True))
    after = rerank_bench.load_runs(runs)
    assert len(after.folders) == len(before.folders) + 2
    for name in ("rows", "queries", "rankings"):
        assert len(getattr(after, name)) == len(getattr(before, name))
    assert len(before.orders) == len(before.latencies) == 0
    assert after.orders["orders"].tolist() == [("first-stage", "reverse")]
    assert after.latencies["queries"].tolist() == [30]
    assert before.means.empty
    assert list(before.means.columns) == list(before.rows.columns)


def test_nothing_is_read_before_it_is_asked_for_and_then_once(runs: Path) -> None:
    loaded = rerank_bench.load_runs(runs, runs)
    assert len(loaded.folders) == 8
    assert loaded.queries is loaded.queries
    (runs / "stdlib-code" / "bm25" / "random" / "rankings.parquet").write_bytes(b"broken")
    assert len(loaded.queries) == 240
    with pytest.raises(BadData, match=r"rankings\.parquet"):
        _ = loaded.rankings


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no finished run"):
        rerank_bench.load_runs(tmp_path)
    with pytest.raises(BadData, match="no folder of runs"):
        rerank_bench.load_runs(tmp_path / "none")


def test_the_package_is_imported_without_pandas() -> None:
    code = "import rerank_bench, sys; rerank_bench.load_runs; sys.exit('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_block_of_the_notebook_page_runs_and_prints_what_it_says(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's numbers are of other runs, so only the heads of what is printed are compared."""
    monkeypatch.chdir(runs.parent)
    pairs = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
    assert len(pairs) == PAGE.read_text().count("```python") >= 7
    names: dict[str, object] = {}
    for code, shown in pairs:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)  # noqa: S102
        assert printed.getvalue().split("\n")[0].split() == shown.split("\n")[0].split()


def test_the_notebook_page_names_every_frame() -> None:
    frames = [name for name in vars(Runs) if not name.startswith("_") and name != "folders"]
    assert len(frames) == 10
    assert [name for name in frames if f"`runs.{name}`" not in PAGE.read_text()] == []
