"""Pointwise prompts on the transformers engine with shared prefixes, against the same without.

Both read the same prompts of a real model on the same CPU and threads, turn by turn: short and long
queries, and documents of drawn words that are cut to a number of tokens. Prints the ratio of the
medians beside that of the tokens, and writes both, with versions, to results/prefix.json.

    python benchmarks/prefix.py --queries 2 --documents 30 --document-tokens 150 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import pydoc_data.topics
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rerank_bench import Candidates, Document
from rerank_bench.engines import machine
from rerank_bench.engines.local import TransformersEngine, TransformersOptions
from rerank_bench.rerankers.pointwise import Pointwise
from rerank_bench.runs.manifest import versions
from rerank_bench.types import LabelScores, NextToken

RESULTS = Path(__file__).parent / "results" / "prefix.json"
ALLOWED = 1e-4
"""By how much log-probabilities may be apart; beyond, no ratio is given."""


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


def answers(engine: TransformersEngine, asked: Sequence[NextToken]) -> list[LabelScores]:
    """Answer all requests as one slice."""
    found: dict[int, Any] = dict(engine.stream(iter(asked)))
    return [found[place] for place in range(len(asked))]


def timed(
    engines: Sequence[TransformersEngine], asked: Sequence[NextToken], rounds: int
) -> list[list[float]]:
    """Return the seconds of each engine's rounds, taken turn by turn."""
    seconds: list[list[float]] = [[] for _ in engines]
    for number in range(rounds):
        for place in range(len(engines))[:: 1 if number % 2 == 0 else -1]:
            start = time.perf_counter()
            answers(engines[place], asked)
            seconds[place].append(time.perf_counter() - start)
    return seconds


def opened(options: argparse.Namespace, *, shared: bool) -> TransformersEngine:
    """Return an engine in float32, with shared prefixes or without."""
    return TransformersEngine(
        TransformersOptions(
            model=options.model,
            device=options.device,
            dtype="float32",
            max_num_batched_tokens=options.batch_tokens,
            share_prefixes=shared,
        )
    )


def compare(options: argparse.Namespace, query_words: int) -> dict[str, Any]:
    """Compare the answers about queries of one length, then time both engines if they agree."""
    engines = [opened(options, shared=shared) for shared in (True, False)]
    sizes = options.queries, options.documents, options.document_tokens
    asked = prompts(engines[0], query_words, *sizes)
    shared, whole = (answers(engine, asked) for engine in engines)
    difference = max(map(apart, shared, whole))
    if difference > ALLOWED:
        raise SystemExit(f"{query_words} words: the answers differ by {difference:.2g}: no ratio")
    read = sum(reply.prompt_tokens for reply in shared)
    cached = sum(reply.cached_tokens for reply in shared)
    positions = [engine.batcher.positions for engine in engines]
    seconds = timed(engines, asked, options.rounds)
    medians = [statistics.median(own) for own in seconds]
    return {
        "requests": len(asked),
        "tokens_per_prompt": read / len(asked),
        "largest_difference": difference,
        "token_ratio": read / (read - cached),
        "position_ratio": positions[1] / positions[0],
        "ratio": medians[1] / medians[0],
        # Where others share the machine, the fastest rounds are the least disturbed.
        "ratio_of_fastest_rounds": min(seconds[1]) / min(seconds[0]),
        "shared_seconds": seconds[0],
        "whole_seconds": seconds[1],
    }


def apart(left: LabelScores, right: LabelScores) -> float:
    """Return the largest difference of two replies' log-probabilities."""
    return max(abs(left.logprob[label] - right.logprob[label]) for label in left.logprob)


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--query-words", type=int, nargs="+", default=[10, 60])
    parser.add_argument("--queries", type=int, default=2)
    parser.add_argument("--documents", type=int, default=30)
    parser.add_argument("--document-tokens", type=int, default=150)
    parser.add_argument("--batch-tokens", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for query_words in options.query_words:
        own = found[f"query of {query_words} words"] = compare(options, query_words)
        print(f"query of {query_words} words")
        for key, value in own.items():
            print(f"  {key:26} {value:.4g}" if isinstance(value, float) else f"  {key:26} {value}")
    found |= {"options": vars(options), "machine": machine(), "versions": versions()}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
