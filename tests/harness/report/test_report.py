from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rerank_bench.errors import BadData
from rerank_bench.evaluation import (
    MACRO,
    MEASURES,
    MICRO,
    ClaimRow,
    Evaluation,
    evaluate,
    load_claims,
)
from rerank_bench.report import (
    notes,
    print_compact,
    print_tables,
    to_csv,
    to_json,
    to_markdown,
)
from rerank_bench.report.compact import matrices
from rerank_bench.reranking import Usage
from rerank_bench.runs import QueryResult, Run, run_folder, write_run

KEYS = [
    "task", "profile", "origin", "reranker", "measure", "queries", "first_stage", "natural",
    "safeguarded", "ceiling", "ceiling_safeguarded", "gain", "gain_low", "gain_high",
    "gain_safeguarded", "safeguards", "decided", "failed", "calls_per_query", "rounds",
    "prompt_tokens", "output_tokens", "seconds", "from_cache",
]  # fmt: skip


def store(
    root: Path,
    *,
    task: str = "toy",
    profile: str = "bm25",
    label: str = "flip",
    counts: Mapping[str, int] | None = None,
    **more: Any,
) -> Path:
    """One query whose positive moves from rank 2 to rank 1, one query with a safeguard first."""
    settings = {
        "task": task,
        "profile": {"asked": profile, "resolved": "bm25()", "origin": "computed"},
        "reranker": {"label": label, "method": "flip", "options": {}},
        "engine": {"name": "fake"},
        "depth": None,
        "min_grade": 1,
        "queries": None,
        **more,
    }
    spent = Usage(3, 2, 12_345, 6, 0, 1, 1.25)
    results = (
        QueryResult("1", ("a", "x"), (1.0, 0.0), (2, 1), usage=spent, counts=counts or {}),
        QueryResult("2", ("s", "y"), (1.0, 0.0), (2, 1), safeguard="s", counts=counts or {}),
    )
    qrels = {"1": {"a": 1}, "2": {"s": 1}}
    folder = run_folder(root, task, profile, label)
    write_run(
        folder, Run({"format": 1, "settings": settings, "published": PUBLISHED}, results, qrels)
    )
    return folder


PUBLISHED = {"bm25()": {"nDCG@10": 0.25, "recall@100": 0.5}}


def printed(root: Path, **console: Any) -> str:
    screen = Console(file=io.StringIO(), **console)
    print_tables(evaluate([root]), screen)
    text: str = screen.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_json_has_one_object_per_number_and_the_promised_keys_first(tmp_path: Path) -> None:
    store(tmp_path)
    objects = json.loads(to_json(evaluate([tmp_path])))
    assert all(list(one)[: len(KEYS)] == KEYS for one in objects)
    hit = next(one for one in objects if one["measure"] == "hit@10")
    assert {key: hit[key] for key in KEYS} == {
        "task": "toy",
        "profile": "bm25",
        "origin": "computed",
        "reranker": "flip",
        "measure": "hit@10",
        "queries": 2,
        "first_stage": 0.5,
        "natural": 0.5,
        "safeguarded": 1.0,
        "ceiling": 0.5,
        "ceiling_safeguarded": 1.0,
        "gain": 0.0,
        "gain_low": None,
        "gain_high": None,
        "gain_safeguarded": 0.5,
        "safeguards": 1,
        "decided": 1,
        "failed": 0,
        "calls_per_query": 1.5,
        "rounds": 1.0,
        "prompt_tokens": 12345,
        "output_tokens": 6,
        "seconds": 1.25,
        "from_cache": 1,
    }
    mrr = next(one for one in objects if one["measure"] == "MRR@10")
    assert (mrr["first_stage"], mrr["natural"], mrr["gain"]) == (0.25, 0.5, 0.25)
    recall = [one for one in objects if one["reranker"] is None]
    assert [(one["measure"], one["first_stage"]) for one in recall] == [
        ("recall@100 micro", 0.5),
        ("recall@100 macro", 0.5),
    ]


