"""Cross-encoders: one forward pass over query and document together (Nogueira & Cho 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rerank_bench import BadOption, Candidates, Flow, Logits, PairScore, ask

from .budgets import check_budgets
from .odds import log_odds
from .passages import document_pairs

_RELEVANT = frozenset({"relevant", "yes", "true", "positive", "related", "match"})
_IRRELEVANT = frozenset(
    {"irrelevant", "not relevant", "non relevant", "no", "false", "negative", "unrelated"}
    | {"not related", "no match"}
)


@dataclass(frozen=True)
class CrossEncoder:
    """Scores each pair by a model's classification head, before any activation.

    A head with one output gives the score itself. One with two gives the log-odds of the relevant
    output, which is the second (monoBERT: Nogueira et al. 2019, arXiv:1910.14424) unless the
    checkpoint's names of its outputs say that it is the first.

    label: the relevant output, by its number from 0 or by its name; a head with three or more
        outputs needs it. Its score is the log-odds against all others.
    max_doc_tokens, max_query_tokens, max_pair_tokens (of both together): budgets in tokens. A pair
        has by default, 0, what the model's context holds besides the tokenizer's own tokens. Where
        it is too long the document is cut, and a query only to its own budget: by default half the
        pair's, which is what longest-first truncation leaves to a query beside a long document.
    """

    label: int | str | None = None
    max_doc_tokens: int | None = None
    max_query_tokens: int | None = None
    max_pair_tokens: int | None = 0
    asks = frozenset({PairScore})
    takes_instruction = False
    head = "classifier"

    def __post_init__(self) -> None:
        check_budgets("cross-encoder", self, of_model=True)

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask for all pairs at once."""
        replies = yield from ask(document_pairs(candidates))
        return [self._score(reply) for reply in replies]

    def _score(self, reply: Logits) -> float:
        if len(reply.logits) == 1 and self.label in (None, 0):
            return reply.logits[0]
        return log_odds(reply.logits, self._place(reply))

    def _place(self, reply: Logits) -> int:
        """Return the place of the relevant output; BadOption where it is not known."""
        outputs, names = len(reply.logits), reply.names
        if self.label is None:
            place = relevant_place(names) if outputs == 2 else None
        elif isinstance(self.label, str):
            place = names.index(self.label) if self.label in names else None
        else:
            place = self.label if 0 <= self.label < outputs else None
        if place is None or outputs == 1:
            named = ", ".join(f"{number}: {name}" for number, name in enumerate(names))
            given = "label is not set" if self.label is None else f"it has no {self.label!r}"
            raise BadOption(
                f"cross-encoder: the head has {outputs} outputs ({named or 'without names'}): "
                f"{given}; set label= to the number or name of the relevant one"
            )
        return place


def relevant_place(names: Sequence[str]) -> int | None:
    """Return which of two outputs means relevant: the second, unless their names say otherwise.

    None where the names mean something else, such as `entailment` and `contradiction`.
    """
    plain = [name.casefold().replace("_", " ").replace("-", " ").strip() for name in names]
    if not plain or plain in (["label 0", "label 1"], ["0", "1"]):
        return 1
    if plain[1] in _RELEVANT or plain[0] in _IRRELEVANT:
        return 1
    return 0 if plain[0] in _RELEVANT or plain[1] in _IRRELEVANT else None
