"""A run that is killed loses at most what 256 replies or five seconds had finished.

The runs here commit after one second, not five, so that the test takes less time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rerank_bench import load_run
from rerank_bench.runs import find_runs

QUERIES, ROUNDS, PER_SECOND, COMMIT_SECONDS = 350, 2, 250, 1.0
MOMENTS = (0.4, 1.1, 1.38, 2.2)
"""Seconds into the run; a round of 350 requests at 250 a second lasts 1.4 or more."""

SCRIPT = """
import sys, time
from pathlib import Path
from rerank_bench.engines import cache, fake, overlap
from rerank_bench.cli import main
from rerank_bench.report import printing

log = open(sys.argv[1], "a", buffering=1)
pause = float(sys.argv[2])

def slow(request):
    time.sleep(pause)
    log.write("asked\\n")
    return overlap(request)

cache.COMMIT_SECONDS = float(sys.argv[3])
fake.overlap = slow
printing.report = lambda *arguments, **options: None
log.write("begun\\n")
main(sys.argv[4:])
"""

MINE = """
from rerank_bench import PairScore

class TwoRounds:
    asks = frozenset({PairScore})

    def rerank(self, candidates):
        first, second = candidates.documents
        (one,) = yield [PairScore(candidates.query, first.text)]
        (two,) = yield [PairScore(candidates.query, second.text)]
        return [one.logits[0], two.logits[0]]
"""


def write_task(folder: Path) -> None:
    (folder / "qrels").mkdir(parents=True)
    corpus, queries, qrels = [], [], ["query-id\tcorpus-id\tscore"]
    for i in range(QUERIES):
        queries.append({"_id": f"q{i}", "text": f"alpha{i} beta{i}"})
        corpus.append({"_id": f"d{i}a", "title": "", "text": f"alpha{i} gamma once"})
        corpus.append({"_id": f"d{i}b", "title": "", "text": f"alpha{i} beta{i} gamma twice"})
        qrels.append(f"q{i}\td{i}b\t1")
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text("\n".join(qrels) + "\n")


def start(home: Path, data: Path, *, pause: float) -> subprocess.Popen[bytes]:
    home.mkdir(exist_ok=True)
    (home / "script.py").write_text(SCRIPT)
    (home / "mine.py").write_text(MINE)
    command = [sys.executable, str(home / "script.py"), str(home / "log"), str(pause)]
    command += [str(COMMIT_SECONDS), "run", "--task", str(data), "--profile", "bm25"]
    command += ["--engine", "fake", "--reranker", f"{home / 'mine.py'}:TwoRounds"]
    command += ["--as", "two-rounds", "--cache", str(home / "cache"), "--out", str(home / "runs")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def asked(home: Path) -> int:
    log = home / "log"
    return log.read_text().count("asked") if log.exists() else 0


def rankings(home: Path) -> list[tuple[str, tuple[str, ...]]]:
    (folder,) = find_runs(home / "runs")
    return [(result.query_id, result.doc_ids) for result in load_run(folder).results]


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_rankings_and_asks_little_again(tmp_path):
    data = tmp_path / "data"
    write_task(data)
    whole = tmp_path / "whole"
    assert start(whole, data, pause=0.0).wait(120) == 0
    assert asked(whole) == QUERIES * ROUNDS
    homes = {moment: tmp_path / f"killed-at-{moment}" for moment in MOMENTS}
    running = {moment: start(home, data, pause=1 / PER_SECOND) for moment, home in homes.items()}
    begun: dict[float, float] = {}
    while running:
        for moment, process in list(running.items()):
            if asked(homes[moment]) and moment not in begun:
                begun[moment] = time.monotonic()
            if time.monotonic() - begun.get(moment, time.monotonic()) >= moment:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                del running[moment]
        time.sleep(0.02)
    before = {moment: asked(home) for moment, home in homes.items()}
    for moment, home in homes.items():
        assert 0 < before[moment] < QUERIES * ROUNDS, f"killed too late at {moment}"
        assert not find_runs(home / "runs") if (home / "runs").exists() else True
    resumed = [start(home, data, pause=0.0) for home in homes.values()]
    assert [process.wait(120) for process in resumed] == [0] * len(homes)
    for moment, home in homes.items():
        again = asked(home) - QUERIES * ROUNDS
        assert 0 <= again <= min(256, COMMIT_SECONDS * PER_SECOND), f"{again} again at {moment}"
        assert rankings(home) == rankings(whole)