def test_csv_has_the_same_rows_and_the_settings_of_the_run(tmp_path: Path) -> None:
    store(tmp_path, label='a,"b"')
    text = to_csv(evaluate([tmp_path]))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0])[: len(KEYS)] == KEYS
    assert {"cached_tokens", "invalid", "resolved", "engine", "depth", "published"} <= set(rows[0])
    assert len(rows) == 6
    hit = next(row for row in rows if row["measure"] == "hit@10")
    assert (hit["reranker"], hit["natural"], hit["engine"]) == ('a,"b"', "0.5", "fake")
    assert next(row for row in rows if row["measure"] == "recall@100 macro")["gain"] == ""


def test_an_invalid_run_is_marked_everywhere_with_the_reason(tmp_path: Path) -> None:
    store(tmp_path, label="good", counts={"generations": 10, "repaired": 2})
    store(tmp_path, label="bad", counts={"generations": 10, "repaired": 3})
    found = evaluate([tmp_path])
    objects = {one["reranker"]: one for one in json.loads(to_json(found))}
    assert objects["good"]["invalid"] is None
    assert objects["bad"]["invalid"] == "answers repaired or unusable: 6 of 20"
    for text in (to_markdown(found), printed(tmp_path)):
        words = " ".join(html.unescape(text).replace("\\", "").split())
        assert "bad (fake engine, invalid)" in words
        assert "good (fake engine) (invalid)" not in words
        assert "bad after bm25: invalid by answers repaired or unusable: 6 of 20." in words
        assert "4 of 20 answers repaired" in words


def test_markdown_is_the_golden_one(tmp_path: Path) -> None:
    store(tmp_path)
    expected = (Path(__file__).parent / "golden.md").read_text(encoding="utf-8")
    assert to_markdown(evaluate([tmp_path])) == expected


def test_a_pipe_gets_the_golden_tables(tmp_path: Path) -> None:
    store(tmp_path)
    expected = (Path(__file__).parent / "golden.txt").read_text(encoding="utf-8")
    lines = [line.rstrip() for line in printed(tmp_path).splitlines()]
    assert "\n".join(lines) + "\n" == expected


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_number_is_cut_on_a_narrow_terminal(tmp_path: Path, width: int) -> None:
    store(tmp_path)
    screen = {"width": width, "force_terminal": True, "no_color": True, "color_system": None}
    text = printed(tmp_path, **screen)
    assert "…" not in text
    for number in ("0.3155", "+0.1845", "[-2.160, +2.529]", "12.3k / 6", "1 / 1"):
        assert number in text
    assert max(map(len, text.splitlines())) <= width


def test_rerankers_are_sorted_best_first_within_their_profile(tmp_path: Path) -> None:
    store(tmp_path, label="zebra")
    store(tmp_path, label="apple", min_grade=2)  # nothing is a positive, so all is 0
    text = printed(tmp_path)
    assert text.index("zebra") < text.index("apple")


def test_a_data_sets_mean_comes_first_and_names_who_is_left_out(tmp_path: Path) -> None:
    for task in ("Set/a", "Set/b"):
        store(tmp_path, task=task)
    store(tmp_path, task="Set/a", label="late")
    text = printed(tmp_path)
    assert text.startswith("Set, mean of 2 tasks · after bm25 = bm25() (computed) · nDCG@10")
    assert "Left out after bm25, with 1 of 2 tasks: late." in text


def test_text_from_data_controls_neither_terminal_nor_markdown(tmp_path: Path) -> None:
    store(tmp_path, task="t[bold]\x1b[31m", profile="p|<b>\u202e", label="[red]*r*`\n# x")
    text = printed(tmp_path)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"t[bold]\x1b[31m" in text
    assert r"[red]*r*`\x0a# x" in text
    markdown = to_markdown(evaluate([tmp_path]))
    assert r"p\|&lt;b&gt;" in markdown
    assert r"\[red\]\*r\*\`\\x0a# x" in markdown
    assert "<" not in markdown
    assert "\x1b" not in markdown


def test_depth_and_fake_engine_are_shown_with_the_name(tmp_path: Path) -> None:
    store(tmp_path, depth=20)
    assert "flip (first 20, fake engine)" in printed(tmp_path)


