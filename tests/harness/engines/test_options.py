"""An option that an engine does not read is an error, never a silence."""

from __future__ import annotations

from dataclasses import fields

import pytest

from rerank_bench import BadOption, UnknownName
from rerank_bench.engines import (
    ENGINES,
    EngineOptions,
    check_options,
    open_engine,
    option_kinds,
    readers,
)
from rerank_bench.engines.options import READS
from rerank_bench.reranking import Defaults, choose


def test_every_engine_says_what_it_reads_and_every_option_is_read_by_one() -> None:
    assert READS.keys() == ENGINES.keys()
    names = {f.name for f in fields(EngineOptions)}
    assert {name for read in READS.values() for name in read} == names - {"labels"}
    assert "labels" not in option_kinds("vllm")


def test_an_option_of_another_engine_is_refused_and_its_own_engine_named() -> None:
    with pytest.raises(BadOption, match="transformers has no option base_url; it is one of http"):
        check_options(EngineOptions(model="m", base_url="http://127.0.0.1:1"))
    with pytest.raises(BadOption, match="data_parallel is an option of engine vllm"):
        choose("pointwise:model=m,data_parallel=2")
    with pytest.raises(UnknownName, match="max_model_len"):
        choose("pointwise:model=m,max_model_length=2")


def test_a_default_reaches_the_rerankers_whose_engine_reads_it() -> None:
    defaults = Defaults("m", None, {"block_size": "16", "dtype": "float32"})
    vllm = choose("pointwise:engine=vllm", defaults).engine
    assert (vllm.block_size, vllm.dtype) == (16, "float32")
    other = choose("pointwise", defaults).engine
    assert (other.block_size, other.dtype) == (None, "float32")


@pytest.mark.parametrize("name", ["max_model_len", "data_parallel", "concurrency"])
def test_a_count_below_one_is_refused(name: str) -> None:
    with pytest.raises(BadOption, match=f"{name} must be at least 1"):
        EngineOptions(**{name: 0})


def test_readers_of_an_unknown_option_are_none() -> None:
    assert readers("colour") == []
    assert readers("device") == ["transformers"]


def test_a_label_head_needs_a_reranker_with_fixed_labels() -> None:
    with pytest.raises(BadOption, match="no fixed labels"):
        choose("listwise:engine=vllm,model=m,head=labels")
    engine = choose("first:engine=vllm,model=m,head=labels,window=4").engine
    assert engine.labels == ("A", "B", "C", "D")
    assert choose("first:engine=vllm,model=m").engine.labels == ()


def test_an_unknown_engine_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="did you mean vllm"):
        choose("pointwise:engine=vlm,model=m")
    with pytest.raises(UnknownName, match="did you mean http"):
        open_engine(EngineOptions("htp"))
