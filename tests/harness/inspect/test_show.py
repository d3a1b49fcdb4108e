from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
from rich.console import Console

from rerank_bench import BadData, UnknownName
from rerank_bench.engines import fake
from rerank_bench.inspect import show as showing
from rerank_bench.inspect.exchanges import Exchange
from rerank_bench.inspect.replay import QueryView, ViewDocument
from rerank_bench.runs import find_runs
from rerank_bench.suite import run_suite


def document(name, after, *, before=None, text="some text", score=1.0, grade=None, safeguard=False):
    before, positive = before or after, bool(grade)
    return ViewDocument(name, text, before, after, score, grade, positive, safeguard)


def view(documents, *exchanges, reranker="listwise", **changes):
    made = QueryView(
        "set/task", "bm25", reranker, "q1", "what is it?", tuple(documents), exchanges,
        {"repaired": 1}, None, 0.5, 0.25,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def printed(*views, width=80, whole=False, colour=None):
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=bool(colour), color_system=colour)
    showing.print_views(views, console, whole=whole)
    return stream.getvalue()


def line(text, part):
    (found,) = [line for line in text.splitlines() if part in line]
    return found.split()


HOSTILE = "evil\x1b[31m\u202etxt\x07 [bold]<script>alert(1)</script>\x9b2J"


def test_hostile_texts_control_no_terminal():
    exchange = Exchange(1, HOSTILE, HOSTILE + "\n\tnext", HOSTILE, repaired=True)
    shown = view(
        [document(HOSTILE, 1, text=HOSTILE)], exchange, exchange,
        task=HOSTILE, query_id=HOSTILE, query=HOSTILE, reranker=HOSTILE, profile=HOSTILE,
        counts={HOSTILE: 1}, failed=HOSTILE, notes=(HOSTILE,),
    )  # fmt: skip
    for whole in (False, True):
        for views in ([shown], [shown, shown]):
            text = printed(*views, width=200, whole=whole)
            assert all(c.isprintable() or c == "\n" for c in text)
            assert "\\x1b[31m" in text
            assert "<script>alert(1)</script>" in text
            assert "[bold]" in text


def test_json_of_hostile_texts_is_plain_ascii(monkeypatch, capsys, tmp_path):
    shown = view([document("d", 1, text=HOSTILE)])
    monkeypatch.setattr(showing, "named_run", lambda name, root: tmp_path)
    monkeypatch.setattr(showing, "replay", lambda folder, ids, cache: iter([shown]))
    showing.show("run", "q1", as_json=True)
    out = capsys.readouterr().out
    assert all(" " <= c <= "~" or c == "\n" for c in out)
    assert json.loads(out)[0]["documents"][0]["text"] == HOSTILE


@pytest.mark.parametrize("width", [80, 160])
def test_ranks_moves_and_marks_are_shown_in_full_at_any_width(width):
    documents = [
        document("up", 1, before=12, score=-1.25, grade=2),
        document("down", 2, before=1, score=3.0, grade=0),
        document("safe", 3, before=101, score=None, grade=1, safeguard=True),
        document("still", 4, score=None),
    ]
    text = printed(view(documents), width=width)
    assert line(text, " up ")[:7] == ["12", "1", "▲11", "-1.2500", "2", "●", "up"]
    assert line(text, " down ")[:6] == ["1", "2", "▼1", "3", "0", "down"]
    assert line(text, " safe ")[:7] == ["101", "3", "▲98", "–", "1", "●S", "safe"]
    assert line(text, " still ")[:6] == ["4", "4", "=", "–", "–", "still"]
    assert max(map(len, text.splitlines())) <= width


def test_the_heading_has_the_gain_counts_and_notes():
    text = printed(view([document("d", 1)], notes=("ids without texts: gone",), failed="no room"))
    assert "bm25 · listwise   nDCG@10 0.5000 → 0.2500 (-0.2500)" in text
    assert "counted: repaired 1" in text
    assert "note: ids without texts: gone" in text
    assert "failed, so in first-stage order: no room" in text


def test_deep_ranks_are_left_out_but_no_positive_and_no_safeguard():
    documents = [document(f"d{i}", i, grade=1 if i == 50 else None) for i in range(1, 100)]
    documents.append(document("d100", 100, safeguard=True))
    left_out = printed(view(documents))
    shown = re.findall(r"\bd(\d+)\b|… (\d+) more", left_out)
    ranks = [(str(rank), "") for rank in range(1, 21)]
    assert shown == [*ranks, ("", "29"), ("50", ""), ("", "49"), ("100", "")]
    whole = printed(view(documents), whole=True)
    assert re.findall(r"\bd(\d+)\b", whole) == [str(rank) for rank in range(1, 101)]
    assert "… 10 more" in printed(view(documents[:30]))


