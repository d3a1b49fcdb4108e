"""The file: its content, what it allows, and that no text of a run is markup."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.errors import RerankBenchError
from rerank_bench.evaluation import COLUMNS, MEASURES, Column, Evaluation
from rerank_bench.inspect.exchanges import Exchange
from rerank_bench.inspect.replay import QueryView
from rerank_bench.report.html import page as page_file
from rerank_bench.report.html import to_html
from rerank_bench.report.html.pack import column
from rerank_bench.report.html.views import about, visible


def text_of(page: str, name: str) -> str:
    (packed,) = re.findall(rf'<script type="text/plain" id="block-{name}">([^<]*)</script>', page)
    return gzip.decompress(base64.b64decode(packed)).decode()


def block(page: str, name: str) -> Any:
    return json.loads(text_of(page, name))


def unpacked(packed: Any) -> list[Any]:
    return [packed["of"][at] for at in packed["at"]] if isinstance(packed, dict) else packed


def test_the_same_input_gives_the_same_file(
    text: str, found: Evaluation, views: Sequence[QueryView]
) -> None:
    assert to_html(found, views) == text


def test_documents_are_packed_and_names_are_escaped(text: str, hostile: str) -> None:
    assert "harbour" not in text
    assert "<img" not in text
    assert "&lt;img src=x onerror" in text
    assert hostile in block(text, "texts")["texts"]


def test_the_policy_allows_the_pages_own_scripts_alone(text: str) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    (script,) = re.findall(r'<script type="module">(.*?)</script>', text, re.DOTALL)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    own = [script, text_of(text, "datatables"), text_of(text, "plotly")]
    digests = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in own]
    assert re.findall(r"'sha256-([^']*)'", policy) == digests
    assert "http" not in policy
    assert "unsafe" not in policy.partition("style-src")[0]


def test_nothing_in_the_page_points_elsewhere(text: str) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", text)
    assert not re.findall(r"https?://|@import|url\(", text)


def test_a_package_without_a_table_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_file, "_bundle", lambda name: "export { table as Table };")
    with pytest.raises(RerankBenchError, match="install another version of itables"):
        page_file.datatables()


def test_values_of_each_measure_are_a_block_that_names_its_runs(text: str) -> None:
    runs = block(text, "report")["runs"]["tasks"]
    for name in MEASURES:
        values = block(text, f"values-{name}")["tasks"]
        assert values["col"]["run"] == list(range(runs["n"]))


@pytest.fixture
def luck() -> Iterator[str]:
    """A column that is added to the list and nowhere else."""
    new = Column("luck", "luck", "How lucky it was.", kind=float, format="share", show="always")
    COLUMNS.append(new)
    yield new.name
    COLUMNS.remove(new)


def test_a_new_column_of_the_list_is_in_the_page(found: Evaluation, luck: str) -> None:
    runs = replace(found.results, runs=found.results.runs.assign(luck=0.5))
    report = block(text := to_html(replace(found, results=runs)), "report")
    assert unpacked(report["runs"]["tasks"]["col"][luck])[0] == 0.5
    (tasks,) = (own for own in report["sections"] if own["id"] == "tasks")
    assert luck in tasks["columns"]
    assert luck not in tasks["hidden"]
    assert "How lucky it was." in text


def test_without_a_script_there_are_sentences_and_a_table(text: str) -> None:
    static = text.partition("<noscript>")[2].partition("</noscript>")[0]
    assert "Nano, mean of 2 tasks · 100 queries" in static
    cells = [re.sub(r"<[^>]*>", "|", line).strip("|") for line in static.splitlines()]
    assert "good||+0.200 ±0.040*||+0.200 ±0.040*||100||0.5" in cells
    assert "Best is good with" in text
    assert "half: no mean, with 1 of 2 tasks" in text


def test_a_report_of_nothing_is_a_page() -> None:
    assert to_html(Evaluation.of()).startswith("<!doctype html>")


def test_a_document_that_two_rerankers_saw_is_written_once(text: str) -> None:
    texts = block(text, "texts")
    assert len(texts["views"]) == 2
    assert texts["texts"].count("the harbour of 1872") == 1


def test_a_half_of_a_character_is_shown_by_its_code(found: Evaluation) -> None:
    odd = replace(found.queries[0], query_id="\ud800")
    queries = block(to_html(replace(found, queries=(odd,))), "report")["frames"]["queries"]
    assert queries["col"]["query_id"]["of"] == [r"\u{d800}"]


@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "é"]))).filter(any))
def test_texts_are_packed_once_each(values: list[str | None]) -> None:
    packed = column(values)
    assert unpacked(packed) == values
    assert len(packed["of"]) == len(set(values))


@given(st.lists(st.floats(-1, 1)))
def test_numbers_keep_the_digits_that_reports_show(values: list[float]) -> None:
    assert all(abs(a - b) < 5.1e-5 for a, b in zip(column(values), values, strict=True))


def test_what_is_no_number_is_missing() -> None:
    assert column([1.5, float("inf"), float("nan"), None, True]) == [1.5, None, None, None, 1]


def test_control_characters_and_overrides_are_shown_and_ordinary_text_stays() -> None:
    ordinary = "line\nשלום\tمی\u200cخواهم"
    assert visible(ordinary) == ordinary
    assert visible("a\u202eb\x1b[31m\x00\u2067") == r"a\u{202e}b\x1b[31m\x00\u{2067}"


LONG = "A harbour is where ships lie; this one was built by the old town. "
TEXTS = (LONG * 3 + "the end", LONG * 3 + "another end", "harbour", "")


@pytest.mark.parametrize(
    ("request_type", "prompt", "documents"),
    [
        ("PairScore", f"query: harbour\ndocument: {LONG * 3}the e", [0]),
        ("PairScore", f"query: {LONG}\ndocument: {LONG * 3}another", [1]),
        ("PairScore", "query: harbour\ndocument: harbour", [2]),
        ("Generate", f"A: {TEXTS[0]}\nB: {TEXTS[1]}", [0, 1]),
        ("Generate", "no document", []),
    ],
)
def test_a_request_names_its_documents(
    request_type: str, prompt: str, documents: list[int]
) -> None:
    assert about(Exchange(1, request_type, prompt, "1"), TEXTS) == documents
