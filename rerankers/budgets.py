"""Budgets: how many tokens of each text a reranker is given; the harness cuts, not the reranker."""

from __future__ import annotations

from rerank_bench import BadOption

_NAMES = ("max_doc_tokens", "max_query_tokens", "max_pair_tokens", "max_window_tokens")


def check_counts(method: str, **counts: int | None) -> None:
    """Raise BadOption, naming `method`, for an option under 1; None is left out."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise BadOption(f"{method}: {name} must be at least 1, not {value}")


def check_budgets(method: str, reranker: object, *, of_model: bool = False) -> None:
    """Raise BadOption, naming `method`, for budgets of a reranker that cannot be; None is no limit.

    A budget is at least one token, that of a window one for each document. Of the tokens of
    query and document together neither the document's nor the query's budget takes more than all,
    and the query's leaves some.

    of_model: whether 0 of both together stands for what the model reads of a pair.
    """
    budgets: dict[str, int | None] = {name: getattr(reranker, name, None) for name in _NAMES}
    if of_model and budgets["max_pair_tokens"] == 0:
        budgets["max_pair_tokens"] = None  # the engine knows it
    window = getattr(reranker, "window", 1)
    for name, tokens in budgets.items():
        lowest = window if name == "max_window_tokens" else 1
        if tokens is not None and tokens < lowest:
            raise BadOption(f"{method}: {name} must be at least {lowest}, not {tokens}")
    document, pair = budgets["max_doc_tokens"], budgets["max_pair_tokens"]
    if document is not None and pair is not None and document > pair:
        raise BadOption(
            f"{method}: max_doc_tokens {document} exceeds max_pair_tokens {pair}, which holds for "
            "query and document together; raise that one too, or set it to none"
        )
    query = budgets["max_query_tokens"]
    if query is not None and pair is not None and query >= pair:
        raise BadOption(
            f"{method}: max_query_tokens {query} leaves no token of max_pair_tokens {pair} to a "
            f"document; set it to {max(pair // 2, 1)} or less"
        )