def test_two_runs_are_shown_side_by_side_where_there_is_room():
    prompts = "the first prompt", "another prompt"
    one, two = (Exchange(1, "Generate", prompt, "yes") for prompt in prompts)
    documents = [document("doc-a", 1, before=2, score=5.5), document("doc-b", 2, before=1)]
    others = [document("doc-b", 1, score=7.5), document("doc-c", 2, score=6.5)]
    views = view(documents, one), view(others, two, reranker="other")
    wide, narrow = printed(*views, width=160), printed(*views)
    assert line(wide, "doc-a ")[:9] == ["2", "1", "▲1", "5.5000", "–", "–", "–", "–", "doc-a"]
    assert line(wide, "doc-b ")[:8] == ["1", "2", "▼1", "1", "1", "=", "7.5000", "–"]
    assert line(wide, "doc-c ")[:8] == ["2", "–", "–", "–", "2", "=", "6.5000", "–"]
    assert line(narrow, "doc-b ")[:7] == ["1", "2", "▼1", "1", "=", "–", "doc-b"]
    assert "A: bm25 · listwise" in narrow
    assert "B: bm25 · other" in narrow
    for text, in_one_line in ((wide, True), (narrow, False)):
        assert any(all(p in row for p in prompts) for row in text.splitlines()) is in_one_line
        assert prompts[1] in text


def test_pools_that_differ_have_their_own_ranks_before():
    one, two = view([document("doc-a", 1)]), view([document("doc-a", 1, before=9)], profile="dense")
    found = line(printed(one, two, width=160), "doc-a ")[:8]
    assert found == ["1", "1", "=", "1", "9", "1", "▲8", "1"]


def test_a_repaired_answer_is_marked_in_words_and_in_colour():
    repaired = Exchange(1, "Generate", "prompt", "1] > [1]", repaired=True)
    correct = Exchange(2, "Generate", "prompt", "2] > [1]")
    text = printed(view([document("a", 1)], repaired, correct))
    assert text.count("REPAIRED OR UNUSABLE") == 1
    assert text.index("REPAIRED OR UNUSABLE") < text.index("1] > [1]")
    assert "\x1b[1;30;43mREPAIRED" in printed(view([document("a", 1)], repaired), colour="standard")


def test_a_long_prompt_is_shown_by_its_first_and_last_lines():
    prompt = "\n".join(f"line {i}" for i in range(40))
    shown = view([document("a", 1)], Exchange(1, "Generate", prompt, "x" * 1500))
    text, whole = printed(shown), printed(shown, whole=True)
    for part in ("line 0\n", "line 39", "24 lines more", "500 characters more"):
        assert part in text
    assert "line 20" not in text
    assert "line 20" in whole
    assert "more; --whole" not in whole


def test_a_round_of_many_shows_where_its_requests_differ():
    prompts = [f"query: q\ndocument: text {i} end" for i in range(30)]
    exchanges = [Exchange(1, "PairScore", p, f"{i}.5") for i, p in enumerate(prompts)]
    text = printed(view([document("a", 1)], *exchanges))
    assert "round 1 · 30 × PairScore, the first:" in text
    assert line(text, " 7.5")[:3] == ["8", "7", "7.5"]
    assert "… 10 more" in text
    assert printed(view([document("a", 1)], *exchanges), whole=True).count("→ ") == 31
    assert printed(view([document("a", 1)], *exchanges[7:8] * 2)).count("7.5") == 3


@pytest.fixture
def runs(suite_of, beir, tmp_path):
    texts = {f"d{i}": f"apple number {i}" for i in range(5)}
    names = ("identity", "pointwise")
    for name in ("one", "two"):
        data = beir({"q1": "apple"}, texts, {"q1": {"d3": 1}}, name=name)
        run_suite(suite_of(data, *names, engine="fake", profiles=("rrf(bm25,bm25)",)))
    return tmp_path / "runs"


def test_a_run_is_named_by_its_folder_or_by_task_profile_and_label(runs):
    folder = find_runs(runs)[0]
    assert showing.named_run(str(folder), runs) == folder
    assert showing.named_run("one/test/rrf(bm25,bm25)/identity", runs) == folder
    assert showing.named_run(folder.relative_to(runs).as_posix(), runs) == folder
    with pytest.raises(UnknownName, match=r"did you mean one/test/rrf\(bm25,bm25\)/identity"):
        showing.named_run("one/test/rrf(bm25,bm25)/identiti", runs)
    with pytest.raises(UnknownName, match="unknown run"):
        showing.named_run("one/test", runs / "none")


def test_show_prints_one_query_of_two_runs_and_calls_no_engine(runs, tmp_path, monkeypatch, capsys):
    def refuse(request):
        raise AssertionError(request)

    monkeypatch.setattr(fake, "overlap", refuse)
    names = [f"one/test/rrf(bm25,bm25)/{label}" for label in ("pointwise", "identity")]
    showing.show(names[0], "q1", against=names[1], cache=tmp_path / "replies", root=runs)
    out = capsys.readouterr().out
    assert "one/test · query q1" in out
    assert "round 1 · 5 × NextToken" in out
    with pytest.raises(BadData, match="different tasks"):
        showing.show(names[0], "q1", against=names[0].replace("one", "two"), root=runs)
