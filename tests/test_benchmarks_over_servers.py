"""The servers of the benchmarks: what a stub in place of vLLM answers, and what reaches it."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import open_engine

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"


def module(name: str) -> SimpleNamespace:
    """A file of the benchmarks, which import one another by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PEERS)
        return SimpleNamespace(**runpy.run_path(str(PEERS / f"{name}.py"), run_name=name))


LISTWISE, POINTWISE, TEXTS = module("listwise"), module("pointwise"), module("plain_texts")


@pytest.fixture(scope="module")
def few() -> Any:
    return TEXTS.lists(2, 6, 5)


@contextmanager
def sides(few: Any, folder: Path, model: Path, answer: str) -> Iterator[Any]:
    with LISTWISE.stub(answer) as server:
        yield LISTWISE.Sides(few, server, folder, window=4, stride=2, slots=4, model=str(model))


def test_windows_move_over_a_stub_and_each_is_posted_once(few, tmp_path, llama):
    with sides(few, tmp_path, llama, LISTWISE.permutation(4)) as both:
        way = both.ours()
        way.before()
        both.server.posts()  # those of the engine's check
        orders = way.run()
        posted = both.server.posts()
    turned = [[row.doc_ids[place] for place in (4, 5, 1, 0, 3, 2)] for row in few.pool.rows]
    assert orders == turned
    assert [path for path, _ in posted] == ["/v1/completions"] * both.calls
    assert len({tuple(body["prompt"]) for _, body in posted}) == both.calls == 4


def test_the_messages_of_a_peer_are_the_token_ids_that_engine_http_posts(few, tmp_path, llama):
    with sides(few, tmp_path, llama, LISTWISE.permutation(4)) as both:
        ours = both.ours()
        ours.before()
        both.server.posts()
        ours.run()
        last = [body["prompt"] for _, body in both.server.posts()]
    row = few.pool.rows[0]
    texts = [few.task.corpus[i] for i in row.doc_ids[2:]]
    passages = "".join(f"[{n}] {text}\n" for n, text in enumerate(texts, start=1))
    values = {"query": few.task.queries[row.query_id], "num": 4}
    content = LISTWISE.HEAD.format(**values) + passages + LISTWISE.TAIL.format(**values)
    ids = LISTWISE._ids(str(llama), [{"role": "user", "content": content}])
    assert list(ids) in last


def test_other_prompts_than_those_of_the_peer_are_counted(few, tmp_path, llama):
    with sides(few, tmp_path, llama, LISTWISE.permutation(4)) as both:

        def ask() -> None:
            message = {"role": "user", "content": "one passage less"}
            for _ in range(both.calls):
                body = {"model": "served", "messages": [message], "max_tokens": 20}
                body |= {"temperature": 0.0, "structured_outputs": {}}
                httpx2.post(f"{both.server.url}/v1/chat/completions", json=body)

        both.peer = lambda: SimpleNamespace(before=lambda: None, run=ask)
        found = LISTWISE.equal_prompts(both)
    assert found.compared == both.calls
    assert not found.holds


def test_both_clients_read_the_same_scores_from_a_stub(few, llama_classifier):
    options = {"base_url": "", "model": "served", "tokenizer": str(llama_classifier)}
    with POINTWISE.stub() as server:
        engine = open_engine("http", **{**options, "base_url": server.url})
        found = POINTWISE.engine_way("ours", engine, few).run()
        engine.close()
        answers = []
        for row in few.pool.rows:
            texts = [few.task.corpus[i] for i in row.doc_ids]
            body = {"query": few.task.queries[row.query_id], "documents": texts}
            results = httpx2.post(f"{server.url}/v1/rerank", json=body).json()["results"]
            answers += [r["relevance_score"] for r in sorted(results, key=lambda r: r["index"])]
    assert found == pytest.approx(answers, abs=1e-12)
    assert len(set(found)) > 6


def test_a_server_that_does_not_start_is_an_error_with_the_end_of_its_log(tmp_path):
    with (
        pytest.raises(click.ClickException, match="vLLM did not start"),
        POINTWISE.vllm(tmp_path / "nothing", 4),
    ):
        pass


@given(st.text(), st.integers(1, 9))
def test_plain_texts_hold_nothing_that_is_escaped_or_joined(text, words):
    plain = TEXTS.plain(text, words)
    assert len(plain.split()) <= words
    assert " ".join(plain.split()) == plain
    assert not any(c.isdigit() or c in "[]" for c in plain)