def test_a_cut_of_all_documents_is_noted_once_and_of_some_with_their_names(tmp_path: Path) -> None:
    store(tmp_path / "a", max_doc_chars=600)
    assert "Documents were cut to 600 characters for all." in printed(tmp_path / "a")
    store(tmp_path / "a", label="whole")
    assert "cut to 600 characters for flip (fake engine)." in printed(tmp_path / "a")
    store(tmp_path / "b", max_doc_tokens=64)
    assert "Documents were cut to 64 tokens for all." in printed(tmp_path / "b")


def test_several_roots_are_one_report_and_none_is_an_error(tmp_path: Path) -> None:
    folder = store(tmp_path / "a")
    store(tmp_path / "b", label="other")
    found = evaluate([tmp_path / "a", tmp_path / "b", folder])
    assert set(found.runs["reranker"]) == {"flip", "other"}
    (tmp_path / "none").mkdir()
    with pytest.raises(BadData, match=r"no finished run in .*none"):
        evaluate([tmp_path / "none"])


def test_published_figures_are_compared_with_measured_ones() -> None:
    claim = load_claims()[0]
    values = {0.665: "agrees", 0.66: "differs"}
    claims = [ClaimRow(claim, "t", "p", "r", own, word == "agrees") for own, word in values.items()]
    lines = to_markdown(Evaluation.of(claims=tuple(claims))).splitlines()
    assert [line.rpartition(f"{claim.measure} | ")[2] for line in lines if "0.6686" in line] == [
        "0.6686 | 0.6650 | -0.0036 | agrees |",
        "0.6686 | 0.6600 | -0.0086 | differs |",
    ]


def test_a_published_first_stage_of_equal_gains_is_shown_with_what_it_compares_with() -> None:
    row = {"task": "Set/one", "profile": "bm25", "queries": 2, "first_stage": 0.6, "ground": 1}
    rows = [row | {"measure": name} for name in (*MEASURES, MICRO, MACRO)]
    rows[0] |= {"published": 0.5123, "as_published": 0.5124}
    text = to_markdown(Evaluation.of(first_stages=rows))
    assert "0.6000 (0.5123; 0.5124)" in text
    assert "compare it with the value behind it" in text


def test_other_judgements_have_a_first_stage_of_their_own_and_a_table(tmp_path: Path) -> None:
    store(tmp_path, label="usual")
    store(tmp_path, label="strict", min_grade=2)
    words = " ".join(printed(tmp_path).split())
    assert "bm25 = bm25() computed 2 0.3155" in words
    assert "bm25 = bm25() (grades from 2) computed 2 0.0000" in words
    usual, _, strict = words.partition("other queries, pools or judgements")
    assert "strict" not in usual.replace("bm25() (grades from 2)", "")
    assert "strict (grades from 2, fake engine)" in strict


def test_two_names_of_the_same_pool_have_a_first_stage_each(tmp_path: Path) -> None:
    for profile in ("bm25", "bm25()"):
        store(tmp_path, profile=profile)
    first_stages = to_markdown(evaluate([tmp_path])).partition("first stages")[2]
    lines = first_stages.partition("###")[0].splitlines()
    assert [line.split(" | ")[0] for line in lines if "computed" in line] == [
        "| bm25 = bm25()",
        "| bm25()",
    ]


def compact(found: Evaluation, width: int = 100) -> str:
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_compact(found, screen)
    return screen.file.getvalue()  # type: ignore[attr-defined]


def test_the_compact_table_has_gains_by_first_stage_and_cost(tmp_path: Path) -> None:
    for profile in ("bm25", "dense"):
        store(tmp_path, profile=profile)
    store(tmp_path, label="bad", counts={"generations": 10, "repaired": 9})
    store(tmp_path, label="strict", min_grade=2)
    text = compact(evaluate([tmp_path]))
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["toy", "·", "2", "queries"]
    assert lines[1] == ["reranker", "bm25", "dense", "calls", "seconds"]
    assert lines[3:6] == [
        ["first", "stage", "0.3155", "0.3155"],
        ["flip", "(fake", "engine)", "+0.185", "±2.345", "+0.185", "±2.345", "1.5", "–"],
        ["bad", "(fake", "engine)", "invalid", "–", "1.5", "–"],
    ]
    apart = text[text.index("toy, not comparable with the above · 2 queries") :]
    assert apart.splitlines()[4].split()[0] == "strict"
    assert "Invalid: bad; not comparable (other queries, pools or judgements): strict." in text
    assert "--wide" in text


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"main_measure": "MAP@20"}, "main score MAP@20\n"),
        ({"main_measure": None, "main_score": "p-MRR"}, "main score p-MRR (not computed here)\n"),
    ],
)
def test_the_compact_table_names_a_main_score_and_where_its_values_are(
    tmp_path: Path, found: dict[str, Any], words: str
) -> None:
    file = store(tmp_path) / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | found))
    assert words in compact(evaluate([tmp_path]))


