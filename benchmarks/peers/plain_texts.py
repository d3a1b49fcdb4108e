"""A task whose texts no program rewrites: short, of plain words, one line each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rerank_bench import Candidates, Engine, Pool, Task, build_pool, drive, load_task
from rerank_bench.reranking import Defaults, Jobs, Reranked, Scope, choose_with

_ODD = re.compile(r"[^A-Za-z ,.]+")


@dataclass(frozen=True)
class Lists:
    """A task and a pool of equally many candidates for each query."""

    task: Task
    pool: Pool

    @property
    def requests(self) -> int:
        """How many pairs of a query and a document there are."""
        return sum(len(row.doc_ids) for row in self.pool.rows)

    def reranked(
        self, method: str, options: Mapping[str, Any], engine: Engine
    ) -> list[tuple[Candidates, Reranked]]:
        """Rerank all queries as a run does, without a cache; return them in the pool's order."""
        choice = choose_with(method, options, Defaults(engine="fake"))
        jobs = Jobs(engine, Scope()).of(self.task, self.pool, choice)
        found = {
            job.candidates.query_id: (job.candidates, done) for job, done in drive(jobs, engine)
        }
        return [found[row.query_id] for row in self.pool.rows]


def plain(text: str, words: int) -> str:
    """Return the first words of a text; digits and brackets could be read as identifiers."""
    return " ".join(_ODD.sub(" ", text).split()[:words])


def lists(queries: int, depth: int, words: int) -> Lists:
    """Return the first queries of stdlib-code and their `depth` best documents by BM25."""
    task = load_task("stdlib-code")
    pool = build_pool(task, "bm25")
    rows = [row.first(depth) for row in pool.rows]
    rows = [replace(row, safeguard=None, doc_ids=row.doc_ids[:depth]) for row in rows]
    full = [row for row in rows if len(row.doc_ids) == depth][:queries]
    corpus = {i: plain(task.corpus[i], words) for row in full for i in row.doc_ids}
    asked = {row.query_id: plain(task.queries[row.query_id], 40) for row in full}
    return Lists(
        replace(task, corpus=corpus, queries=asked), replace(pool, rows=tuple(full), depth=depth)
    )
