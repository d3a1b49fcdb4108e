"""Fixtures that the tests of the harness share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rerank_bench.cli import main
from rerank_bench.pools import PoolOptions
from rerank_bench.reranking import Defaults, choose
from rerank_bench.suite import Suite
from rerank_bench.tasks import TaskOptions


@pytest.fixture(scope="session")
def call() -> Callable[..., Result]:
    """Run a command in this process, which must exit with `code`, and return its result."""

    def call(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture(scope="session")
def refused(call: Callable[..., Result]) -> Callable[..., str]:
    """Run a command that must fail with an error of one or two lines; return the error."""

    def refused(*arguments: object) -> str:
        lines = call(*arguments, code=1).stderr.strip().splitlines()
        errors = [i for i, line in enumerate(lines) if line.startswith("error: ")]
        assert len(errors) == 1, lines
        assert len(lines) - errors[0] <= 2, lines
        assert "Traceback" not in "".join(lines)
        return "\n".join(lines[errors[0] :])

    return refused


@pytest.fixture
def suite_of(tmp_path: Path) -> Callable[..., Suite]:
    """Build a suite over the data in one folder, whose runs and replies are the test's own."""

    def build(
        data: Path,
        *rerankers: str,
        profiles: tuple[str, ...] = ("bm25",),
        engine: str | None = None,
        model: object = None,
        **changes: Any,
    ) -> Suite:
        defaults = Defaults(model=None if model is None else str(model), engine=engine)
        suite = Suite(
            tasks=[(str(data), TaskOptions())],
            profiles=[(name, PoolOptions()) for name in profiles],
            rerankers=[choose(name, defaults) for name in rerankers],
            out=tmp_path / "runs",
            cache=tmp_path / "replies",
        )
        return dataclasses.replace(suite, **changes)

    return build
