"""The catalogue of named rerankers, and catalogues that other packages bring."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from rerank_bench import BadOption, Candidates, Document, FakeEngine, load_template, rerank_one
from rerank_bench.engines import PACKAGED, overlap
from rerank_bench.reranking import catalogue, choose

WANTED = {"bge-reranker-v2-m3", "ms-marco-MiniLM-L6-v2", "gte-multilingual-reranker-base"}
WANTED |= {f"ettin-reranker-{size}" for size in ("17m", "32m", "68m", "150m", "400m")}
WANTED |= {"jina-reranker-v2-base-multilingual", "mxbai-rerank-base-v2", "mxbai-rerank-large-v2"}
WANTED |= {f"Qwen3-Reranker-{size}" for size in ("0.6B", "4B", "8B")}
WANTED |= {"RankZephyr", "RankVicuna", "FIRST", "first_mistral"}
CHOOSING = {"Rank-R1-3B", "Rank-R1-7B", "Rank-R1-14B", "Rank-R1-32B"}
CHOOSING |= {f"Setwise-SFT-{size}" for size in ("3B", "7B", "14B")}
CHOOSING |= {f"Setwise-flan-t5-{size}" for size in ("large", "xl", "xxl")}
CHOOSING |= {"PRP-flan-t5-xl", "PRP-flan-t5-xxl", "PRP-flan-ul2", "duoT5-base", "duoT5-3b"}
DEMO = {"minilm-late", "smollm2-ql", "smollm2-yesno", "smollm2-first", "smollm2-listwise"}
ENTRIES = pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.name)


def test_the_rerankers_of_the_first_papers_are_all_there():
    assert set(catalogue()) >= WANTED | CHOOSING | DEMO


@ENTRIES
def test_an_entry_says_what_it_is_and_where_it_is_from(entry):
    assert entry.url.startswith("https://")
    assert entry.licence
    assert "not run" in entry.notes or "run in the tests" in entry.notes
    assert entry.context > 0
    assert 0.004 < entry.parameters < 50, "billions"
    assert entry.languages
    for language in entry.languages:
        assert re.fullmatch(r"[a-z]{2}|many|not stated", language)
    assert entry.revision is None or re.fullmatch(r"[0-9a-f]{40}", entry.revision)
    if entry.name in WANTED | CHOOSING:
        weights = entry.options.get("adapter", entry.model)
        assert entry.url == f"https://huggingface.co/{weights}"
    assert entry.model in PACKAGED or re.fullmatch(r"[\w.-]+/[\w.-]+", entry.model)


@ENTRIES
def test_an_entry_reranks(entry):
    documents = tuple(Document(str(i), f"text {i}") for i in range(12))
    reranker = choose(f"{entry.name}:engine=fake").reranker
    given = Candidates("task", "q", "text 7", documents)
    assert len(rerank_one(reranker, given, FakeEngine(overlap)).scores) == 12


def test_an_engine_without_a_model_leaves_out_how_one_is_read():
    named = choose("RankLLaMA-7B")
    assert named.engine.values["adapter"] == "castorini/rankllama-v1-7b-lora-passage"
    assert "<s>document" in named.engine.values["pair_template"]
    assert choose("RankLLaMA-7B:engine=fake").label == named.label
    with pytest.raises(BadOption, match="pair_template is an option of engine"):
        choose("RankLLaMA-7B:engine=fake,pair_template=x")


def test_a_language_is_read_where_it_is_named_or_many_are():
    assert catalogue()["bge-reranker-v2-m3"].reads("sw")
    assert catalogue()["Qwen3-Reranker-0.6B"].reads("sw")
    assert not catalogue()["RankZephyr"].reads("sw")


def test_the_score_of_mxbai_is_the_logit_of_1_over_that_of_0():
    assert load_template("mxbai-rerank-v2").labels == ("1", "0")
    filled = load_template("mxbai-rerank-v2").fill(query="QUERY", document="DOCUMENT").text
    assert filled == (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "<|im_end|>\n<|im_start|>user\nquery: QUERY\ndocument: DOCUMENT\nYou are a search "
        "relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then "
        "provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
        "<|im_end|>\n<|im_start|>assistant\n"
    )


PROMPT = """
source = "ours"
licence = "CC0-1.0"
changes = "none"
labels = ["Yes", "No"]
text = '''{{ query }} {{ document }}'''
"""
CATALOG = """
[theirs]
method = "pointwise"
model = "org/model"
licence = "MIT"
options = { prompt = "their-prompt" }
"""
POINTS = """
[rerank_bench.catalogs]
theirs = their_package
[rerank_bench.prompts]
theirs = their_package.prompts
"""


def test_another_package_brings_named_rerankers_and_prompts(tmp_path):
    files = {
        "their_package/__init__.py": "",
        "their_package/catalog.toml": CATALOG,
        "their_package/prompts/__init__.py": "",
        "their_package/prompts/their-prompt.toml": PROMPT,
        "their_package-1.dist-info/METADATA": "Name: their-package\nVersion: 1\n",
        "their_package-1.dist-info/entry_points.txt": POINTS,
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    code = (
        "import json; from rerank_bench.reranking import choose; found = choose('theirs')\n"
        "print(json.dumps([found.label, found.engine.model, found.reranker.prompt]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(done.stdout) == ["theirs", "org/model", "their-prompt"]
