from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

QUERIES = {"q1": "apple pear", "q2": "plum", "q3": "quince jam"}
CORPUS = {"d1": "an apple and a pear", "d2": "plum cake", "d3": "", "d4": "quince", "d5": "rye"}
QRELS = {"q1": {"d1": 1}, "q2": {"d2": 1, "gone": 1}, "q3": {"d5": 1}}

INTERRUPTED = """
class Interrupted:
    asks = frozenset()

    def rerank(self, candidates):
        raise KeyboardInterrupt
"""

PLUGIN = """
class Short:
    asks = frozenset()
    def rerank(self, candidates):
        return [1.0]

class Nan:
    asks = frozenset()
    def rerank(self, candidates):
        return [float("nan")] * len(candidates.documents)

class Unhashable:
    def rerank(self, candidates):
        from rerank_bench import NextToken, Prompt
        yield [NextToken(Prompt(text="x"), labels=["Yes", "No"])]

class Bare:
    def rerank(self, candidates):
        from rerank_bench import PairScore
        yield PairScore("a", "b")

class Raises:
    asks = frozenset()
    def rerank(self, candidates):
        raise LookupError("nothing here")
"""


@pytest.fixture
def data(beir):
    return beir(QUERIES, CORPUS, QRELS)


@pytest.fixture
def nano_folder(tmp_path):
    folder = tmp_path / "Tiny"
    tables = {
        "corpus": {"_id": ["d1", "d2"], "text": ["apple", "pear"]},
        "queries": {"_id": ["q1"], "text": ["apple"]},
        "qrels": {"query-id": ["q1"], "corpus-id": ["d1"]},
        "bm25": {"query-id": ["q1"], "corpus-ids": [["d2", "d1"]]},
    }
    for config, columns in tables.items():
        for split in ("one", "two"):
            (folder / config).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), folder / config / f"{split}.parquet")
    return folder


def run(data: Path, out: Path, *more: object):
    return ("run", "--task", data, "--out", out, "--no-cache", *more)


def test_run_prints_json_with_the_documented_keys_first(call, data, tmp_path):
    result = call(*run(data, tmp_path / "runs", "--reranker", "identity", "--json"))
    rows = json.loads(result.stdout)
    assert list(rows[0])[:24] == [
        "task", "profile", "origin", "reranker", "measure", "queries", "first_stage", "natural",
        "safeguarded", "ceiling", "ceiling_safeguarded", "gain", "gain_low", "gain_high",
        "gain_safeguarded", "safeguards", "decided", "failed", "calls_per_query", "rounds",
        "prompt_tokens", "output_tokens", "seconds", "from_cache",
    ]  # fmt: skip
    assert {row["measure"] for row in rows if row["reranker"]} == {
        "nDCG@10", "hit@10", "MRR@10", "MAP@100",
    }  # fmt: skip


def test_report_reads_what_run_wrote(call, data, tmp_path):
    out = tmp_path / "runs"
    ran = call(*run(data, out, "--reranker", "identity", "--reranker", "reverse", "--json"))
    assert json.loads(call("report", out, "--json").stdout) == json.loads(ran.stdout)
    compact, wide = call("report", out).stdout, call("report", out, "--wide").stdout
    assert "first stage" in compact
    assert "safeguarded" in wide
    assert "safeguarded" not in compact
    assert max(map(len, compact.splitlines())) <= 100
    explained = call("report", out, "--explain").stdout
    assert explained.startswith(compact)
    assert "rounds: Requests per query that had to wait for one another." in explained
    for flag in ("--wide", "--explain"):
        assert "leave them out" in call("report", out, "--json", flag, code=2).stderr
    assert call("report", out, "--md").stdout.count("|") > 20
    assert call("report", out, "--csv").stdout.splitlines()[0].startswith("task,profile")


def test_the_compact_report_shows_other_orders_and_single_queries_where_they_were_asked(
    call, data, tmp_path
):
    asked = ("--reranker", "pointwise:engine=fake", "--orders", "reverse", "--one-at-a-time")
    printed = call(*run(data, tmp_path / "runs", *asked)).stdout
    orders, _, alone = printed.partition("Other input orders")[2].partition("One query at a time")
    assert "pointwise (fake engine)" in orders.split("tau: Kendall's")[0]
    assert "promoted" not in orders  # all of these candidates end among the first ten
    assert "pointwise (fake engine)" in alone
    assert max(map(len, printed.splitlines())) <= 100
    plain = call(*run(data, tmp_path / "other", "--reranker", "identity")).stdout
    assert "Other input orders" not in plain


