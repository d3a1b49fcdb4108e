"""Replicas on a cluster of several nodes, all on this machine, and what happens as nodes go."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from rerank_bench import (
    Candidates,
    Document,
    EngineDied,
    EngineFault,
    Job,
    NextToken,
    PairScore,
    Prompt,
    drive,
    open_engine,
)
from rerank_bench.engines import ReplyCache
from rerank_bench.engines.ray import RayEngine, RayOptions
from rerank_bench.reranking import Defaults, choose
from rerank_bench.runs import read_manifest
from rerank_bench.suite import run_suite

pytest.importorskip("ray", reason="the extra `ray` is not installed")

from ray.cluster_utils import Cluster

STORE = 100 << 20
Nodes = Callable[[int], list[Any]]
Open = Callable[..., RayEngine]


def processes_below() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [p for p in found if p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that runs nothing; afterwards no process and no file of it is left."""
    before = {process.pid for process in processes_below()}
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        found = Cluster(initialize_head=True, head_node_args=head)
        yield found
        found.shutdown()
    shutil.rmtree(folder)
    deadline = time.monotonic() + 10
    while left := [p for p in processes_below() if p.pid not in before]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.fixture
def nodes(cluster: Cluster) -> Nodes:
    """Add or kill nodes of one core each until there are so many; return them."""

    def bring_to(count: int) -> list[Any]:
        while len(cluster.worker_nodes) > count:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        while len(cluster.worker_nodes) < count:
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
        return list(cluster.worker_nodes)

    return bring_to


@pytest.fixture
def opened(cluster: Cluster) -> Iterator[Open]:
    """Open engines on the cluster."""
    engines: list[RayEngine] = []

    def open_one(inner: str = "fake", model: object = "any", **options: Any) -> RayEngine:
        given = {"concurrency": 8, "wait_seconds": 60.0, **options}
        chosen = RayOptions(inner=inner, model=str(model), ray_address=cluster.address, **given)
        engines.append(RayEngine(chosen))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


def pair(number: int) -> PairScore:
    return PairScore(f"apple pear{number % 5}", f"apple number {number} pear{number % 7}")


def until(done: Callable[[], bool], more: int = 50) -> Iterator[PairScore]:
    """Requests until `done`, and some more."""
    deadline, number = time.monotonic() + 60, 0
    while more:
        assert time.monotonic() < deadline
        more -= done()
        time.sleep(0.002)
        yield pair(number)
        number += 1


def state(engine: RayEngine, name: str) -> int:
    found: int = engine.statistics.in_effect.get(name, 0)
    return found


def require_all(found: list[tuple[int, Any]]) -> None:
    """Require each request to be answered once, as in this process."""
    requests = [pair(number) for number in range(len(found))]
    assert sorted(found) == list(open_engine("fake").stream(iter(requests)))


def test_a_suite_gives_what_one_process_gives_and_counts_as_the_same_runs(
    nodes: Nodes, cluster: Cluster, suite_of: Any, beir: Any
) -> None:
    nodes(2)
    queries = {f"q{i}": f"apple pear{i}" for i in range(8)}
    corpus = {f"d{i}": f"apple number {i} pear{i % 8}" for i in range(30)}
    data = beir(queries, corpus, {f"q{i}": {f"d{i}": 1} for i in range(8)})
    one = suite_of(data, "cross-encoder:as=c", "listwise:as=l", engine="fake", cache=None)
    on_ray = Defaults("any", "ray", {"inner": "fake", "ray_address": cluster.address})
    many = replace(
        one,
        rerankers=[
            choose(f"{name}:as={name[0]}", on_ray) for name in ("cross-encoder", "listwise")
        ],
        out=one.out.parent / "many",
    )
    folders = run_suite(one)
    for here, there in zip(folders, run_suite(many), strict=True):
        assert read_manifest(here)["settings"] == read_manifest(there)["settings"]
        assert (here / "rankings.parquet").read_bytes() == (there / "rankings.parquet").read_bytes()
    manifest = read_manifest(there)
    assert manifest["engine"]["replicas"] >= 1
    assert not manifest["is_real"]


