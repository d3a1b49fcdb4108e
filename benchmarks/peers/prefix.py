"""Pointwise prompts on the transformers engine with shared prefixes, beside the same without.

Both read the same prompts of a real model in float32: short and long queries, and documents of
drawn words that are cut to a number of tokens. The aim is the ratio of the tokens computed.
"""

from __future__ import annotations

import pydoc_data.topics
import random
from collections.abc import Sequence
from typing import Any

import click
from side_by_side import Found, Match, Row, Way, case, near, rounds, side_by_side

from rerank_bench import Candidates, Document
from rerank_bench.engines.local import TransformersEngine, TransformersOptions
from rerank_bench.rerankers.pointwise import Pointwise
from rerank_bench.types import NextToken

ALLOWED = 1e-4
QUERY_WORDS = 10, 60


def prompts(
    engine: TransformersEngine, query_words: int, queries: int, documents: int, tokens: int
) -> list[NextToken]:
    """Return the requests of a pointwise reranker about documents of `tokens` tokens each."""
    chosen, words = random.Random(0), " ".join(pydoc_data.topics.topics.values()).split()
    found: list[NextToken] = []
    for number in range(queries):
        texts = [" ".join(chosen.choices(words, k=tokens)) for _ in range(documents)]
        cut = [fitted.text for fitted in engine.fit(texts, tokens)]
        own = tuple(Document(str(place), text, None) for place, text in enumerate(cut))
        query = " ".join(chosen.choices(words, k=query_words))
        asked = Candidates("words", str(number), query, own, None, None, {})
        found += next(Pointwise().rerank(asked))  # type: ignore[arg-type]
    return found


def answers(engine: TransformersEngine, asked: Sequence[NextToken]) -> list[Any]:
    """Answer all requests as one slice."""
    found: dict[int, Any] = dict(engine.stream(iter(asked)))
    return [found[place] for place in range(len(asked))]


def way(name: str, engine: TransformersEngine, asked: Sequence[NextToken]) -> Way[Sequence[float]]:
    """Return the log-probabilities of all labels of all requests."""

    def run() -> Sequence[float]:
        return [value for reply in answers(engine, asked) for value in reply.logprob.values()]

    return Way(name, run)


def opened(model: str, *, shared: bool) -> TransformersEngine:
    """Return an engine in float32 on the CPU, with shared prefixes or without."""
    options = TransformersOptions(model=model, device="cpu", dtype="float32", share_prefixes=shared)
    return TransformersEngine(options)


def compared(shared: TransformersEngine, whole: TransformersEngine, words: int, count: int,
             sizes: tuple[int, int, int]) -> Row:  # fmt: skip
    """Time both engines on queries of `words` words; the aim is the ratio of computed tokens."""
    asked = prompts(shared, words, *sizes)
    replies = answers(shared, asked)
    read = sum(reply.prompt_tokens for reply in replies)
    ratio = read / (read - sum(reply.cached_tokens for reply in replies))
    ours = way(f"shared prefixes, query of {words} words", shared, asked)
    match = Match(ours, way("whole prompts, same engine", whole, asked), round(ratio, 2))
    (row,) = side_by_side([match], near("log-probabilities", ALLOWED), count)
    return {**row, "token_ratio": ratio, "tokens_per_prompt": read / len(asked)}


@case("prefix")
@click.option("--model", default="smollm2", show_default=True)
@click.option("--queries", default=2, show_default=True)
@click.option("--documents", default=30, show_default=True)
@click.option("--document-tokens", default=150, show_default=True)
@rounds(3)
def prefix(model: str, queries: int, documents: int, document_tokens: int, rounds: int) -> Found:
    """Prompts that share a prefix, computed once or each time."""
    engines = opened(model, shared=True), opened(model, shared=False)
    sizes = queries, documents, document_tokens
    return Found([compared(*engines, words, rounds, sizes) for words in QUERY_WORDS])