def test_a_row_that_the_fake_engine_answered_says_so(call, data, tmp_path):
    flags = ("--reranker", "pointwise", "--engine", "fake")
    assert "fake" in call(*run(data, tmp_path / "runs", *flags)).stdout


def test_flags_become_a_suite_file_that_runs_the_same(call, data, tmp_path):
    flags = ["--profile", "bm25()", "--reranker", "listwise:window=4", "--engine", "fake"]
    flags += ["--queries", "2", "-o", "passes=2"]
    toml = call(*run(data, tmp_path / "runs", *flags, "--print-toml")).stdout
    assert not (tmp_path / "runs").exists()
    (tmp_path / "suite.toml").write_text(toml)
    first = call(*run(data, tmp_path / "a", *flags, "--json")).stdout
    again = call("run", tmp_path / "suite.toml", "--out", tmp_path / "b", "--json").stdout
    drop = {"seconds"}
    assert [{k: v for k, v in r.items() if k not in drop} for r in json.loads(first)] == [
        {k: v for k, v in r.items() if k not in drop} for r in json.loads(again)
    ]


def test_an_option_for_all_leaves_a_suite_files_other_options_as_they_are(call, data, tmp_path):
    (tmp_path / "suite.toml").write_text("[defaults.option]\nwindow = 4\npasses = 2\n")
    flags = ("--reranker", "listwise", "--engine", "fake", "-o", "window=6", "--print-toml")
    toml = call("run", tmp_path / "suite.toml", "--task", data, *flags).stdout
    assert 'window = "6"' in toml
    assert "passes = 2" in toml


def test_as_names_the_one_reranker_and_wrong_usage_exits_2(call, data, tmp_path):
    call(*run(data, tmp_path / "runs", "--reranker", "identity", "--as", "mine"))
    assert (tmp_path / "runs" / "data" / "test" / "bm25" / "mine").is_dir()
    both = ("--reranker", "identity", "--reranker", "reverse", "--as", "mine")
    assert call(*run(data, tmp_path / "runs", *both), code=2)
    assert call("run", "--nonsense", code=2)


def test_pool_writes_one_line_per_query_with_the_safeguard_last_and_named(call, data, tmp_path):
    out = tmp_path / "pool.jsonl"
    result = call("pool", "--task", data, "--profile", "bm25()", "--out", out, "--json")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [set(line) for line in lines] == [{"task", "query-id", "corpus-ids", "safeguard"}] * 3
    by_query = {line["query-id"]: line for line in lines}
    assert by_query["q1"] == {
        "task": "data/test", "query-id": "q1", "corpus-ids": ["d1"], "safeguard": None,
    }  # fmt: skip
    assert by_query["q3"]["safeguard"] == by_query["q3"]["corpus-ids"][-1] == "d5"
    (record,) = json.loads(result.stdout)
    assert record["safeguards"] == 1
    again = call("pool", "--task", data, "--profile", f"run({out})", "--json")
    assert json.loads(again.stdout)[0]["nDCG@10"] == record["nDCG@10"]


def test_what_is_odd_but_not_fatal_is_counted_and_named(call, data, tmp_path):
    for notes in (
        call("pool", "--task", data, "--profile", "bm25()").stderr,
        call(*run(data, tmp_path / "runs", "--reranker", "identity")).stderr,
    ):
        assert "1 empty documents (d3)" in notes
        assert "1 qrels to unknown ids (gone)" in notes


@pytest.mark.parametrize("what", ["tasks", "profiles", "rerankers", "engines", "prompts"])
def test_everything_that_can_be_named_is_listed(call, what):
    rows = json.loads(call("list", what, "--json").stdout)
    assert len(rows) >= 3
    assert call("list", what).stdout.count("\n") == len(rows) + 1


def test_the_tasks_of_a_data_set_are_listed(call):
    rows = json.loads(call("list", "tasks", "NanoMMTEB-v2", "--json").stdout)
    assert "NanoMMTEB-v2/belebele" in {row["task"] for row in rows}
    assert {row["task"].partition("/")[0] for row in rows} == {"NanoMMTEB-v2"}


