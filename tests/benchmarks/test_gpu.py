"""The script for a GPU, on this CPU: what needs no vLLM, and how it keeps to its time."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu"


def run(out: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What it printed and what it stored."""
    command = [sys.executable, SCRIPT, "--out", out, "--passages", "4", "--tokens", "8", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text())


def test_steps_that_need_no_vllm_run_to_their_end_and_are_stored(tmp_path, qwen_judge):
    kinds = ("ceiling", "cross-encoder", "pointwise", "doctor")
    chosen = [word for kind in kinds for word in ("--step", kind)]
    printed, stored = run(tmp_path / "gpu.json", "--model", str(qwen_judge), *chosen)
    done = [step for step in stored["steps"] if step["state"] == "done"]
    assert {step["step"] for step in done} == set(kinds)
    ceilings, encoder, decoder, doctor, *_ = (step["figures"] for step in done)
    assert [found["dtype"] for found in ceilings] == ["bfloat16", "float32"]
    assert all(found["tflops_per_second"] > 0 for found in ceilings)
    for single, half, both in (encoder, decoder):
        assert single["seconds_per_query"] > 0 < half["utilisation"]
        assert 0 < both["largest_score_difference"] < 0.5
    assert doctor[0]["closing"] in printed
    assert {engine["options"]["dtype"] for engine in stored["engines"]} == {"float32", "bfloat16"}
    assert stored["versions"]["torch"]
    assert stored["hardware"]["cores"]


def test_a_step_is_skipped_where_less_than_its_limit_is_left(tmp_path):
    printed, stored = run(tmp_path / "gpu.json", "--minutes", "0.2", "--step", "ceiling")
    (step,) = stored["steps"]
    assert step["state"].startswith("skipped: ")
    assert "s left" in printed
    assert not step["figures"]


@pytest.fixture
def script(monkeypatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(SCRIPT))
    return runpy.run_path(str(SCRIPT / "__main__.py"), run_name="benchmark")


def results(script: dict[str, Any], folder: Path) -> Any:
    return script["Results"](folder / "gpu.json", {}, script["Bench"](folder, 1, 1))


def test_a_step_is_stopped_at_its_limit_and_what_it_found_before_is_stored(script, tmp_path):
    found = results(script, tmp_path)

    def slow(_: Any) -> Iterator[dict[str, Any]]:
        yield {"figure": 1}
        (step,) = json.loads(found.file.read_text())["steps"]
        assert step["figures"] == [{"figure": 1}], "a killed run would have lost it"
        try:
            time.sleep(20)
        except Exception:
            yield {"figure": 2}

    found.measure(script["Step"]("slow", "sleeping", 0.3, slow), left=60)
    (step,) = json.loads(found.file.read_text())["steps"]
    assert step["state"] == "stopped at its limit of 0.3 s"
    assert step["figures"] == [{"figure": 1}]
    assert step["seconds"] < 10


def test_a_step_that_fails_is_recorded_and_the_next_one_runs(script, tmp_path, capsys):
    found = results(script, tmp_path)

    def broken(_: Any) -> Iterator[dict[str, Any]]:
        raise ValueError("out of memory")
        yield {}

    def sound(_: Any) -> Iterator[dict[str, Any]]:
        yield {"figure": 1}

    for kind, measure in (("broken", broken), ("sound", sound)):
        found.measure(script["Step"](kind, "a title", 5, measure), left=60)
    states = [step["state"] for step in json.loads(found.file.read_text())["steps"]]
    assert states == ["failed: ValueError: out of memory", "done"]
    assert "Traceback" in capsys.readouterr().err


def test_utilisation_counts_what_was_not_cached_and_each_written_token(script):
    from measuring import flops

    from rerank_bench.reranking import Usage, find_shape, sequence_flops

    shape = find_shape("Qwen3-0.6B")
    read = Usage(calls=10, prompt_tokens=2000, output_tokens=10)
    assert flops(shape, read, logits=1) == 10 * sequence_flops(shape, 200)
    cached = Usage(calls=10, prompt_tokens=2000, output_tokens=10, cached_tokens=1000)
    assert flops(shape, cached, logits=1) == 10 * sequence_flops(shape, 200, cached=100)
    written = Usage(calls=10, prompt_tokens=2000, output_tokens=20)
    more = flops(shape, written, logits=1) - flops(shape, read, logits=1)
    assert more >= 10 * 2 * (shape.body + shape.embedding)


def test_runs_are_compared_by_scores_first_documents_and_seconds(script):
    from measuring import Timed, apart

    from rerank_bench.reranking import Usage

    same, other = tuple(range(12, 0, -1)), (12.5, *range(11, 2, -1), 1, 2)
    swapped = (*range(12, 3, -1), 2, 3, 1)
    runs = [
        Timed(1.0, 0.0, Usage(), (same, same)),
        Timed(3.0, 0.0, Usage(), (other, same)),
        Timed(2.0, 0.0, Usage(), (same, swapped)),
    ]
    found = apart(runs)
    assert found["largest_score_difference"] == 1
    assert found["changed_top_10"] == 0.5
    assert found["spread_of_seconds"] == 1
