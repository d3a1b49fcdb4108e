"""vLLM in replicas on Ray: its own answers, and nothing is left of it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make test-vllm` brings its own")
pytest.importorskip("ray", reason="the extra `ray` is not installed")

from rerank_bench import NextToken, open_engine

asking: Any = sys.modules["asking"]


def test_replicas_answer_as_one_process_does(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tempfile.mkdtemp(prefix="rb-", dir="/tmp")
    monkeypatch.setattr(tempfile, "tempdir", folder)
    given: dict[str, Any] = {"model": str(llama), "max_num_seqs": 16}
    requests = [
        NextToken(asking.chat(f"{text} {number}", "["), asking.LETTERS)
        for number, text in enumerate(["one", "two words", "a text of five words"] * 8)
    ]
    one, many = open_engine("vllm", **given), open_engine("ray", **given, replicas=2)
    assert many.identity == one.identity
    expected, found = (dict(engine.stream(iter(requests))) for engine in (one, many))
    assert found.keys() == expected.keys()
    for number, reply in found.items():
        assert reply.logprob == pytest.approx(expected[number].logprob, abs=1e-4)
        assert reply.prompt_tokens == expected[number].prompt_tokens
    assert many.statistics.loading_seconds > 0
    in_effect = many.statistics.in_effect
    assert in_effect["max_num_seqs"] == 16
    assert 1 <= in_effect["replicas"] <= 2
    one.close()
    many.close()
    Path(folder).rmdir()
