"""The http engine on a real vLLM server: its numbers are those of transformers, kind by kind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make test-vllm` brings its own")

from rerank_bench import NextToken, PairScore, Prompt
from rerank_bench.engines import open_engine
from rerank_bench.engines.http import HttpEngine, HttpOptions
from rerank_bench.engines.http.fit import fit_at_server
from rerank_bench.errors import EngineFault
from rerank_bench.types import Embed, Engine, Generate, Likelihood

asking: Any = sys.modules["asking"]
answers, chat, LETTERS = asking.answers, asking.chat, asking.LETTERS
GENERATING = (
    "--max-model-len", "512", "--block-size", "32", "--max-num-batched-tokens", "2048",
    "--enable-prompt-tokens-details",
)  # fmt: skip
KEY = "sk-only-for-this-test"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., HttpEngine]]:
    """Open engines on a server; they are closed at the test's end."""
    monkeypatch.setenv("TINY_KEY", KEY)
    engines: list[HttpEngine] = []

    def start(url: str, **options: Any) -> HttpEngine:
        given = {"model": "tiny", "api_key_env": "TINY_KEY", "wait_seconds": 5.0, **options}
        engines.append(HttpEngine(HttpOptions(base_url=url, **given)))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


def both(
    engine: Engine, folder: Path, requests: Sequence[Any], **options: Any
) -> list[tuple[Any, Any]]:
    """Pairs of replies, the server's and the transformers engine's; their token counts agree."""
    reference = open_engine("transformers", model=str(folder), device="cpu", **options)
    pairs = list(zip(answers(engine, requests), answers(reference, requests), strict=True))
    for ours, theirs in pairs:
        assert (ours.prompt_tokens, ours.output_tokens) == (
            theirs.prompt_tokens,
            theirs.output_tokens,
        )
    return pairs


# One server at a time: each one's fixture lasts as long as the class of tests that uses it.


@pytest.fixture(scope="class")
def generating(qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with asking.serving(qwen, "tiny", log, *GENERATING, key=KEY) as found:
        yield found


class TestLanguageModel:
    def test_labels_equal_transformers_whatever_the_order(
        self, generating: str, qwen: Path, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        requests = [NextToken(chat(" ".join(texts[i : i + 5]), "["), LETTERS) for i in range(35)]
        engine = opened(generating)
        assert engine.exact_labels
        for asked in (requests, requests[::-1], requests[:1]):
            for ours, theirs in both(engine, qwen, asked):
                assert list(ours.logprob) == list(LETTERS)
                found, expected = list(ours.logprob.values()), list(theirs.logprob.values())
                assert found == pytest.approx(expected, abs=1e-3)

    def test_labels_among_the_most_probable_equal_transformers(
        self, generating: str, qwen: Path, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        labels = tuple(range(300, 420))
        requests = [NextToken(chat(text, "["), labels) for text in texts[:8]]
        engine = opened(generating, dialect="openai")
        found = 0
        for ours, theirs in both(engine, qwen, requests):
            expected = {label: theirs.logprob[label] for label in ours.logprob}
            assert ours.logprob == pytest.approx(expected, abs=1e-3)
            missing = [v for label, v in theirs.logprob.items() if label not in ours.logprob]
            assert max(missing) <= ours.bound + 1e-3
            found += len(expected)
        assert found

    @pytest.mark.parametrize("dialect", ["vllm", "openai"])
    def test_likelihoods_equal_transformers(
        self, generating: str, qwen: Path, opened: Callable[..., HttpEngine], texts: list[str],
        dialect: str,
    ) -> None:  # fmt: skip
        requests = [Likelihood(Prompt(text=f"{t}:"), f" {texts[0]}") for t in texts]
        for ours, theirs in both(opened(generating, dialect=dialect), qwen, requests):
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
        with pytest.raises(EngineFault, match="cannot answer PairScore: it has no /score"):
            list(opened(generating).stream(iter([PairScore("a", "b")])))
        with pytest.raises(EngineFault, match="did you mean tiny"):
            list(opened(generating, model="tinny").stream(iter([NextToken(chat("a"), LETTERS)])))
        monkeypatch.setenv("TINY_KEY", "sk-wrong")
        with pytest.raises(EngineFault, match="TINY_KEY") as caught:
            list(opened(generating).stream(iter([NextToken(chat("a"), LETTERS)])))
        assert "sk-wrong" not in str(caught.value)


@pytest.fixture(scope="class")
def scoring(cross_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with asking.serving(cross_encoder, "tiny", log, key=KEY) as found:
        yield found


class TestCrossEncoder:
    def test_pairs_equal_transformers_in_every_dialect(
        self, scoring: str, cross_encoder: Path, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        requests = [PairScore(q, d) for q in texts[:3] for d in texts]
        expected = [theirs.logits for _, theirs in both(opened(scoring), cross_encoder, requests)]
        assert np.std(expected) > 0.1
        for dialect in ("jina", "cohere"):  # which have no field for raw scores
            found = [reply.logits for reply in answers(opened(scoring, dialect=dialect), requests)]
            assert np.allclose(found, 1 / (1 + np.exp(-np.array(expected))), atol=1e-3)

    def test_a_text_is_fitted_by_the_server_as_it_is_here(
        self, scoring: str, opened: Callable[..., HttpEngine], texts: list[str]
    ) -> None:
        service = opened(scoring)._service
        here = service.tokens.fit(texts, 6)
        for own, served in zip(here, fit_at_server(service.client, "tiny", texts, 6), strict=True):
            assert served.truncated == own.truncated
            assert len(service.tokens.encode([served.text])[0]) <= 6


@pytest.fixture(scope="class")
def classifying(llama_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with asking.serving(llama_classifier, "tiny", log, key=KEY) as found:
        yield found


class TestClassifier:
    def test_pairs_in_a_template_equal_transformers(
        self,
        classifying: str,
        llama_classifier: Path,
        opened: Callable[..., HttpEngine],
        texts: list[str],
    ) -> None:
        template = {"pair_template": "query: {{ query }} document: {{ document }}"}
        requests = [PairScore(texts[0], text) for text in texts]
        engine = opened(classifying, **template)
        for ours, theirs in both(engine, llama_classifier, requests, **template):
            assert ours.logits == pytest.approx(theirs.logits, abs=1e-3)


@pytest.fixture(scope="class")
def embedding(base_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    pooling = ("--runner", "pooling", "--convert", "embed")
    with asking.serving(base_llama, "tiny", log, *pooling, key=KEY) as found:
        yield found


class TestEmbedding:
    @pytest.mark.parametrize("dialect", ["vllm", "openai"])
    def test_vectors_equal_transformers(
        self, embedding: str, base_llama: Path, opened: Callable[..., HttpEngine],
        texts: list[str], dialect: str,
    ) -> None:  # fmt: skip
        requests = [Embed(Prompt(text=text), "last") for text in texts]
        engine = opened(embedding, dialect=dialect, server_pooling="last")
        for ours, theirs in both(engine, base_llama, requests):
            assert ours.array == pytest.approx(theirs.array, abs=1e-3)

    def test_another_pooling_is_refused(
        self, embedding: str, opened: Callable[..., HttpEngine]
    ) -> None:
        with pytest.raises(EngineFault, match="the server pools as last: start vLLM with"):
            answers(opened(embedding), [Embed(Prompt(text="a"), "mean")])
