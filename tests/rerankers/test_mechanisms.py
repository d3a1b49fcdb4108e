"""Every way in which a language model reranks, on a real one, against plain forward passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rerank_bench import Message, PoolRow, Prompt, Task, build_pool, load_task
from rerank_bench.engines import find_model
from rerank_bench.engines.local import TransformersEngine, TransformersOptions
from rerank_bench.errors import MissingExtra
from rerank_bench.reranking import Declared, load_method, methods
from rerank_bench.types import Attend, Embed, Generate

DOCUMENTS, TOKENS, CHECKED = 4, 16, 6


@pytest.fixture(scope="module")
def engine(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """SmolLM2, converted once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        (cache / "models").symlink_to(models_folder)
        patch.setenv("RERANK_BENCH_CACHE", str(cache))
        try:
            find_model("smollm2")
        except MissingExtra as error:
            pytest.skip(str(error))
        opened = TransformersEngine(TransformersOptions(model="smollm2", device="cpu"))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pool() -> tuple[Task, list[PoolRow]]:
    """A real query and its first candidates."""
    task = load_task("stdlib-code")
    return task, [build_pool(task, "bm25").rows[0].first(DOCUMENTS)]


@pytest.fixture(scope="module")
def plain(engine: Any, mechanisms: Any) -> Any:
    return mechanisms.Plain(engine)


def test_no_method_that_a_language_model_can_answer_is_left_out(mechanisms: Any) -> None:
    asking = {
        name for name in methods()
        if (asks := Declared.of(load_method(name)()).asks) and asks <= mechanisms.KINDS
    }  # fmt: skip
    assert asking == {*mechanisms.LISTED, *mechanisms.NOT_HERE}
    told = [mechanisms.reranker(name).asks for name in mechanisms.NAMES]
    assert frozenset().union(*told) == mechanisms.KINDS


@pytest.mark.slow
def test_a_mechanism_is_answered_as_the_model_says(
    mechanism: str, engine: Any, pool: Any, plain: Any, mechanisms: Any
) -> None:
    ((outcome,),) = mechanisms.run(engine, [mechanism], *pool, tokens=TOKENS).values()
    assert len(outcome.scores) == DOCUMENTS
    alone = dict(engine.stream(iter([asked for asked, _ in outcome.exchanges[-1:]])))
    mechanisms.decides_the_same(*outcome.exchanges[-1], alone[0], plain)
    for asked, reply in outcome.exchanges[:: len(outcome.exchanges) // CHECKED + 1]:
        if not isinstance(asked, Attend | Embed):
            plain.check(asked, reply)


@pytest.mark.slow
def test_texts_may_part_only_where_two_tokens_are_equally_probable(
    engine: Any, plain: Any, mechanisms: Any
) -> None:
    asked = Generate(Prompt((Message("user", "Which planet is the largest?"),)), 6)
    ((_, reply),) = engine.stream(iter([asked]))
    plain.check(asked, reply)
    behind = plain.logprobs(asked, reply.tokens[:2])[-1]
    other = int(behind.topk(2).indices[1])
    assert behind[reply.tokens[2]] - behind[other] > 2 * mechanisms.NOISE
    parted = replace(reply, tokens=(*reply.tokens[:2], other, *reply.tokens[3:]))
    with pytest.raises(AssertionError, match="texts part at token 2"):
        mechanisms.decides_the_same(asked, reply, parted, plain)
    shorter = replace(reply, tokens=reply.tokens[:3])
    with pytest.raises(AssertionError, match="ends where the other goes on"):
        mechanisms.decides_the_same(asked, reply, shorter, plain)
    with pytest.raises(AssertionError, match="not the most probable token"):
        plain.check(
            asked,
            replace(
                parted,
                tokens=parted.tokens[:3],
                logprobs=(*reply.logprobs[:2], float(behind[other])),
            ),
        )
