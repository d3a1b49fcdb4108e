"""Pointwise yes/no judgements of SmolLM2 by this package and by peers, on what each peer runs on.

`rerankers` asks a vLLM server, one query at a time. mteb has two ways: its wrapper of vLLM, in
process, which takes no score template, so that the prompt here ends with the document; and its
loader of Qwen3-Reranker, on transformers, whose prompt is whole. A stub in place of the server
shows what the clients cost.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from plain_texts import Lists, lists
from servers import ENVIRONMENT, NAME, Server, Watch, cold, require, smollm2, stub, vllm
from side_by_side import Found, Match, Row, Way, case, near, rounds, side_by_side

from rerank_bench import Engine, NextToken, PairScore, load_template, open_engine
from rerank_bench.quiet import quiet

AIM, ALLOWED = 1.5, 1e-4
ASK = "Judge with yes or no whether the passage answers the query.\nQuery: "
THEN = "\nPassage: "
ROLES = (
    f"{ASK}{{{{ (messages | selectattr('role', 'eq', 'query') | first).content }}}}"
    f"{THEN}{{{{ (messages | selectattr('role', 'eq', 'document') | first).content }}}}"
)
INSTRUCTION = "Given the user query, retrieval the relevant passages"  # mteb's, word by word
SETTINGS: dict[str, Any] = {
    "dtype": "float32", "max_model_len": 2048, "max_num_seqs": 128, "block_size": 32,
    "enforce_eager": True,
}  # fmt: skip
Scores = Sequence[float]


def judge(folder: Path) -> Path:
    """Write SmolLM2 with a head whose output is the logit of yes minus that of no."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2())
    tokenizer.chat_template = None
    model = AutoModelForSequenceClassification.from_pretrained(smollm2(), num_labels=1)
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    rows = model.get_input_embeddings().weight  # those of the language head: SmolLM2 ties them
    with torch.no_grad():
        model.score.weight.copy_(rows[[yes]] - rows[[no]])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pairs(given: Lists) -> list[PairScore]:
    """Return all pairs, query by query."""
    task = given.task
    return [
        PairScore(task.queries[row.query_id], task.corpus[i])
        for row in given.pool.rows
        for i in row.doc_ids
    ]


def engine_way(name: str, engine: Engine, given: Lists) -> Way[Scores]:
    """Score by an engine of this package; as probabilities, which the peers return."""
    asked = pairs(given)

    def run() -> Scores:
        found: dict[int, Any] = dict(engine.stream(iter(asked)))
        return [1 / (1 + math.exp(-found[i].logits[0])) for i in range(len(asked))]

    return Way(name, run, engine.forget)


def rerankers_way(server: Server, given: Lists) -> Way[Scores]:
    """Score by rerankers, through the server's API of Jina."""
    from rerankers.models.api_rankers import APIRanker

    url = f"{server.url}/v1/rerank"
    client = APIRanker(NAME, api_key="none", api_provider="jina", verbose=0, url=url)
    task = given.task

    def run() -> Scores:
        found: list[float] = []
        for row in given.pool.rows:
            texts = [task.corpus[i] for i in row.doc_ids]
            ranked = client.rank(task.queries[row.query_id], texts, list(range(len(texts))))
            found += [r.score for r in sorted(ranked.results, key=lambda r: r.doc_id)]
        return found

    return Way(f"rerankers `APIRanker`, {server.name}", run)


def over_server(server: Server, given: Lists, slots: int, model: Path, rounds: int) -> Found:
    """Time engine http and rerankers over one server."""
    watch = Watch(server)
    engine = open_engine(
        "http", base_url=server.url, model=NAME, tokenizer=str(model), concurrency=slots
    )
    _ = engine.identity  # connects, and reads the tokenizer
    ours = engine_way(f"cross-encoder, engine http, {server.name}", engine, given)
    ways = [watch.over(way) for way in (ours, rerankers_way(server, given))]
    if server.name == "vLLM":
        ways = [cold(way, server) for way in ways]
    try:
        rows = side_by_side([Match(*ways, AIM)], near("scores", ALLOWED), rounds)
    finally:
        engine.close()
    return Found(rows, watch.facts(given.requests))


# In this process


def loaders(given: Lists) -> list[Any]:
    """Return the queries and the documents of all pairs as mteb hands them to a model."""
    from datasets import Dataset
    from torch.utils.data import DataLoader

    asked = pairs(given)
    both = [[one.query for one in asked], [one.document for one in asked]]
    return [DataLoader(Dataset.from_dict({"text": texts}), batch_size=32) for texts in both]


