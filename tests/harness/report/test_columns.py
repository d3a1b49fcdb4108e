"""One list of columns: what is added there is in every table, file and mean."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from rerank_bench import load_runs
from rerank_bench.evaluation import COLUMNS, Column, Evaluation, evaluate, rules
from rerank_bench.report import (
    columns_page,
    print_compact,
    print_glossary,
    print_tables,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)
from rerank_bench.report.text import FORMATS
from rerank_bench.runs import QueryResult, Run, run_folder, write_run

DOCS = Path(__file__).parents[3] / "docs"
LENGTH = Column(
    "mean_length", "mean length", "The documents of a query, on average.", unit="documents",
    of=lambda own: sum(len(r.doc_ids) for r in own.run.results) / own.queries,
    mean=rules.per_query, show="always",
)  # fmt: skip
SPREAD = Column(
    "spread", "spread", "The largest gain minus the smallest.", "values", format="number",
    of=lambda own, measure: float(own.values.gain(measure).max() - own.values.gain(measure).min()),
    mean=rules.mean, show="filled",
)  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two tasks of one data set: pools of 4 and of 6 documents, one query each."""
    for task, pool in (("Set/a", "wxyz"), ("Set/b", "uvwxyz")):
        ranks = tuple(range(len(pool), 0, -1))
        result = QueryResult("q", tuple(pool), (0.0,) * len(pool), ranks)
        settings = {
            "task": task,
            "profile": {"asked": "bm25", "resolved": "bm25", "origin": "shipped"},
            "reranker": {"label": "r", "method": "m", "options": {}},
        }
        run = Run({"format": 1, "settings": settings}, (result,), {"q": {pool[0]: 1}})
        write_run(run_folder(tmp_path, task, "bm25", "r"), run)
    return tmp_path


@pytest.fixture
def added() -> Iterator[None]:
    """Two columns more, for the time of a test."""
    COLUMNS.extend([LENGTH, SPREAD])
    yield
    del COLUMNS[-2:]


def printed(found: Evaluation) -> str:
    screen = Console(file=io.StringIO(), width=500)
    print_tables(found, screen)
    print_glossary(screen)
    return screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("added")
def test_a_column_that_is_added_to_the_list_is_everywhere(runs: Path) -> None:
    found = evaluate([runs])
    objects = json.loads(to_json(found))
    lengths = {(one["task"], one["measure"]): one["mean_length"] for one in objects}
    assert [lengths[task, "nDCG@10"] for task in ("Set/a", "Set/b", "Set")] == [4.0, 6.0, 5.0]
    assert lengths["Set/a", "recall@100 micro"] is None
    mrr = {one["task"]: one["spread"] for one in objects if one["measure"] == "MRR@10"}
    assert mrr == dict.fromkeys(("Set/a", "Set/b", "Set"), 0.0)
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert rows[-1]["mean_length"] == "5.0"
    for text in (printed(found), to_markdown(found), columns_page()):
        assert "mean length" in text
        assert LENGTH.help in text
        assert "spread" in text
    loaded = load_runs(runs)
    assert loaded.rows["mean_length"].dropna().unique().tolist() == [4.0, 6.0]
    assert loaded.means["mean_length"].unique().tolist() == [5.0]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_column_is_complete(column: Column) -> None:
    assert column.format in FORMATS
    assert {*column.fields} <= {own.name for own in COLUMNS}
    assert bool(column.label) == bool(column.help)
    assert column.label or not column.is_written
    assert column.kind is not object or not column.is_written


def test_no_two_columns_share_a_name_or_a_label() -> None:
    for names in ([c.name for c in COLUMNS], [c.label for c in COLUMNS if c.label]):
        assert len(set(names)) == len(names)


def test_the_page_of_columns_is_what_the_list_says() -> None:
    """`make docs` writes it anew."""
    assert (DOCS / "columns.md").read_text(encoding="utf-8") == columns_page()


def test_latex_and_the_compact_table_need_only_the_gains(runs: Path) -> None:
    found = evaluate([runs])
    screen = Console(file=io.StringIO(), width=100)
    print_compact(found, screen)
    assert "+0." in screen.file.getvalue()  # type: ignore[attr-defined]
    assert "reranker & bm25" in to_latex(found)
