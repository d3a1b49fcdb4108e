"""Every way in which a language model reranks gives the same on vLLM and on transformers.

A query of a real task is reranked by each mechanism, greedily and in float32; both engines are
started once and answer all mechanisms together. What may differ is said in tests/mechanisms.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make test-vllm` brings its own")

from rerank_bench import BadOption, PoolRow, Task, build_pool, load_task
from rerank_bench.engines import ReplyCache, open_engine

pytestmark = pytest.mark.timeout(900)  # two cores, which may be busy

QUERIES, DOCUMENTS, TOKENS = 1, 4, 12
VLLM = {"max_model_len": 1024, "max_num_seqs": 16, "max_num_batched_tokens": 2048}
Measured = Callable[[str], None]


@dataclass(frozen=True)
class Both:
    """Outcomes by mechanism on either engine, and what judges a difference."""

    here: dict[str, Any]
    vllm: dict[str, Any]
    plain: Any
    engine: Any


@pytest.fixture(scope="module", params=["noveleval", "stdlib-code"])
def pools(request: pytest.FixtureRequest) -> tuple[Task, list[PoolRow]]:
    """Pools of a real task: of the Nano data where they are, else of Python's documentation."""
    try:
        nano = request.getfixturevalue("nano")
    except pytest.skip.Exception:
        if request.param == "noveleval":
            raise
        return first_rows("stdlib-code")
    if request.param == "stdlib-code":
        pytest.skip("the task of the Nano data is run in its place")
    return first_rows(str(nano / "NanoGraded" / "noveleval"))


def first_rows(name: str) -> tuple[Task, list[PoolRow]]:
    task = load_task(name)
    return task, [row.first(DOCUMENTS) for row in build_pool(task, "bm25").rows[:QUERIES]]


def answered(engine: Any, names: list[str], pools: Any, folder: Path, mechanisms: Any) -> Any:
    # A pair that several sorts ask about is answered once.
    with ReplyCache(folder) as cache:
        return mechanisms.run(engine, names, *pools, tokens=TOKENS, cache=cache)


@pytest.fixture(scope="module")
def both(pools: Any, mechanisms: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The same mechanisms on both engines: those that both can serve."""
    here = open_engine("transformers", model="smollm2", device="cpu", dtype="float32")
    vllm = open_engine("vllm", model="smollm2", dtype="float32", **VLLM)
    served = [n for n in mechanisms.NAMES if vllm.supports(mechanisms.reranker(n).asks)]
    names = [n for n in served if n != mechanisms.RAW]
    folder = tmp_path_factory.mktemp("replies")
    ours = answered(here, names, pools, folder, mechanisms)
    plain = mechanisms.Plain(here)
    here.close()
    yield Both(ours, answered(vllm, names, pools, folder, mechanisms), plain, vllm)
    vllm.close()


def test_a_mechanism_ranks_alike_on_both_engines(
    mechanism: str,
    both: Both,
    mechanisms: Any,
    measured: Measured,
    request: pytest.FixtureRequest,
) -> None:
    if mechanism not in both.here:
        pytest.skip("vLLM cannot serve it")
    pairs = list(zip(both.here[mechanism], both.vllm[mechanism], strict=True))
    same = [mechanisms.compare(one, other, both.plain) for one, other in pairs]
    noise = max(mechanisms.noise(one, other) for one, other in pairs)
    name = request.node.callspec.id
    measured(f"{name}: noise {noise:.1e}; {sum(same)} of {len(same)} queries alike throughout")


def test_almost_all_queries_are_compared_to_their_end(both: Both, mechanisms: Any) -> None:
    pairs = [
        pair for name in both.here for pair in zip(both.here[name], both.vllm[name], strict=True)
    ]
    whole = sum(mechanisms.compare(one, other, both.plain) for one, other in pairs)
    assert whole >= 0.9 * len(pairs)


def test_vllm_refuses_what_it_cannot_serve(both: Both, pools: Any, mechanisms: Any) -> None:
    for name in mechanisms.NAMES:
        kinds = mechanisms.reranker(name).asks
        assert both.engine.supports(kinds) == (name in both.here or name == mechanisms.RAW)
    with pytest.raises(BadOption, match="raw needs the logits of labels"):
        mechanisms.run(both.engine, [mechanisms.RAW], *pools, tokens=TOKENS)