def predicting(model: Any, given: Lists, **options: Any) -> Callable[[], Scores]:
    """Return a call of `predict`, as mteb evaluates."""
    queries, documents = loaders(given)

    def run() -> Scores:
        with quiet():
            found = model.predict(
                queries, documents, task_metadata=None, hf_split="", hf_subset="", **options
            )
        return [float(score) for score in found]

    return run


def in_process(folder: Path, given: Lists, rounds: int) -> list[Row]:
    """Time engine vllm and mteb's wrapper, each with a vLLM of its own and the same settings."""
    from mteb.models.vllm_wrapper import VllmCrossEncoderWrapper

    os.environ.update(ENVIRONMENT)
    template = f"{ASK}{{{{ query }}}}{THEN}{{{{ document }}}}"
    engine = open_engine("vllm", model=str(folder), pair_template=template, **SETTINGS)
    model = VllmCrossEncoderWrapper(str(folder), query_prefix=ASK, document_prefix=THEN, **SETTINGS)
    name = "mteb `VllmCrossEncoderWrapper`"
    ways = [
        engine_way("cross-encoder, engine vllm", engine, given),
        Way(name, predicting(model, given), model.llm.reset_prefix_cache),
    ]
    try:
        return side_by_side([Match(*ways, AIM)], near("scores", ALLOWED), rounds)
    finally:
        engine.close()
        model.cleanup()


def yes_no_way(engine: Engine, given: Lists, labels: tuple[int, int]) -> Way[Scores]:
    """Score by the prompt of Qwen3-Reranker; `labels` are the tokens of yes and no."""
    template = load_template("qwen3-reranker")
    asked = [
        template.fill(query=one.query, document=one.document, instruction=INSTRUCTION)
        for one in pairs(given)
    ]

    def run() -> Scores:
        found: dict[int, Any] = dict(engine.stream(NextToken(prompt, labels) for prompt in asked))
        logs = ([found[i].logprob[label] for label in labels] for i in range(len(asked)))
        return [1 / (1 + math.exp(no - yes)) for yes, no in logs]

    return Way("yes and no, engine transformers", run, engine.forget)


def on_transformers(given: Lists, rounds: int) -> list[Row]:
    """Time engine transformers and mteb's loader of Qwen3-Reranker, on the CPU."""
    import torch
    from mteb.models.model_implementations.qwen3_reranker import Qwen3RerankerWrapper

    with quiet():
        model = Qwen3RerankerWrapper(smollm2(), device="cpu", dtype=torch.float32)
    engine = open_engine("transformers", model=smollm2(), device="cpu", dtype="float32")
    ours = yes_no_way(engine, given, (model.token_true_id, model.token_false_id))
    peer = Way("mteb `Qwen3RerankerWrapper`", predicting(model, given, show_progress_bar=False))
    try:
        return side_by_side([Match(ours, peer, AIM)], near("scores", ALLOWED), rounds)
    finally:
        engine.close()


@case("pointwise", "mteb", "rerankers")
@click.option("--queries", default=8, show_default=True, help="Over models.")
@click.option("--depth", default=12, show_default=True)
@click.option("--words", default=30, show_default=True, help="Of each document.")
@click.option("--stub-queries", default=200, show_default=True, help="With 100 documents each.")
@click.option("--slots", default=32, show_default=True)
@rounds(3)
def pointwise(
    queries: int, depth: int, words: int, stub_queries: int, slots: int, rounds: int
) -> Found:
    """Yes/no judgements over one vLLM, in process and on transformers, and over a stub."""
    require("vllm", "mteb", "rerankers.models")
    given, many = lists(queries, depth, words), lists(stub_queries, 100, 30)
    with tempfile.TemporaryDirectory() as place:
        folder, template = judge(Path(place) / "judge"), Path(place) / "roles.jinja"
        template.write_text(ROLES)
        with stub() as server:
            quick = over_server(server, many, slots, folder, rounds)
        serving = ("--runner", "pooling", "--chat-template", str(template))
        with vllm(folder, slots, *serving) as server:
            whole = over_server(server, given, slots, folder, rounds)
        rows = [*whole.rows, *in_process(folder, given, rounds), *on_transformers(given, rounds)]
    return Found([*rows, *quick.rows], {"vLLM": whole.facts, "stub": quick.facts})
