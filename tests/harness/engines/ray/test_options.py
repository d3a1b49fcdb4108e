"""Options of engine ray, which starts nothing by being opened."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest

from rerank_bench import BadOption, Generate, MissingExtra, PairScore, open_engine
from rerank_bench.engines.ray import RayOptions
from rerank_bench.reranking import Defaults, choose


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inner": "http"}, "inner 'http' is none of vllm, transformers, fake"),
        ({"device": "cpu"}, "inner=vllm has no option device"),
        ({"inner": "transformers", "max_num_seqs": "3"}, "inner=transformers has no option max_nu"),
        ({"inner": "fake", "block_size": "16"}, "inner=fake has no option block_size"),
        ({"data_parallel": "2"}, "no option data_parallel; it is one of vllm"),
        ({"replicas": "0"}, "replicas must be at least 1"),
        ({"ray_address": "ray://head:10001"}, "start the run on a node of the cluster"),
        ({"inner": "transformers", "device": "cuda:1"}, "GPUs of its own"),
        ({"inner": "transformers", "head": "labels"}, "head 'labels' is none of"),
    ],
)
def test_an_option_that_the_engine_of_a_replica_lacks_is_refused(given: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        open_engine("ray", model="m", **given)


def test_a_replica_is_opened_with_the_options_of_its_own_engine() -> None:
    chosen = RayOptions(model="m", tensor_parallel_size=2, labels=("A",), replicas=3).of_inner
    assert chosen.name == "vllm"
    assert chosen == RayOptions(model="m", tensor_parallel_size=2, labels=("A",)).of_inner
    assert (chosen.options.tensor_parallel_size, chosen.options.labels) == (2, ("A",))
    # As with --engine fake, what describes a checkpoint is ignored.
    assert RayOptions(model="m", dtype="float16", inner="fake").of_inner.options.model == "m"


def test_an_engine_on_ray_answers_what_the_engine_of_its_replicas_does() -> None:
    kinds = frozenset({PairScore, Generate})
    assert open_engine("ray", model="m").supports(kinds)
    assert not open_engine("ray", model="m").supports(kinds | {str})
    assert not open_engine("ray", model="m", inner="fake").is_real


def test_a_run_has_the_same_label_whichever_engine_answers() -> None:
    plain = choose("cross-encoder:model=m,dtype=bfloat16").label
    on_ray = Defaults("m", "ray", {"inner": "transformers", "ray_address": "auto"})
    assert choose("cross-encoder:dtype=bfloat16", on_ray).label == plain


def test_without_ray_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "ray" else found(n))
    with pytest.raises(MissingExtra, match=r"pip install 'rerank-bench\[ray\]'"):
        _ = open_engine("ray", model="m", inner="fake").identity


def test_opening_an_engine_imports_no_ray() -> None:
    code = (
        "import sys\nfrom rerank_bench import open_engine\n"
        "open_engine('ray', model='m', inner='fake').fit(['a'], None)\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
