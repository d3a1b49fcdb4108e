from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from rerank_bench.evaluation import Evaluation
from rerank_bench.inspect.replay import QueryView
from rerank_bench.report.html import to_html


def text_of(page: str, name: str) -> str:
    (packed,) = re.findall(rf'<script type="text/plain" id="block-{name}">([^<]*)</script>', page)
    return gzip.decompress(base64.b64decode(packed)).decode()


def block(page: str, name: str) -> Any:
    return json.loads(text_of(page, name))


def test_the_same_input_gives_the_same_file(found: Evaluation, views: Sequence[QueryView]) -> None:
    assert to_html(found, views) == to_html(found, views)


def test_a_report_of_nothing_is_a_page() -> None:
    assert to_html(Evaluation.of()).startswith("<!doctype html>")


def test_no_text_of_a_run_stands_in_the_markup(
    found: Evaluation, views: Sequence[QueryView], hostile: str
) -> None:
    page = to_html(found, views)
    assert "onerror" not in page
    assert "harbour" not in page
    assert hostile in block(page, "views")["texts"]


def test_the_policy_allows_the_pages_own_two_scripts_and_nothing_from_elsewhere(
    found: Evaluation,
) -> None:
    page = to_html(found)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    (script,) = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    for own in (script, text_of(page, "library")):
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.count("sha256-") == 2
    assert "http" not in policy


def test_nothing_in_the_page_points_elsewhere(found: Evaluation) -> None:
    page = to_html(found)
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    assert not re.findall(r"https?://|@import|url\(", page)


def test_the_first_block_is_enough_for_the_first_table(found: Evaluation) -> None:
    first = block(to_html(found), "first")
    assert first["groups"]["names"] == ["Nano"]
    natural = first["groups"]["values"]["nDCG@10"]["col"]["natural"]
    assert natural["list"][0] == 6000
    assert first["groups"]["left_out"] == [[["bm25", "half", "1 of 2 tasks"]]]


def test_other_measures_stand_in_blocks_of_their_own(found: Evaluation) -> None:
    page = to_html(found)
    assert block(page, "values-MAP@100")["n"] == len(found.runs)


def test_a_document_that_two_rerankers_saw_is_told_once(
    found: Evaluation, views: Sequence[QueryView]
) -> None:
    told = block(to_html(found, views), "views")
    assert len(told["views"]) == 2
    assert told["texts"].count("the harbour of 1872") == 1


def test_a_half_of_a_character_does_not_stop_the_report(found: Evaluation) -> None:
    from dataclasses import replace

    odd = replace(found.queries[0], query_id="\ud800")
    page = to_html(replace(found, queries=(odd,)))
    assert block(page, "queries")["col"]["query_id"]["of"] == ["\ud800"]
