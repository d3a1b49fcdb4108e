"""The http engine on a real vLLM server: its numbers are those of transformers, kind by kind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make test-vllm` brings its own")

from rerank_bench import Message, NextToken, PairScore, Prompt
from rerank_bench.engines import EngineOptions, open_engine
from rerank_bench.engines.http import HttpEngine
from rerank_bench.engines.http.pairs import Pairs
from rerank_bench.errors import EngineFault
from rerank_bench.types import Embed, Engine, Failure, Generate, Likelihood, Score

SMALL = ("--dtype", "float32", "--enforce-eager", "--max-num-seqs", "16")
GENERATING = (
    "--block-size",
    "32",
    "--max-num-batched-tokens",
    "2048",
    "--enable-prompt-tokens-details",
)
LETTERS = tuple("ABCDEFGHIJ")
KEY = "sk-only-for-this-test"
START_SECONDS = 240.0


@contextmanager
def serving(folder: Path, log: Path, *arguments: str) -> Iterator[str]:
    """Start a vLLM server on a free loopback port; ends it, and all it started, afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # `vllm serve` looks up the package's version under a name that the CPU build does not have.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *SMALL, *arguments],
            stdout=output,
            stderr=output,
            env={**os.environ, **environment, "VLLM_API_KEY": KEY},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await_up(url, process, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx2.get(f"{url}/health").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.5)
    pytest.fail(f"vLLM did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., HttpEngine]]:
    """Open engines on a server; they are closed at the test's end."""
    monkeypatch.setenv("TINY_KEY", KEY)
    engines: list[HttpEngine] = []

    def start(url: str, **options: Any) -> HttpEngine:
        given = {"model": "tiny", "api_key_env": "TINY_KEY", "wait_seconds": 5.0, **options}
        engines.append(HttpEngine(EngineOptions("http", base_url=url, **given)))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


def answers(engine: Engine, requests: Sequence[Any]) -> list[Any]:
    found = dict(engine.stream(iter(requests)))
    assert sorted(found) == list(range(len(requests)))
    assert not any(isinstance(reply, Failure) for reply in found.values()), found
    return [found[i] for i in range(len(requests))]


def both(engine: Engine, folder: Path, requests: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Pairs of replies, the server's and the transformers engine's; their token counts agree."""
    reference = open_engine(EngineOptions(model=str(folder), device="cpu"))
    pairs = list(zip(answers(engine, requests), answers(reference, requests), strict=True))
    for ours, theirs in pairs:
        assert (ours.prompt_tokens, ours.output_tokens) == (
            theirs.prompt_tokens,
            theirs.output_tokens,
        )
    return pairs


def chat(text: str, prefill: str = "") -> Prompt:
    return Prompt(messages=(Message("user", text),), prefill=prefill)


@pytest.fixture(scope="module")
def texts(checkpoints: Any) -> list[str]:
    return [text[:80] for text in checkpoints.TEXTS[:40]]


# One server at a time: each one's fixture lasts as long as the class of tests that uses it.


@pytest.fixture(scope="class")
def generating(qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serving(qwen, log, "--max-model-len", "512", *GENERATING) as found:
        yield found


class TestLanguageModel:
    def test_labels_equal_transformers_whatever_the_order(
        self, generating: str, qwen: Path, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        requests = [NextToken(chat(" ".join(texts[i : i + 5]), "["), LETTERS) for i in range(35)]
        engine = opened(generating)
        assert engine.identity["labels"] == "exact"
        for asked in (requests, requests[::-1], requests[:1]):
            for ours, theirs in both(engine, qwen, asked):
                assert list(ours.logprob) == list(LETTERS)
                found, expected = list(ours.logprob.values()), list(theirs.logprob.values())
                assert found == pytest.approx(expected, abs=1e-3)

    def test_likelihoods_equal_transformers(
        self, generating: str, qwen: Path, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        requests = [Likelihood(Prompt(text=f"{t}:"), f" {texts[0]}") for t in texts]
        for ours, theirs in both(opened(generating), qwen, requests):
            assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-3)
            assert ours.tokens == theirs.tokens

    def test_greedy_texts_equal_transformers(
        self, generating: str, qwen: Path, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        requests = [Generate(chat(t), 12, stop=("e",)) for t in texts[:20]]
        pairs = both(opened(generating), qwen, requests)
        equal = [a.tokens == b.tokens and a.text == b.text for a, b in pairs]
        assert sum(equal) >= 19  # a tie of two tokens may fall either way
        assert any(ours.finished for ours, _ in pairs)

    def test_patterns_are_forced_and_samples_repeat(
        self, generating: str, opened: Callable[..., HttpEngine]
    ) -> None:
        engine = opened(generating)
        (forced,) = answers(engine, [Generate(chat("order"), 20, pattern=r"\[[A-C]\] > \[[A-C]\]")])
        assert forced.text[0] + forced.text[2:7] + forced.text[8:] == "[] > []"
        drawn = [Generate(chat("draw"), 12, temperature=1.0, sample=s) for s in (0, 0, 1)]
        first, same, other = answers(engine, drawn)
        assert first == same
        assert first.text != other.text

    def test_kinds_may_come_mixed(
        self, generating: str, qwen: Path, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        mixed = [r for t in texts[:8] for r in (NextToken(chat(t), LETTERS), Generate(chat(t), 4))]
        for ours, theirs in both(opened(generating), qwen, mixed)[::2]:
            found, expected = list(ours.logprob.values()), list(theirs.logprob.values())
            assert found == pytest.approx(expected, abs=1e-3)

    def test_what_it_cannot_do_is_named(
        self, generating: str, opened: Callable[..., HttpEngine], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(EngineFault, match="no /score; it has /v1/completions"):
            list(opened(generating).stream(iter([PairScore("a", "b")])))
        with pytest.raises(EngineFault, match="did you mean tiny"):
            list(opened(generating, model="tinny").stream(iter([NextToken(chat("a"), LETTERS)])))
        monkeypatch.setenv("TINY_KEY", "sk-wrong")
        with pytest.raises(EngineFault, match="TINY_KEY") as caught:
            list(opened(generating).stream(iter([NextToken(chat("a"), LETTERS)])))
        assert "sk-wrong" not in str(caught.value)


@pytest.fixture(scope="class")
def scoring(cross_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(cross_encoder, tmp_path_factory.mktemp("server") / "log") as found:
        yield found


class TestCrossEncoder:
    def test_pairs_equal_transformers_in_every_shape(
        self, scoring: str, cross_encoder: Path, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        requests = [PairScore(q, d) for q in texts[:3] for d in texts]
        engine = opened(scoring)
        assert engine.identity["pairs"] == str(Pairs("/score", "score"))
        expected = [theirs.logits for _, theirs in both(engine, cross_encoder, requests)]
        assert np.std(expected) > 0.1
        for path in ("/score", "/rerank", "/v1/rerank", "/v2/rerank"):
            engine._site.dialect.__dict__["pairs"] = Pairs(
                path, "score" if path == "/score" else "documents"
            )
            found = [reply.logits for reply in answers(engine, requests)]
            assert np.allclose(found, expected, atol=1e-3)

    def test_single_sequences_equal_transformers(
        self, scoring: str, cross_encoder: Path, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        requests = [Score(Prompt(text=text)) for text in texts]
        for ours, theirs in both(opened(scoring), cross_encoder, requests):
            assert ours.logits == pytest.approx(theirs.logits, abs=1e-3)

    def test_a_text_is_fitted_by_the_server_as_it_is_here(
        self, scoring: str, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        engine = opened(scoring)
        tokens = engine._site.tokens
        engine._site.__dict__["checkpoint"] = None
        for fitted in engine.fit(texts, 6):
            assert len(tokens.encode([fitted.text])[0]) <= 6


@pytest.fixture(scope="class")
def embedding(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    mean = ("--runner", "pooling", "--pooler-config", '{"seq_pooling_type": "MEAN"}')
    with serving(encoder, tmp_path_factory.mktemp("server") / "log", *mean) as found:
        yield found


class TestEncoder:
    @pytest.mark.parametrize("normalise", [True, False])
    def test_embeddings_equal_transformers(
        self, embedding: str, encoder: Path, opened: Callable[..., HttpEngine], texts: list[str],
        normalise: bool,
    ) -> None:  # fmt: skip
        requests = [Embed(Prompt(text=text), normalise=normalise) for text in texts]
        for ours, theirs in both(opened(embedding), encoder, requests):
            assert np.allclose(ours.vectors, theirs.vectors, atol=1e-3)