@pytest.mark.parametrize(("width", "profiles"), [(100, 3), (100, 7), (80, 3), (60, 2)])
def test_the_compact_table_fits_the_terminal_and_crops_names_in_the_middle(
    width: int, profiles: int
) -> None:
    names = [f"dense(maker/a-very-long-name-{i})" for i in range(profiles)]
    rows = [
        {
            "task": f"Set/{'t' * 30}", "profile": profile,
            "reranker": f"a-very-long-name-of-a-method-{r}",
            "measure": "nDCG@10", "queries": 50, "failed": 0, "first_stage": 0.4, "natural": 0.45,
            "gain": 0.05, "gain_low": 0.01, "gain_high": 0.09, "starred": True, "family": "all",
            "calls_per_query": 100.0, "seconds_per_query": 0.25,
        }
        for profile in names
        for r in range(9)
    ]  # fmt: skip
    text = compact(Evaluation.of(rows), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("+0.050 ±0.040*") == 9 * profiles
    assert "dense(m…ame-0)" in text
    assert ("a-very-long-…f-a-method-0" in text) == (profiles == 7)
    assert "is a-very-long-name-of-a-method-0 with +0.050" in " ".join(text.split())


@pytest.mark.parametrize("profiles", [1, 2, 4, 7])
def test_two_labels_never_print_alike_and_no_mark_is_cropped(tmp_path: Path, profiles: int) -> None:
    labels = [
        "Qwen3-Reranker-0.6B",
        "Qwen3-Reranker-4B",
        "a-name-much-too-long-x-to-be-shown-whole",
    ]
    labels.append(labels[-1].replace("-x-", "-y-"))
    for label in labels:
        for profile in range(profiles):
            store(tmp_path, label=label, profile=f"profile{profile}", depth=10)
    found = evaluate([tmp_path])
    (table,) = matrices(found)
    names = [row[0] for row in table.rows[1:]]
    assert len(set(names)) == len(labels)
    assert all(name.endswith(" (first 10, fake engine)") for name in names)
    text = compact(found)
    assert max(map(len, text.splitlines())) <= 100
    assert ("Qwen3-Reranker-0.6B (first 10, fake engine)" in text) == (profiles < 3)


def test_a_row_has_the_marks_of_all_its_first_stages(tmp_path: Path) -> None:
    rows = [
        {
            "task": "t", "profile": profile, "reranker": "r", "measure": "nDCG@10", "queries": 50,
            "first_stage": 0.4, "natural": 0.45, "gain": 0.05, "depth": depth, "failed": 0,
        }
        for profile, depth in (("a", None), ("b", 20))
    ]  # fmt: skip
    assert "\nr (first 20) " in compact(Evaluation.of(rows))


def test_a_set_of_many_tasks_has_one_compact_table(tmp_path: Path) -> None:
    for i in range(13):
        store(tmp_path, task=f"Set/{i}")
    text = compact(evaluate([tmp_path]))
    assert text.count("\nfirst stage ") == 1
    assert text.startswith("Set, mean of 13 tasks · 26 queries")


def test_notes_name_what_is_odd_and_not_the_totals_it_is_a_part_of() -> None:
    words = notes.format_counts(
        {"scored_queries": 50, "equal_scores": 2, "label_calls": 9, "label_tokens": 9, "labels": 18}
        | {"label_probability": 7_000_000, "label_probability_calls": 9}
    )
    assert words == "2 of 50 queries with all scores equal"