def test_runs_and_a_tasks_own_profiles_are_listed(call, data, nano_folder, tmp_path):
    call(*run(data, tmp_path / "runs", "--reranker", "identity"))
    (row,) = json.loads(call("list", "runs", tmp_path / "runs", "--json").stdout)
    assert (row["task"], row["reranker"]) == ("data/test", "identity")
    rows = json.loads(call("list", "profiles", "--task", nano_folder, "--json").stdout)
    assert [r["profile"] for r in rows] == ["bm25", "bm25"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reranker", "identiti"], "unknown reranker 'identiti'; did you mean identity"),
        (["--reranker", "identity", "--profile", "bm52"], "did you mean bm25"),
        (["--reranker", "identity", "--profile", "rff(a,b)"], "did you mean rrf"),
        (["--reranker", "listwise:window=ten", "--engine", "fake"], "option window takes int"),
        (["--reranker", "listwise:widow=9", "--engine", "fake"], "did you mean window"),
        (["--reranker", "listwise"], "needs a model"),
        (["--reranker", "listwise", "--engine", "fak"], "did you mean fake"),
        (["--reranker", "identity", "--queries", "0"], "--queries must be at least 1"),
        (
            ["--reranker", "identity", "-o", "window=3"],
            "-o window: neither a reranker nor its engine",
        ),
        (["--reranker", "identity", "--data-parallel", "2"], "--data-parallel: neither a rer"),
        (
            ["--reranker", "identity", "--base-url", "http://x"],
            "nor its engine (none) has this option",
        ),
        (["--reranker", "listwise", "--model", "smolm2"], "did you mean smollm2?"),
        (["--reranker", "identity", "--qrels", "none.txt"], "none.txt"),
        ([], "name a reranker"),
        (["--reranker", "cross-encoder", "--model", "./no-such-model"], "no-such-model"),
        (["--reranker", "cross-encoder", "--model", "nobody/nothing-here"], "nobody/nothing-here"),
    ],
)
def test_a_name_or_option_that_is_wrong_is_refused_before_anything_runs(
    refused, data, tmp_path, monkeypatch, flags, message
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert message in refused(*run(data, tmp_path / "runs", *flags))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Short", "returned 1 scores for"),
        ("Nan", "not finite"),
        ("Raises", "raised LookupError in mine.py, line 25: nothing here"),
        ("Unhashable", "unhashable type: 'list'"),
        ("Bare", "TypeError"),
    ],
)
def test_a_plugin_that_breaks_its_contract_is_named_with_its_query(
    refused, tmp_path, beir, name, message
):
    data = beir({"q1": "apple"}, {"d1": "apple", "d2": "apple pie"}, {"q1": {"d1": 1}})
    (tmp_path / "mine.py").write_text(PLUGIN)
    error = refused(*run(data, tmp_path / "runs", "--reranker", f"{tmp_path / 'mine.py'}:{name}"))
    assert message in error
    assert name in error
    assert "query q1" in error
    assert not (tmp_path / "runs").exists()


