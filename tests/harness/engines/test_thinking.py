"""Think blocks of every kind are found, closed and kept out of answers."""

from __future__ import annotations

import pytest

from rerank_bench.engines import thoughts
from rerank_bench.engines.thinking import BLOCKS, answer_after_thoughts, closing, open_marker

KINDS = [pair for pair in BLOCKS if "<|channel|>" not in pair[0]]


@pytest.mark.parametrize(("opener", "closer"), KINDS)
def test_a_closed_block_is_not_open_and_its_content_is_no_answer(opener: str, closer: str) -> None:
    text = f"{opener}well{closer}[1]"
    assert open_marker(text) is None
    assert answer_after_thoughts(text) == "[1]"
    assert thoughts(text) == ["well"]


@pytest.mark.parametrize(("opener", "closer"), BLOCKS)
def test_an_open_block_is_found_and_closing_it_leaves_none_open(opener: str, closer: str) -> None:
    assert open_marker(f"say {opener}\n") == opener
    assert answer_after_thoughts(f"{opener}[1]") == ""
    assert open_marker(opener + closing(opener, opener)) is None
    assert closer in closing(opener, opener)


def test_markers_are_found_in_upper_and_lower_case() -> None:
    assert open_marker("<Think>") == "<Think>"
    assert thoughts("<THINK>well</think>[1]") == ["well"]


def test_a_text_without_a_block_is_all_answer() -> None:
    assert answer_after_thoughts("[2] > [1]") == "[2] > [1]"
    assert thoughts("[2] > [1]") == []


def test_a_block_that_the_template_opened_shows_only_its_end() -> None:
    assert answer_after_thoughts("well</think>[1]") == "[1]"
