"""Token budgets of rerankers, and texts cut to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import BadOption, EngineFault
from ..types import Engine, Fitted, Reranker
from .declared import MODEL_PAIR, Declared

_MOST_FITTED = 50_000  # documents kept for further queries; fitting them again costs little


@dataclass(frozen=True)
class Budget:
    """How much a reranker reads, in tokens of its engine's tokenizer; None for all.

    doc_tokens, query_tokens: of each document and of the query.
    pair_tokens: of a query and a document together; a document has what the query leaves of it. A
        query without a budget of its own has at most half of it.
    window_tokens: of `window` documents together. Where a query's longest candidates exceed it, all
        its candidates are cut to the greatest length at which any `window` of them fit.
    doc_chars: every document is first cut to so many characters.
    """

    doc_tokens: int | None = None
    query_tokens: int | None = None
    pair_tokens: int | None = None
    window_tokens: int | None = None
    window: int = 1
    doc_chars: int | None = None

    @classmethod
    def of(
        cls,
        reranker: Reranker,
        engine: Engine,
        *,
        doc_tokens: int | None = None,
        doc_chars: int | None = None,
    ) -> Budget:
        """Return a reranker's budget from its attributes; `doc_tokens` can only lower it.

        engine: answers it; what its model reads of a pair is the budget of a pair that is 0. Raises
        BadOption for a budget of the query that leaves a document nothing of it.
        """
        own = Declared.of(reranker)
        query, pair = own.max_query_tokens, pair_budget(own, engine)
        if query is not None and pair is not None and query >= pair:
            raise BadOption(
                f"max_query_tokens {query} leaves a document no token of the {pair} that the model "
                f"reads of a pair; set it to {max(pair // 2, 1)} or less"
            )
        return cls(
            doc_tokens=least(own.max_doc_tokens, doc_tokens),
            query_tokens=query,
            pair_tokens=pair,
            window_tokens=own.max_window_tokens,
            window=own.window or 1,
            doc_chars=doc_chars,
        )

    def cap(self, query: Fitted) -> int | None:
        """Return the most tokens that a document may have with this query."""
        left = None if self.pair_tokens is None else self.pair_tokens - counted(query)
        return least(self.doc_tokens, left, self.window_tokens)

    def limit(self, cap: int | None, lengths: Sequence[int]) -> int | None:
        """Return the most tokens of each of a query's documents, which have `lengths` under `cap`.

        The longest `window` of them decide, so that the limit does not depend on which documents
        meet in a window.
        """
        if self.window_tokens is None:
            return cap
        left = self.window_tokens
        together = sorted(lengths)[-self.window :]
        for place, length in enumerate(together):
            share = left // (len(together) - place)
            if length > share:
                return max(share, 1)
            left -= length
        return cap


def pair_budget(declared: Declared, engine: Engine) -> int | None:
    """Return the tokens of both texts of a pair that a reranker is given; None for all.

    Raises EngineFault where it asks for those of the model, and the engine does not know them.
    """
    if declared.max_pair_tokens != MODEL_PAIR:
        return declared.max_pair_tokens
    try:
        return engine.pair_tokens
    except AttributeError as error:
        if error.name != "pair_tokens" or error.obj is not engine:
            raise
        raise EngineFault(
            f"engine {engine.name} has no attribute pair_tokens, which max_pair_tokens=0 needs: "
            "set max_pair_tokens to a number or to none"
        ) from error


def least(*limits: int | None) -> int | None:
    """Return the lowest of some limits, None where there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def counted(fitted: Fitted) -> int:
    """Return a text's tokens; EngineFault where the engine did not count them."""
    if fitted.tokens is None:
        raise EngineFault(
            "the engine does not count tokens, which max_pair_tokens and max_window_tokens need: "
            "its fit() must set Fitted.tokens, or set both options to none"
        )
    return fitted.tokens


@dataclass
class Fitter:
    """The documents of one corpus, fitted by one engine to one budget.

    A document is cut anew only for a query that leaves it less than it needs.
    """

    corpus: Mapping[str, str]
    engine: Engine
    budget: Budget
    _fitted: dict[tuple[str, int | None], Fitted] = field(default_factory=dict, init=False)

    def queries(self, texts: Sequence[str]) -> list[Fitted]:
        """Cut queries."""
        own, pair = self.budget.query_tokens, self.budget.pair_tokens
        half = None if pair is None else max(pair // 2, 1)
        return self.engine.fit(texts, half if own is None else own)

    def prepare(self, asked: Sequence[tuple[Fitted, Sequence[str]]]) -> None:
        """Fit all documents of some (query, document ids), with one call per length.

        Those that were prepared before may be forgotten.
        """
        if len(self._fitted) > _MOST_FITTED:
            self._fitted.clear()
        self._fit([(self.budget.cap(query), doc_ids) for query, doc_ids in asked])
        self._fit([(self._limit(query, doc_ids), doc_ids) for query, doc_ids in asked])

    def documents(self, query: Fitted, doc_ids: Sequence[str]) -> list[Fitted]:
        """Return prepared documents as they are cut for a query, by its budget or `doc_chars`."""
        limit, chars = self._limit(query, doc_ids), self.budget.doc_chars
        found = [self._fitted[self._key(doc_id, limit)] for doc_id in doc_ids]
        if chars is None:
            return found
        cut = (len(self.corpus[doc_id]) > chars for doc_id in doc_ids)
        return [replace(f, truncated=f.truncated or c) for f, c in zip(found, cut, strict=True)]

    def _limit(self, query: Fitted, doc_ids: Sequence[str]) -> int | None:
        cap = self.budget.cap(query)
        if cap is None or self.budget.window_tokens is None:
            return cap
        found = (self._fitted[self._key(doc_id, cap)] for doc_id in doc_ids)
        return self.budget.limit(cap, [cap if f.truncated else counted(f) for f in found])

    def _fit(self, asked: Sequence[tuple[int | None, Sequence[str]]]) -> None:
        """Fit documents to limits, the greatest first: what it leaves whole may fit the others."""
        by_limit: dict[int | None, dict[str, None]] = {}
        for limit, doc_ids in asked:
            by_limit.setdefault(limit, {}).update(dict.fromkeys(doc_ids))
        for limit in sorted(by_limit, key=lambda n: math.inf if n is None else n, reverse=True):
            ids = [d for d in by_limit[limit] if self._key(d, limit) not in self._fitted]
            if ids:
                texts = [self.corpus[d][: self.budget.doc_chars] for d in ids]
                fitted = list(zip(ids, self.engine.fit(texts, limit), strict=True))
                self._fitted |= {(d, limit): one for d, one in fitted}
                self._fitted |= {(d, None): one for d, one in fitted if not one.truncated}

    def _key(self, doc_id: str, limit: int | None) -> tuple[str, int | None]:
        """Return where a document cut to `limit` is stored: with no limit, if it is whole."""
        whole = self._fitted.get((doc_id, None))
        if whole is None or limit is None or (doc_id, limit) in self._fitted:
            return doc_id, limit
        return doc_id, None if counted(whole) <= limit else limit
