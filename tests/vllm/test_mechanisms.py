"""Every way in which a language model reranks gives the same on vLLM and on transformers.

Two queries of a real task are reranked by each mechanism, greedily and in float32; both engines are
started once and answer all mechanisms together. What may differ is said in tests/mechanisms.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make test-vllm` brings its own")

from rerank_bench import BadOption, Task, load_task
from rerank_bench.engines import ReplyCache, open_engine

pytestmark = pytest.mark.timeout(900)  # two cores, which may be busy

SIZE = {"queries": 2, "depth": 8, "tokens": 24}
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
def task(request: pytest.FixtureRequest) -> Task:
    """A real task: of the Nano data where they are, else of Python's own documentation."""
    if request.param == "noveleval":
        return load_task(str(request.getfixturevalue("nano") / "NanoGraded" / "noveleval"))
    try:
        request.getfixturevalue("nano")
    except pytest.skip.Exception:
        return load_task("stdlib-code")
    pytest.skip("the real Nano task is there and was run")


def answered(engine: Any, names: list[str], task: Task, folder: Path, mechanisms: Any) -> Any:
    # A pair that several sorts ask about is answered once.
    with ReplyCache(folder) as cache:
        return mechanisms.run(engine, names, task, cache=cache, **SIZE)


@pytest.fixture(scope="module")
def both(task: Task, mechanisms: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The same mechanisms on both engines: those that both can serve."""
    here = open_engine("transformers", model="smollm2", device="cpu", dtype="float32")
    vllm = open_engine("vllm", model="smollm2", dtype="float32", **VLLM)
    served = [n for n in mechanisms.NAMES if vllm.supports(mechanisms.reranker(n).asks)]
    names = [n for n in served if n != mechanisms.RAW]
    folder = tmp_path_factory.mktemp("replies")
    ours = answered(here, names, task, folder, mechanisms)
    plain = mechanisms.Plain(here)
    here.close()
    yield Both(ours, answered(vllm, names, task, folder, mechanisms), plain, vllm)
    vllm.close()


def test_a_mechanism_ranks_alike_on_both_engines(
    mechanism: str, both: Both, mechanisms: Any, measured: Measured
) -> None:
    if mechanism not in both.here:
        pytest.skip("vLLM cannot serve it")
    pairs = list(zip(both.here[mechanism], both.vllm[mechanism], strict=True))
    same = [mechanisms.compare(one, other, both.plain) for one, other in pairs]
    noise = max(mechanisms.noise(one, other) for one, other in pairs)
    measured(f"{mechanism}: noise {noise:.1e}; {sum(same)} of {len(same)} queries alike throughout")


def test_almost_all_queries_are_compared_to_their_end(both: Both, mechanisms: Any) -> None:
    pairs = [
        pair for name in both.here for pair in zip(both.here[name], both.vllm[name], strict=True)
    ]
    whole = sum(mechanisms.compare(one, other, both.plain) for one, other in pairs)
    assert whole >= 0.9 * len(pairs)


def test_vllm_refuses_what_it_cannot_serve(both: Both, task: Task, mechanisms: Any) -> None:
    for name in mechanisms.NAMES:
        kinds = mechanisms.reranker(name).asks
        assert both.engine.supports(kinds) == (name in both.here or name == mechanisms.RAW)
    with pytest.raises(BadOption, match="raw needs the logits of labels"):
        mechanisms.run(both.engine, [mechanisms.RAW], task, **SIZE)
