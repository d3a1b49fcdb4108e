"""Budgets: how many tokens of each text a reranker is given; the harness cuts, not the reranker."""

from __future__ import annotations

from rerank_bench import BadOption


def check_budgets(method: str, *, document: int | None, query: int | None) -> None:
    """Raise BadOption, naming `method`, for a budget below one token; None is no limit."""
    for name, tokens in (("max_doc_tokens", document), ("max_query_tokens", query)):
        if tokens is not None and tokens < 1:
            raise BadOption(f"{method}: {name} must be at least 1, not {tokens}")
