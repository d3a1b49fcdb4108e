"""Whole runs against a real vLLM server give the orders that transformers gives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make test-vllm` brings its own")

from rerank_bench import load_run
from rerank_bench.engines import find_model
from rerank_bench.runs import find_runs

# A server's start and two runs of a language model on a CPU, which may be busy.
pytestmark = pytest.mark.timeout(900)

LABELLED = ["pointwise", "query-likelihood", "first"]
BUDGET = "max_doc_tokens=32"
Measured = Callable[[str], None]
asking: Any = sys.modules["asking"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`vllm serve` of SmolLM2 on a free loopback port, as docs/serving.md has it."""
    arguments = (
        "--max-model-len", "1024", "--block-size", "32", "--max-num-batched-tokens", "2048",
        "--generation-config", "vllm",
    )  # fmt: skip
    log = tmp_path_factory.mktemp("server") / "log"
    source = find_model("smollm2").source
    with asking.serving(source, "smollm2", log, *arguments) as url:
        yield url


def rerank_bench(*words: str) -> list[dict[str, Any]]:
    """Run the command line and return its JSON."""
    command = [sys.executable, "-c", "from rerank_bench.cli import main; main()", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def run(out: Path, methods: list[str], *options: str) -> dict[str, Any]:
    """Rerank two queries with SmolLM2; method -> run."""
    rerankers = [word for name in methods for word in ("--reranker", f"{name}:{BUDGET},as={name}")]
    rows = rerank_bench(
        "run", "--task", "stdlib-code", "--profile", "bm25", "--queries", "2", "--depth", "8",
        *rerankers, "--model", "smollm2", "--out", str(out), "--no-cache", "--json", *options,
    )  # fmt: skip
    assert all(row["invalid"] is None for row in rows if row["reranker"] in LABELLED)
    return {folder.name: load_run(folder) for folder in find_runs(out)}


@pytest.fixture(scope="module")
def both(
    server: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same rerankers over HTTP and with transformers."""
    folder = tmp_path_factory.mktemp("runs")
    methods = [*LABELLED, "listwise"]
    served = ("--engine", "http", "--base-url", server)
    return run(folder / "http", methods, *served), run(folder / "here", methods)


def scores(result: Any) -> dict[str, float]:
    pairs = zip(result.doc_ids, result.scores, strict=True)
    return {doc_id: score for doc_id, score in pairs if score is not None}


@pytest.mark.parametrize("method", ["pointwise", "query-likelihood"])
def test_scores_agree_and_only_pairs_within_the_noise_change_places(
    method: str, both: Any, measured: Measured
) -> None:
    served, here = (runs[method] for runs in both)
    noise = changed = 0.0
    for one, other in zip(served.results, here.results, strict=True):
        mine, theirs = scores(one), scores(other)
        noise = max(noise, *(abs(mine[d] - theirs[d]) for d in mine))
    assert noise < 1e-3
    for one, other in zip(served.results, here.results, strict=True):
        mine, theirs = scores(one), scores(other)
        for a, b in combinations(mine, 2):
            if (mine[a] - mine[b]) * (theirs[a] - theirs[b]) < 0:
                changed += 1
                assert abs(theirs[a] - theirs[b]) < 2 * noise
    measured(
        f"{method}: noise {noise:.1e}, {changed:.0f} pairs within twice the noise changed places"
    )


def test_first_reads_one_token_per_window_and_gives_the_same_order(both: Any) -> None:
    served, here = (runs["first"] for runs in both)
    for one, other in zip(served.results, here.results, strict=True):
        assert one.doc_ids == other.doc_ids
        assert one.usage.output_tokens == one.usage.calls == 1


def test_tokens_calls_and_rounds_are_the_same_in_every_way_of_asking(both: Any) -> None:
    for method in LABELLED:
        spent = [
            [(r.usage.calls, r.usage.rounds, r.usage.prompt_tokens) for r in runs[method].results]
            for runs in both
        ]
        assert spent[0] == spent[1]


def test_generated_answers_are_mostly_the_same_text(both: Any, measured: Measured) -> None:
    served, here = (runs["listwise"] for runs in both)
    pairs = list(zip(served.results, here.results, strict=True))
    same = sum(one.doc_ids == other.doc_ids for one, other in pairs)
    measured(f"listwise: {same} of {len(pairs)} queries ended in the same order")
    assert [one.usage.prompt_tokens for one, _ in pairs] == [
        o.usage.prompt_tokens for _, o in pairs
    ]


def test_the_same_replies_come_call_by_call_in_process_and_over_http(
    server: str, measured: Measured
) -> None:
    from rerank_bench import Generate, open_engine

    texts = ["Name a fruit.", "Count to five.", "Is water wet?", "Say hello.", "What is 2 + 2?"]
    asked = [Generate(asking.chat(text), 12) for text in texts]
    small = {"max_model_len": 1024, "max_num_seqs": 16, "max_num_batched_tokens": 2048}
    given: list[tuple[str, dict[str, Any]]] = [
        ("http", {"base_url": server}),
        ("vllm", small),
        ("transformers", {"device": "cpu"}),
    ]
    texts_of = []
    for name, options in given:
        engine = open_engine(name, model="smollm2", **options)
        texts_of.append([reply.text for reply in asking.answers(engine, asked)])
        engine.close()
    *ways, expected = texts_of
    shares = [sum(a == b for a, b in zip(expected, mine, strict=True)) for mine in ways]
    measured(f"equal replies of {len(asked)}: over HTTP {shares[0]}, in process {shares[1]}")
    assert min(shares) >= 4  # greedy float32: only a tie within rounding may fall otherwise
