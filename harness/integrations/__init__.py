"""rerank-bench inside other tools: each file is for one of them, and imports it.

In: the queries, texts and candidates that the other tool hands over. Out: scores or measures in its
own form. `rerank_task` reranks them as a run does.
"""

from __future__ import annotations

from .task import candidates_of, rerank_task

__all__ = ["candidates_of", "rerank_task"]
