"""Token budgets of rerankers, and texts cut to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import EngineFault
from ..types import Engine, Fitted, Reranker
from .declared import Declared


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
        cls, reranker: Reranker, *, doc_tokens: int | None = None, doc_chars: int | None = None
    ) -> Budget:
        """Return a reranker's budget from its attributes; `doc_tokens` can only lower it."""
        own = Declared.of(reranker)
        return cls(
            doc_tokens=least(own.max_doc_tokens, doc_tokens),
            query_tokens=own.max_query_tokens,
            pair_tokens=own.max_pair_tokens,
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


def least(*limits: int | None) -> int | None:
    """Return the lowest of some limits, None where there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def _more(one: int | None, other: int | None) -> int | None:
    """Return the greater of two limits, of which None is none."""
    return None if one is None or other is None else max(one, other)


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

    A document is cut once to the most that any query leaves to it, and anew only beside a query
    that leaves less than the document needs.
    """

    corpus: Mapping[str, str]
    engine: Engine
    budget: Budget
    _longest: dict[str, int | None] = field(default_factory=dict, init=False)
    _fitted: dict[tuple[str, int | None], Fitted] = field(default_factory=dict, init=False)

    def queries(self, texts: Sequence[str]) -> list[Fitted]:
        """Cut queries."""
        own, pair = self.budget.query_tokens, self.budget.pair_tokens
        half = None if pair is None else max(pair // 2, 1)
        return self.engine.fit(texts, half if own is None else own)

    def prepare(self, asked: Sequence[tuple[Fitted, Sequence[str]]]) -> None:
        """Fit all documents of some (query, document ids), with one call per length."""
        caps: dict[str, int | None] = {}
        for query, doc_ids in asked:
            cap = self.budget.cap(query)
            caps |= {d: _more(cap, caps.get(d, cap)) for d in doc_ids}
        longer = {d: cap for d, cap in caps.items() if not self._reaches(d, cap)}
        self._fit(longer.items())
        self._longest |= longer
        self._fit(dict.fromkeys(self._missing(asked)))

    def _missing(
        self, asked: Sequence[tuple[Fitted, Sequence[str]]]
    ) -> Iterator[tuple[str, int | None]]:
        """Documents and lengths to which they have not been cut yet."""
        for query, doc_ids in asked:
            limit = self._limit(query, doc_ids)
            for d in doc_ids:
                if not self._holds(d, limit) and (d, limit) not in self._fitted:
                    yield d, limit

    def documents(self, query: Fitted, doc_ids: Sequence[str]) -> list[Fitted]:
        """Return prepared documents as they are cut for a query."""
        limit = self._limit(query, doc_ids)
        return [self._marked(d, self._found(d, limit)) for d in doc_ids]

    def _found(self, doc_id: str, limit: int | None) -> Fitted:
        held = self._longest[doc_id] if self._holds(doc_id, limit) else limit
        return self._fitted[doc_id, held]

    def _limit(self, query: Fitted, doc_ids: Sequence[str]) -> int | None:
        cap = self.budget.cap(query)
        if cap is None or self.budget.window_tokens is None:
            return cap
        known = (self._fitted[d, self._longest[d]] for d in doc_ids)
        return self.budget.limit(cap, [cap if f.truncated else min(counted(f), cap) for f in known])

    def _reaches(self, doc_id: str, cap: int | None) -> bool:
        """Whether a document was fitted to `cap` or more already."""
        if doc_id not in self._longest:
            return False
        known = self._longest[doc_id]
        return known is None or (cap is not None and known >= cap)

    def _holds(self, doc_id: str, limit: int | None) -> bool:
        """Whether a document at its longest is what fitting it to `limit` would give."""
        cap = self._longest[doc_id]
        if limit is None or cap == limit:
            return True
        fitted = self._fitted[doc_id, cap]
        return not fitted.truncated and counted(fitted) <= limit

    def _fit(self, asked: Iterable[tuple[str, int | None]]) -> None:
        """Fit documents to limits of their own."""
        by_limit: dict[int | None, list[str]] = {}
        for d, limit in asked:
            by_limit.setdefault(limit, []).append(d)
        for limit, ids in by_limit.items():
            fitted = self.engine.fit([self.corpus[d][: self.budget.doc_chars] for d in ids], limit)
            self._fitted |= {(d, limit): one for d, one in zip(ids, fitted, strict=True)}

    def _marked(self, doc_id: str, fitted: Fitted) -> Fitted:
        """Return a document, marked truncated also where `doc_chars` has cut it."""
        chars = self.budget.doc_chars
        cut = chars is not None and len(self.corpus[doc_id]) > chars
        return replace(fitted, truncated=True) if cut else fitted