def test_a_real_model_gives_the_same_scores_and_errors_on_every_node(
    nodes: Nodes, opened: Open, cross_encoder: Path
) -> None:
    nodes(2)
    engine = opened("transformers", cross_encoder)
    alone = open_engine("transformers", model=str(cross_encoder))
    assert engine.identity == alone.identity
    assert engine.fit(["one two three"], 2) == alone.fit(["one two three"], 2)
    requests = [pair(number) for number in range(120)]
    found = dict(engine.stream(iter(requests)))
    expected = dict(alone.stream(iter(requests)))
    scores = [found[number].logits[0] for number in range(120)]
    assert scores == pytest.approx([expected[n].logits[0] for n in range(120)], abs=1e-5)
    assert [found[n].prompt_tokens for n in range(120)] == [
        expected[n].prompt_tokens for n in range(120)
    ]
    engine.forget()
    assert engine.statistics.loading_seconds > 0
    assert engine.statistics.config == alone.statistics.config
    with pytest.raises(EngineFault, match="is no causal language model"):
        list(engine.stream(iter([NextToken(Prompt(text="a"), ("b",))])))


def test_requests_of_a_killed_node_are_asked_again_and_a_node_that_joins_gets_a_replica(
    nodes: Nodes, opened: Open
) -> None:
    nodes(2)
    engine = opened()
    found: list[tuple[int, Any]] = []
    for answered in engine.stream(until(lambda: state(engine, "replicas_lost") > 0)):
        found.append(answered)
        if len(found) == 100:
            nodes(1)
    require_all(found)
    found.clear()
    for answered in engine.stream(until(lambda: engine.hardware["nodes"] > 1)):
        found.append(answered)
        if len(found) == 100:
            assert engine.hardware["nodes"] == 1
            nodes(2)
    require_all(found)


def test_without_any_replica_the_run_ends_and_keeps_what_is_finished(
    nodes: Nodes, opened: Open, tmp_path: Path
) -> None:
    nodes(2)
    reranker = choose("cross-encoder:engine=fake").reranker

    def jobs() -> Iterator[Job]:
        for number in range(1_000_000):
            time.sleep(0.01)
            texts = [Document(f"d{i}", f"apple {number} pear{i}") for i in range(4)]
            yield Job(number, reranker, Candidates("t", f"q{number}", "apple", tuple(texts)), "r")

    engine = opened()
    list(engine.stream(iter([pair(0)])))
    assert engine._replicas is not None
    engine._replicas.options = replace(engine.options, wait_seconds=2.0)
    finished: list[Any] = []

    def rerank(cache: ReplyCache) -> None:
        for job, outcome in drive(jobs(), engine, cache=cache):
            finished.append((job, outcome))
            if len(finished) == 50:
                nodes(0)

    with ReplyCache(tmp_path) as cache, pytest.raises(EngineDied, match="wait_seconds=2: no node"):
        rerank(cache)
    with ReplyCache(tmp_path) as cache:
        again = list(drive([job for job, _ in finished], open_engine("fake"), cache=cache))
    assert {outcome.usage.from_cache for _, outcome in again} == {4}
    key = {job.key: outcome.scores for job, outcome in finished}
    assert {job.key: outcome.scores for job, outcome in again} == key


