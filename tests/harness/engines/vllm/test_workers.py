"""Worker processes: requests for all of them, errors that say what happened, nothing left."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rerank_bench.engines.vllm import workers as module
from rerank_bench.engines.vllm.workers import Workers
from rerank_bench.errors import EngineDied, EngineFault

WORKER = """
import os, sys, time
from multiprocessing.connection import Connection

with Connection(int(sys.argv[1])) as pipe:
    settings = pipe.recv()
    print("settings", settings, flush=True)
    if settings == "fail":
        pipe.send(("failed", "no such model"))
        sys.exit(1)
    if settings == "vanish":
        sys.exit("could not allocate")
    if settings == "loading":
        time.sleep(0.1 if os.environ["SHARE"] == "0" else 60)
        pipe.send(("failed", "no such model"))
    pipe.send(("ready", 3, {"pid": os.getpid()}))
    if settings == "deaf":
        time.sleep(60)
    while True:
        try:
            requests = pipe.recv()
        except EOFError:
            break
        if requests is None:
            break
        for request in requests:
            number, item = request.index, request.item
            if item == "die":
                print("about to die", flush=True)
                os.kill(os.getpid(), 9)
            if item == "break":
                pipe.send(("failed", "out of memory; lower something"))
                sys.exit(1)
            time.sleep(0.002)
            pipe.send(("answers", [(number, (item * 2, os.environ.get("SHARE")))], 0.5))
"""
Start = Callable[..., Workers]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "a_worker.py").write_text(WORKER)
    opened: list[Workers] = []

    def start_one(settings: str = "", *, replicas: int = 1) -> Workers:
        where = [{"PYTHONPATH": str(tmp_path), "SHARE": str(i)} for i in range(replicas)]
        opened.append(Workers("a_worker", settings, environments=where, what="a worker"))
        return opened[-1]

    yield start_one
    for workers in opened:
        workers.close()


def numbered(items: Iterable[Any]) -> Iterator[Any]:
    """Requests with an index and an item, all that the worker of these tests reads."""
    return (SimpleNamespace(index=i, item=item) for i, item in enumerate(items))


def answered(workers: Workers, items: Iterable[Any]) -> dict[int, Any]:
    """Answers by the index of their item."""
    return {one.index: answer for one, answer in workers.run(numbered(items))}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"


def test_every_item_is_answered_once_and_all_workers_share_the_queue(start: Start) -> None:
    workers = start(replicas=2)
    found = answered(workers, range(60))
    assert {number: answer for number, (answer, _) in found.items()} == {
        i: 2 * i for i in range(60)
    }
    assert {share for _, share in found.values()} == {"0", "1"}
    assert workers.seconds == 0.5
    assert workers.start_seconds > 0


def test_workers_with_room_for_all_still_share_the_work(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TOGETHER", 2)
    workers = start(replicas=2)
    for worker in workers.processes:
        worker.room = 1000
    shares = [share for _, (_, share) in workers.run(numbered(range(40)))]
    assert shares.count("0") == shares.count("1") == 20


def test_items_are_drawn_only_as_there_is_room(start: Start) -> None:
    drawn: list[int] = []

    def requests() -> Iterator[Any]:
        for request in numbered(range(20)):
            drawn.append(request.index)
            yield request

    answers = start().run(requests())
    next(answers)
    assert len(drawn) == 3
    assert len(list(answers)) == 19


def test_none_waits_for_an_answer_and_is_asked_again(start: Start) -> None:
    first, second, third = numbered([1, 2, 3])
    ready = [first, None, second, None, third]
    assert [answer for _, answer in start().run(iter(ready))] == [(2, "0"), (4, "0"), (6, "0")]


def test_a_file_in_the_current_folder_is_no_module_of_a_worker(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "multiprocessing.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path / "here")
    assert answered(start(), [1]) == {0: (2, "0")}


def test_a_worker_that_cannot_start_says_why_in_one_line(start: Start) -> None:
    with pytest.raises(EngineFault, match="no such model") as caught:
        start("fail")
    assert len(str(caught.value).splitlines()) == 1


def test_a_worker_that_ends_before_it_says_anything_is_quoted(start: Start) -> None:
    with pytest.raises(EngineDied, match=r"exit status 1[\s\S]*could not allocate"):
        start("vanish")


def test_a_killed_worker_is_an_error_with_its_last_lines(start: Start) -> None:
    workers = start(replicas=2)
    with pytest.raises(EngineDied, match=r"SIGKILL[\s\S]*about to die") as caught:
        answered(workers, [1, "die", 2])
    log = Path(str(caught.value).partition("its log is ")[2].splitlines()[0])
    assert "about to die" in log.read_text()
    log.unlink()


def test_a_worker_that_breaks_down_says_why_in_one_line(start: Start) -> None:
    with pytest.raises(EngineDied, match="out of memory; lower something") as caught:
        answered(start(), [1, "break"])
    assert len(str(caught.value).splitlines()) == 1


def test_workers_that_do_not_end_by_themselves_are_waited_for_together_and_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.7)
    workers = start("deaf", replicas=3)
    processes, logs = [w.process for w in workers.processes], [w.log for w in workers.processes]
    started = time.monotonic()
    workers.close()
    assert 0.7 <= time.monotonic() - started < 1.4
    assert [process.returncode for process in processes] == [-9, -9, -9]
    assert not any(log.exists() for log in logs)


def test_of_a_failed_start_only_the_log_that_the_error_names_stays(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.2)
    with pytest.raises(EngineDied, match="no such model") as caught:
        start("loading", replicas=3)
    (log,) = tmp_path.glob("*.log")
    assert f"(log: {log})" in str(caught.value)


def test_closing_ends_the_processes_and_removes_their_logs(start: Start) -> None:
    workers = start(replicas=2)
    pids, logs = [w.in_effect["pid"] for w in workers.processes], [w.log for w in workers.processes]
    workers.close()
    deadline = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, pids))
    assert not any(log.exists() for log in logs)
