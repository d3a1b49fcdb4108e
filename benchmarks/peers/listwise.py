"""Sliding windows over one server: the listwise reranker on engine http beside rank-llm.

Both send the same messages to the same vLLM, at most `--slots` at once, and read the same texts.
Over a model the server is what takes the time; a stub in its place shows what the clients cost.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from plain_texts import Lists, lists
from servers import NAME, Server, Watch, cold, require, smollm2, stub, vllm
from side_by_side import Equality, Found, Match, Way, case, rounds, same, side_by_side

from rerank_bench.engines.http import HttpEngine, HttpOptions
from rerank_bench.quiet import quiet
from rerank_bench.reranking import order
from rerank_bench.types import Answers, AnyRequest, Generate, Generation

Orders = Sequence[Sequence[str]]
AIM = 1.5
HEAD = "Query: {query}\nPassages:\n"
TAIL = (
    "Order these {num} passages by how well they answer the query, best first. Write nothing but "
    "all {num} identifiers, in the form [2] > [1]."
)


def our_prompt(folder: Path) -> str:
    """Write the prompt as a file of this package."""
    values = {"query": "{{ query }}", "num": "{{ passages | length }}"}
    body = "{% for p in passages %}[{{ p.id }}] {{ p.text }}\n{% endfor %}"
    text = HEAD.format(**values) + body + TAIL.format(**values)
    head = 'source = "benchmarks"\nlicence = "Apache-2.0"\nchanges = "none"\n'
    file = folder / "prompt.toml"
    file.write_text(f'{head}[[message]]\nrole = "user"\ntext = {json.dumps(text)}\n')
    return str(file)


def peer_prompt(folder: Path) -> str:
    """Write the same prompt as a template of rank-llm; JSON is YAML."""
    parts = {"prefix": HEAD, "body": "[{rank}] {candidate}\n", "suffix": TAIL}
    read = {"output_validation_regex": ".*", "output_extraction_regex": r"\[(\d+)\]"}
    file = folder / "prompt.yaml"
    file.write_text(json.dumps({"method": "singleturn_listwise", **parts, **read}))
    return str(file)


def form(window: int) -> str:
    """Return the form that both sides have vLLM force on its answers, as a regular expression.

    Other text is read differently: rank-llm takes every digit for an identifier.
    """
    one = rf"\[({'|'.join(map(str, range(1, window + 1)))})\]"
    return f"{one}( > {one}){{{window - 1}}}"


class Recording(HttpEngine):
    """Engine http that asks for texts of the form `pattern`, and keeps them."""

    def __init__(self, options: HttpOptions, pattern: str) -> None:
        super().__init__(options)
        self.pattern = pattern
        self.texts: list[str] = []

    def stream(self, requests: Iterator[AnyRequest | None]) -> Answers:
        """Answer requests."""
        asked = (
            replace(one, pattern=self.pattern) if isinstance(one, Generate) else one
            for one in requests
        )
        for index, reply in super().stream(asked):
            if isinstance(reply, Generation):
                self.texts.append(reply.text)
            yield index, reply


@dataclass
class Sides:
    """The two ways to rerank `given` over a server, with a new client for each call.

    folder: for the prompt files. texts: by way, what the last call was told.
    """

    given: Lists
    server: Server
    folder: Path
    window: int
    stride: int
    slots: int
    model: str = field(default_factory=smollm2)
    texts: dict[str, list[str]] = field(default_factory=dict)
    _client: Any = None

    @property
    def calls(self) -> int:
        """How many windows all queries have."""
        further = -(-max(self.given.pool.depth - self.window, 0) // self.stride)
        return len(self.given.pool.rows) * (1 + further)

    def ours(self) -> Way[Orders]:
        """Rerank by the reranker listwise on engine http."""
        name = f"listwise, engine http, {self.server.name}"
        return Way(name, self._rerank, self._open_engine)

    def peer(self) -> Way[Orders]:
        """Rerank by rank-llm through the SDK of OpenAI."""
        name = f"rank-llm `RankListwiseOSLLM`, {self.server.name}"
        return Way(name, self._peer_reranks, self._open_peer)

    def _open_engine(self) -> None:
        if isinstance(self._client, HttpEngine):
            self._client.close()
        options = HttpOptions(
            base_url=self.server.url, model=NAME, tokenizer=self.model, concurrency=self.slots
        )
        self._client = Recording(options, form(self.window))
        _ = self._client.identity  # connects, and reads the tokenizer

    def _rerank(self) -> Orders:
        options = {
            "window": self.window, "stride": self.stride, "prompt": our_prompt(self.folder),
            "max_tokens": answer_tokens(self.model, self.window),
        }  # fmt: skip
        found = self.given.reranked("listwise", options, self._client)
        self.texts["ours"] = self._client.texts
        return [[texts.documents[i].doc_id for i in order(o.scores)] for texts, o in found]

    def _open_peer(self) -> None:
        """Open a client: that of one call cannot be used in the event loop of the next."""
        from rank_llm.rerank.listwise.rank_listwise_os_llm import RankListwiseOSLLM

        with muted():
            self._client = RankListwiseOSLLM(
                self.model, prompt_template_path=peer_prompt(self.folder), device="cpu",
                window_size=self.window, stride=self.stride, batch_size=self.slots,
                base_url=f"{self.server.url}/v1",
                sampling_kwargs={"structured_outputs": {"regex": form(self.window)}},
            )  # fmt: skip

    def _peer_reranks(self) -> Orders:
        task, rows = self.given.task, self.given.pool.rows
        with muted():
            found = self._client.rerank_batch(
                [_request(task.queries[r.query_id], r.doc_ids, task.corpus) for r in rows],
                rank_end=self.given.pool.depth,
                populate_invocations_history=True,
            )
        calls = [call for result in found for call in result.invocations_history]
        if not all(call.token_usage for call in calls):  # it takes an error for an answer
            raise click.ClickException(f"rank-llm was not answered: {calls[0].response}")
        self.texts["peer"] = [call.response for call in calls]
        return [[c.docid for c in result.candidates] for result in found]


def _request(query: str, doc_ids: Sequence[str], corpus: Mapping[str, str]) -> Any:
    from rank_llm.data import Candidate, Query, Request

    candidates = [Candidate(docid=i, score=0.0, doc={"text": corpus[i]}) for i in doc_ids]
    return Request(query=Query(text=query, qid="q"), candidates=candidates)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Leave out what rank-llm prints and its progress bar."""
    nowhere = io.StringIO()
    with quiet(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def equal_prompts(sides: Sides) -> Equality:
    """Compare the token ids of all prompts that reach a stub from both sides."""
    posted = []
    for way in (sides.ours(), sides.peer()):
        way.before()
        sides.server.posts()
        way.run()
        posted.append(sides.server.posts())
    ours = Counter(tuple(body["prompt"]) for _, body in posted[0])
    peer = Counter(_ids(sides.model, body["messages"]) for _, body in posted[1])
    limits = {
        (body["max_tokens"], body["temperature"], str(body["structured_outputs"]))
        for side in posted
        for _, body in side
    }
    count = max(ours.total(), peer.total())
    missing = count - (ours & peer).total() + len(limits) - 1
    return Equality("prompts", count, missing, 0)


def _ids(model: str, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def permutation(window: int) -> str:
    """Return the answer that turns a window round."""
    return " > ".join(f"[{place}]" for place in range(window, 0, -1))


@functools.cache
def answer_tokens(model: str, window: int) -> int:
    """Return the tokens of a whole permutation, which is how much rank-llm lets a model write."""
    from transformers import AutoTokenizer

    whole = " > ".join(f"[{place}]" for place in range(1, window + 1))
    return len(AutoTokenizer.from_pretrained(model)(whole, add_special_tokens=False)["input_ids"])


def over_stub(sides: Sides, rounds: int) -> Found:
    """Time both over a server that answers at once, where all prompts are equal."""
    prompts = equal_prompts(sides)
    watch = Watch(sides.server)
    match = Match(watch.over(sides.ours()), watch.over(sides.peer()), AIM)

    def compare(ours: Orders, peer: Orders) -> Equality:
        orders = same("prompts and orders")(ours, peer)
        count, apart = prompts.compared + orders.compared, prompts.difference + orders.difference
        return Equality(orders.what, count, apart, 0)

    rows = side_by_side([match], compare, rounds)
    return Found(rows, watch.facts(sides.calls))


def over_model(sides: Sides, rounds: int) -> Found:
    """Time both over vLLM, and count how many of its answers were the same text."""
    watch = Watch(sides.server)
    ways = [cold(watch.over(way), sides.server) for way in (sides.ours(), sides.peer())]
    rows = side_by_side([Match(*ways, AIM)], same("orders"), rounds)
    both = Counter(sides.texts["ours"]) & Counter(sides.texts["peer"])
    facts = {**watch.facts(sides.calls), "answers": sides.calls, "equal_answers": both.total()}
    return Found(rows, facts)


@case("listwise", "rank-llm", "openai")
@click.option("--queries", default=24, show_default=True, help="Over vLLM.")
@click.option("--depth", default=12, show_default=True)
@click.option("--words", default=12, show_default=True, help="Of each document.")
@click.option("--window", default=8, show_default=True)
@click.option("--stride", default=4, show_default=True)
@click.option(
    "--stub-queries",
    default=200,
    show_default=True,
    help="Over the stub: 30 documents of 30 words.",
)
@click.option("--slots", default=32, show_default=True)
@rounds(3)
def listwise(
    queries: int, depth: int, words: int, window: int, stride: int, stub_queries: int, slots: int,
    rounds: int,
) -> Found:  # fmt: skip
    """Sliding windows over one vLLM server, and over a stub that answers at once."""
    require("vllm", "rank_llm")
    given, many = lists(queries, depth, words), lists(stub_queries, 30, 30)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with stub(permutation(20)) as server:
            quick = over_stub(Sides(many, server, folder, 20, 10, slots), rounds)
        with vllm(smollm2(), slots) as server:
            whole = over_model(Sides(given, server, folder, window, stride, slots), rounds)
    return Found([*whole.rows, *quick.rows], {"vLLM": whole.facts, "stub": quick.facts})
