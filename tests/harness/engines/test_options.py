"""Engines are found by their entry points, and an option that an engine lacks is an error."""

from __future__ import annotations

import pytest

from rerank_bench import BadOption, EngineFault, UnknownName, open_engine
from rerank_bench.engines import (
    choose_engine,
    engine_points,
    option_kinds,
    readers,
    require_support,
)
from rerank_bench.engines.none import NO_ENGINE
from rerank_bench.reranking import Defaults, choose
from rerank_bench.types import Generate, PairScore


@pytest.mark.parametrize("name", engine_points())
def test_every_engine_has_options_and_says_what_it_is(name: str) -> None:
    given = {"model": "m"} if "model" in option_kinds(name) else {}
    engine = choose_engine(name, given).open()
    assert engine.name == name
    assert engine.is_real == (name != "fake")
    assert "labels" not in option_kinds(name)


def test_options_are_read_as_their_types_and_equal_choices_are_one() -> None:
    chosen = choose_engine("vllm", {"model": "m", "block_size": "16", "enforce_eager": "true"})
    assert (chosen.options.block_size, chosen.options.enforce_eager) == (16, True)
    assert chosen == choose_engine("vllm", {"model": "m", "block_size": 16, "enforce_eager": True})


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("htp", {}, UnknownName, "did you mean http"),
        ("transformers", {}, BadOption, "needs the option model"),
        (
            "transformers",
            {"model": "m", "seed": 1},
            BadOption,
            "no option seed; it is one of ray or vllm",
        ),
        ("transformers", {"model": "m", "devise": "cpu"}, UnknownName, "did you mean device"),
        ("vllm", {"model": "m", "labels": "A"}, UnknownName, "labels"),
        ("vllm", {"model": "m", "max_model_len": 0}, BadOption, "max_model_len must be at least"),
        (
            "vllm",
            {"model": "m", "data_parallel": "0"},
            BadOption,
            "data_parallel must be at",
        ),
        ("vllm", {"model": "m", "seed": "one"}, BadOption, "option seed takes int, not 'one'"),
        ("vllm", {"model": "m", "head": "colbert"}, BadOption, "head 'colbert' is none of"),
    ],
)
def test_a_wrong_name_or_value_is_refused(name, options, error, message) -> None:
    with pytest.raises(error, match=message):
        open_engine(name, **options)


def test_an_option_of_another_engine_in_a_rerankers_name_is_refused() -> None:
    with pytest.raises(BadOption, match="data_parallel is an option of engine vllm"):
        choose("pointwise:model=m,data_parallel=2")
    with pytest.raises(UnknownName, match="max_model_len"):
        choose("pointwise:model=m,max_model_length=2")
    with pytest.raises(UnknownName, match="did you mean vllm"):
        choose("pointwise:engine=vlm,model=m")
    assert readers("colour") == []
    assert sorted(readers("device")) == ["ray", "transformers"]


def test_a_default_reaches_the_rerankers_whose_engine_reads_it() -> None:
    defaults = Defaults("m", None, {"block_size": "16", "dtype": "float32"})
    vllm = choose("pointwise:engine=vllm", defaults).engine.options
    assert (vllm.block_size, vllm.dtype) == (16, "float32")
    other = choose("pointwise", defaults).engine
    assert (other.name, other.options.dtype) == ("transformers", "float32")


def test_a_label_head_needs_a_reranker_with_fixed_labels() -> None:
    with pytest.raises(BadOption, match="no fixed labels"):
        choose("listwise:engine=vllm,model=m,head=labels")
    engine = choose("first:engine=vllm,model=m,head=labels,window=4").engine
    assert engine.options.labels == ("A", "B", "C", "D")
    assert choose("first:engine=vllm,model=m").engine.options.labels == ()
    with pytest.raises(BadOption, match="head 'labels' is none of classifier, maxsim"):
        choose("first:model=m,head=labels").engine.open()


def test_an_unsupported_type_names_the_engines_that_would_do() -> None:
    require_support(NO_ENGINE.open(), frozenset(), reranker="r")
    with pytest.raises(
        EngineFault, match=r"r yields Generate, .*ray or transformers or vllm"
    ) as refused:
        require_support(NO_ENGINE.open(), frozenset({Generate}), reranker="r")
    assert "fake" not in str(refused.value)
    with pytest.raises(EngineFault, match="yields PairScore, str, which none"):
        require_support(NO_ENGINE.open(), frozenset({PairScore, str}), reranker="r")