def test_an_interrupt_ends_a_run_with_one_line_and_stores_nothing(call, data, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(INTERRUPTED)
    flags = run(data, tmp_path / "runs", "--reranker", f"{plugin}:Interrupted")
    said = call(*flags, code=130).stderr.strip().splitlines()[-1]
    assert said == "interrupted; the same `rerank-bench run` continues where it was"
    assert not (tmp_path / "runs").exists()


def test_an_edited_plugin_is_not_taken_for_the_one_that_ran(call, refused, tmp_path, beir):
    data = beir({"q1": "apple"}, {"d1": "apple"}, {"q1": {"d1": 1}})
    mine = tmp_path / "mine.py"
    mine.write_text(PLUGIN)
    flags = run(data, tmp_path / "runs", "--reranker", f"{mine}:Short")
    call(*flags)
    assert "already done" in call(*flags).stderr
    mine.write_text(PLUGIN.replace("[1.0]", "[2.0]"))
    assert "code" in refused(*flags)


def test_two_runs_for_one_folder_are_refused_before_anything_runs(refused, data, tmp_path):
    out = tmp_path / "runs"
    twice = run(data, out, "--task", data, "--reranker", "identity")
    assert "would both be stored" in refused(*twice)
    assert not out.exists()


def break_folder(folder: Path, how: str) -> None:
    if how == "config":
        for split in ("one", "two"):
            (folder / "qrels" / f"{split}.parquet").unlink()
        (folder / "qrels").rmdir()
    elif how == "split":
        (folder / "queries" / "two.parquet").unlink()
    elif how == "column":
        pq.write_table(pa.table({"_id": ["q1"]}), folder / "queries" / "two.parquet")
    elif how == "duplicate":
        rows = {"_id": ["d1", "d1"], "text": ["a", "b"]}
        pq.write_table(pa.table(rows), folder / "corpus" / "two.parquet")
    elif how == "empty query":
        rows = {"_id": ["q1"], "text": [" "]}
        pq.write_table(pa.table(rows), folder / "queries" / "two.parquet")
    elif how == "empty qrels":
        none = pa.table(
            {"query-id": pa.array([], pa.string()), "corpus-id": pa.array([], pa.string())}
        )
        pq.write_table(none, folder / "qrels" / "two.parquet")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("config", ["qrels", "Tiny"]),
        ("split", ["queries", "two"]),
        ("column", ["text", "queries", "two"]),
        ("duplicate", ["d1", "corpus", "two"]),
        ("empty query", ["q1", "two"]),
        ("empty qrels", ["qrels", "two"]),
    ],
)
def test_a_data_set_that_breaks_its_format_is_an_error_that_names_the_place(
    refused, nano_folder, tmp_path, how, words
):
    break_folder(nano_folder, how)
    error = refused(*run(nano_folder, tmp_path / "runs", "--reranker", "identity"))
    assert all(word in error for word in words), error
    assert not (tmp_path / "runs").exists()


def test_an_unknown_split_and_an_unknown_list_are_answered_with_near_names(
    refused, nano_folder, tmp_path
):
    out = tmp_path / "runs"
    assert "did you mean" in refused(*run(nano_folder / "tow", out, "--reranker", "identity"))
    flags = ("--reranker", "identity", "--profile", "bm25x")
    assert "did you mean bm25" in refused(*run(nano_folder, out, *flags))
    assert not out.exists()


def test_an_output_that_cannot_be_written_is_an_error(refused, data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "file" in refused(*run(data, tmp_path / "file" / "runs", "--reranker", "identity"))
    out = tmp_path / "file" / "pool.jsonl"
    assert "pool.jsonl" in refused("pool", "--task", data, "--profile", "bm25()", "--out", out)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[defaults]\nqueris = 5\n", "did you mean queries"),
        ("[defaults]\nqueries = 'five'\n", "queries takes int"),
        ("[[task]]\nname = 'x'\n", "has no task"),
        ("[[tasks]]\n", "unknown table"),
        ("not toml", "suite.toml"),
        ("defaults = 3\n", "[defaults] is no table"),
        ("[task]\ntask = 'x'\n", "write [[task]]"),
        ("[[reranker]]\nreranker = 5\n", "has no reranker"),
    ],
)
def test_a_suite_file_that_is_wrong_is_named_with_its_key(refused, tmp_path, content, message):
    (tmp_path / "suite.toml").write_text(content)
    assert message in refused("run", tmp_path / "suite.toml")


def test_pool_compares_a_published_figure_under_its_own_convention():
    from rerank_bench.inspect.listing import _numbers
    from rerank_bench.pools import build_pool
    from rerank_bench.tasks import Source, Task

    task = Task(
        "set/one", "one", {"q": "apple"}, {"a": "apple apple", "b": "apple", "c": "pear"},
        {"q": {"a": 1, "b": 3}}, Source("folder", "./set"),
        published={"bm25()": {"nDCG@10": 1.0}}, convention="binary",
    )  # fmt: skip
    found = _numbers(task, build_pool(task, "bm25()"))
    assert found["nDCG@10"] < 1.0
    assert (found["nDCG@10 published"], found["nDCG@10 with binary gain"]) == (1.0, 1.0)
    equal = dataclasses.replace(task, qrels={"q": {"a": 1, "b": 1}})
    assert "nDCG@10 with binary gain" not in _numbers(equal, build_pool(equal, "bm25()"))


def test_an_error_cannot_control_the_terminal(refused, tmp_path):
    error = refused("run", "--task", "\x1b[31mred", "--reranker", "identity")
    assert "\x1b" not in error