class Deadly:
    """A request that ends the process that reads it."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


def test_a_request_that_ends_every_replica_ends_the_run(nodes: Nodes, opened: Open) -> None:
    nodes(2)
    engine = opened()
    requests: list[Any] = [pair(0), Deadly(), pair(2)]
    with pytest.raises(EngineDied, match="3 replicas were lost with the same request"):
        list(engine.stream(iter(requests)))
    require_all(list(engine.stream(pair(number) for number in range(20))))


def test_a_node_with_another_environment_is_refused(nodes: Nodes, opened: Open) -> None:
    nodes(1)
    engine = opened()
    engine.__dict__["_described"] = replace(engine._described, identity={"engine": "other"})
    with pytest.raises(EngineFault, match="its answers is word overlap, version 2, that of the"):
        list(engine.stream(iter([pair(1)])))


class Unreadable:
    """What a node cannot read, as it lacks the package."""

    def __reduce__(self) -> Any:
        return importlib.import_module, ("no_such_package",)


def test_a_node_without_the_packages_is_named_in_one_line(
    nodes: Nodes, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes(1)
    engine = opened()
    monkeypatch.setattr(RayOptions, "of_inner", Unreadable())
    with pytest.raises(EngineFault, match=r"cannot run a replica: .*no_such_package.*; all nodes"):
        _ = engine.identity


class Failing:
    """The choice of an engine that cannot be opened on a node."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def open(self) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("config.json\nis not readable"), "a replica failed: OSError: is not readable"),
        (MemoryError(), "a replica failed: MemoryError"),
        (ImportError("no vllm"), "a node cannot run a replica: no vllm; all nodes need the pack"),
    ],
)
def test_packages_are_blamed_only_for_what_cannot_be_imported(
    nodes: Nodes, opened: Open, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    nodes(1)
    engine = opened()
    monkeypatch.setattr(RayOptions, "of_inner", Failing(error))
    with pytest.raises(EngineFault) as found:
        _ = engine.identity
    assert str(found.value).startswith(told)
    assert ("all nodes need the packages" in str(found.value)) == isinstance(error, ImportError)


DRIVER = """
import signal, sys, time
from rerank_bench import PairScore, open_engine

def slowly():
    for number in range(1_000_000):
        time.sleep(0.002)
        yield PairScore("apple", f"apple {number}")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
engine = open_engine("ray", inner="fake", model="any", ray_address=sys.argv[1])
try:
    for index, _ in engine.stream(slowly()):
        if index == 100:
            print("answered", flush=True)
finally:
    engine.close()
"""


def replicas_below() -> list[psutil.Process]:
    return [p for p in processes_below() if "ray::Replica" in " ".join(p.cmdline())]


def test_an_interrupted_run_leaves_no_replica_on_any_node(nodes: Nodes, cluster: Cluster) -> None:
    nodes(2)
    # In a group of its own, as a shell starts it: Ctrl-C reaches all processes of the group.
    run = subprocess.Popen(
        [sys.executable, "-c", DRIVER, cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert run.stdout is not None
    assert run.stdout.readline() == "answered\n"
    assert replicas_below()
    os.killpg(run.pid, signal.SIGINT)
    _, told = run.communicate(timeout=60)
    assert "KeyboardInterrupt" in told
    deadline = time.monotonic() + 10
    while left := replicas_below():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "head"])
def test_an_address_without_a_cluster_is_an_error_at_once(address: str) -> None:
    engine = RayEngine(RayOptions(inner="fake", model="any", ray_address=address))
    with pytest.raises(EngineFault, match=f"Ray cannot be joined at {address}: "):
        _ = engine.identity


def test_closing_leaves_no_replica_and_a_cluster_that_was_started_here_is_removed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tempfile.mkdtemp(prefix="rb-", dir="/tmp")
    monkeypatch.setattr(tempfile, "tempdir", folder)
    monkeypatch.delenv("RAY_TMPDIR")
    before = {process.pid for process in processes_below()}
    engine = RayEngine(RayOptions(inner="fake", model="any", replicas=2))
    require_all(list(engine.stream(pair(number) for number in range(300))))
    assert state(engine, "replicas") >= 1
    assert list(Path(folder).iterdir())
    engine.close()
    assert not list(Path(folder).iterdir())
    deadline = time.monotonic() + 10
    while left := [p for p in processes_below() if p.pid not in before]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    Path(folder).rmdir()
