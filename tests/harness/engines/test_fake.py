"""The engine that answers from word overlap, by which any reranker can be tried without a model."""

from __future__ import annotations

import random
from dataclasses import replace
from importlib.metadata import entry_points

import pytest

from rerank_bench import (
    Candidates,
    Document,
    Generate,
    Message,
    NextToken,
    Prompt,
    load_run,
    load_runs,
    open_engine,
    order,
    rerank_one,
)
from rerank_bench.reranking import Defaults, Scope, choose
from rerank_bench.suite import run_suite

FLOORS = {"identity", "random", "reverse"}
BUILT_IN = sorted({p.name for p in entry_points(group="rerank_bench.rerankers")} - FLOORS)
PROMPTS = {
    "listwise": "dear fullrank lighton-listwise rank-zephyr rankgpt rearank reasonrank",
    "pointwise": "flan-t5-yes-no monot5 mxbai-rerank-v2 qwen3-reranker",
    "pointwise:graded=true": "graded",
    "pointwise:raw=true": "bge-reranker-v2-gemma ctxl-rerank rankt5 zerank",
    "setwise:answer=tagged": "rank-r1 rank-r1-v0.2 setwise-sft",
}
METHODS = [
    *BUILT_IN,
    *("pairwise:answer=generate", "setwise:answer=generate"),
    *(
        f"{method}{',' if ':' in method else ':'}prompt={prompt}"
        for method, prompts in PROMPTS.items()
        for prompt in prompts.split()
    ),
]
QUERY = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]


def documents(count: int) -> list[str]:
    """Texts that hold the first 0, 1, 2 … words of the query, in an order that says nothing."""
    texts = [f"text {' '.join(QUERY[:shared])} end" for shared in range(count)]
    return random.Random(3).sample(texts, count)


@pytest.fixture
def engine():
    return open_engine("fake")


@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_every_built_in_is_valid_and_tells_documents_apart(method, suite_of, beir):
    texts = {f"d{place}": text for place, text in enumerate(documents(8))}
    queries = {"q1": " ".join(QUERY), "q2": " ".join(QUERY[2:6])}
    data = beir(queries, texts, {query: {"d1": 1} for query in queries})
    suite = replace(suite_of(data, method, engine="fake"), scope=Scope(depth=8))
    (folder,) = run_suite(suite)
    (row,) = load_runs(suite.out).evaluation.runs.to_dict("records")
    assert row["invalid"] is None
    assert row["failed"] == 0
    for result in load_run(folder).results:
        assert len(set(result.scores)) > 1


@pytest.mark.parametrize("method", METHODS)
def test_the_order_is_that_of_the_words_that_are_shared(method, engine):
    texts = documents(8)
    found = tuple(Document(f"d{place}", text) for place, text in enumerate(texts))
    signals = {"first_stage": tuple(float(-place) for place in range(8))}
    candidates = Candidates("task", "q", " ".join(QUERY), found, signals=signals)
    reranker = choose(method, Defaults(engine="fake")).reranker
    ranked = [texts[index] for index in order(rerank_one(reranker, candidates, engine).scores)]
    pairs = [(a, b) for place, a in enumerate(ranked) for b in ranked[place + 1 :]]
    assert sum(len(a) > len(b) for a, b in pairs) >= 0.9 * len(pairs)


def answer(engine, request):
    ((_, reply),) = engine.answer([request])
    return reply


def asked(form: str, name: str, **changes: str) -> Prompt:
    """A prompt whose first passage shares one word of the query, and whose second shares two."""
    shown = "\n".join(
        f"{name.format(number)} {text}" for number, text in [(1, "an apple"), (2, "apple pie")]
    )
    return Prompt(messages=(Message("user", f"Query: apple pie\n{shown}\n{form}"),), **changes)


@pytest.mark.parametrize(
    ("form", "name", "text"),
    [
        ("in this form: [] > []", "[{}]", "[2] > [1]"),
        ("the best, then the worst: [1] > [2]", "[{}]:", "[2] > [1]"),
        ('as {"[1]": 3} in <answer>', "[{}].", '<answer>{"[1]": 5, "[2]": 10}</answer>'),
        ("the top 1 documents", "Document {}:", "Document 2"),
        ("the top 2 documents", "Document {}:", "Document 2, Document 1"),
        ("the most relevant passage", "Passage {}:", "Passage 2"),
        ("the most relevant one, in <answer>", "[{}]", "<answer>[2]</answer>"),
    ],
)
def test_the_answer_has_the_form_that_the_prompt_asks_for(form, name, text, engine):
    reply = answer(engine, Generate(asked(form, name), 64))
    assert reply.text == text
    assert "".join(reply.pieces) == text
    assert len(reply.logprobs) == len(reply.pieces) == reply.output_tokens


def test_an_answer_goes_on_behind_its_beginning(engine):
    prompt = asked("the most relevant passage", "Passage {}:", prefill="Passage")
    assert answer(engine, Generate(prompt, 8)).text == " 2"


@pytest.mark.parametrize(
    ("document", "rating"), [("a plum", "0"), ("apple", "2"), ("pie apple", "4")]
)
def test_one_document_is_rated_on_the_scale_of_the_prompt(document, rating, engine):
    prompt = Prompt(text=f"Give a score of 0 to 4.\nQuery: apple pie\nText: {document}")
    assert answer(engine, Generate(prompt, 8)).text == rating


@pytest.mark.parametrize("labels", [("1", "2"), (" 1", " 2"), ("true", "false")])
def test_labels_are_those_of_the_passages_by_name_or_by_place(labels, engine):
    scores = answer(engine, NextToken(asked("which?", "Passage {}:"), labels))
    assert scores.of(labels[1]) > scores.of(labels[0])
