"""Listwise rerankers that write a permutation: RankGPT, RankVicuna, RankZephyr and their kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rerank_bench import (
    BadOption,
    Candidates,
    Flow,
    Generate,
    Generation,
    Prompt,
    Scored,
    ask,
    escape_identifiers,
    load_template,
)
from rerank_bench.engines.thinking import answer_after_thoughts

from .budgets import check_budgets
from .instructions import check_instruction, takes_instruction
from .orders import Ordering, Sliding, descending
from .parsing import Permutation, read_permutation

_TOKENS_PER_IDENTIFIER = 6  # "[20] > " where every digit and bracket is a token of its own


@dataclass(frozen=True)
class Listwise:
    """Lets a model order windows of numbered passages, from the end of the pool to its front.

    prompt: name or `.toml` file, filled with `query` and `passages`. window, stride: passages in a
    window and how far it moves, half the window by default (20 and 10: Sun et al. 2023,
    arXiv:2304.09542). passes: how often the whole is gone over. max_tokens: of one answer; by
    default enough for the longest permutation, and 2,048 more for `thinking`, which asks a chat
    template that knows the switch for its think block, and leaves the answer's beginning to the
    model. max_doc_tokens, max_query_tokens, max_window_tokens (of a window's documents together):
    budgets in tokens. instruction: as for pointwise.
    """

    prompt: str = "listwise"
    window: int = 20
    stride: int | None = None
    passes: int = 1
    max_tokens: int | None = None
    thinking: bool = False
    max_doc_tokens: int | None = 150
    max_query_tokens: int | None = 256
    max_window_tokens: int | None = None
    instruction: str = ""
    asks = frozenset({Generate})

    def __post_init__(self) -> None:
        self._sliding()
        check_budgets("listwise", self)
        if self.max_tokens is not None and self.max_tokens < 1:
            raise BadOption(f"listwise: max_tokens must be at least 1, not {self.max_tokens}")
        load_template(self.prompt)
        check_instruction("listwise", self.prompt, self.instruction)

    @property
    def takes_instruction(self) -> bool:
        """Whether the prompt has an instruction."""
        return takes_instruction(self.prompt)

    def rerank(self, candidates: Candidates) -> Flow:
        """Order window by window; an answer without identifiers leaves its window as it was."""
        conversation = Conversation(
            candidates, self.prompt, thinking=self.thinking, instruction=self.instruction
        )
        read: list[Permutation] = []

        def order(inside: Sequence[int]) -> Ordering:
            prompt = conversation.prompt(inside, [str(n) for n in range(1, len(inside) + 1)])
            (reply,) = yield from ask([Generate(prompt, self._max_tokens(len(inside), prompt))])
            names = {str(place + 1): place for place in range(len(inside))}
            read.append(read_permutation(whole_answer(prompt, reply), names))
            return read[-1].places

        ranking = yield from self._sliding().order(len(candidates.documents), order)
        counts = {
            "repaired": sum(answer.repaired for answer in read),
            "unparsable": sum(answer.unparsable for answer in read),
            "escaped_ids": conversation.escaped,
        }
        repairs = [i for i, answer in enumerate(read) if answer.repaired or answer.unparsable]
        return Scored(descending(ranking), counts, repairs)

    def _sliding(self) -> Sliding:
        return Sliding("listwise", self.window, self.stride, self.passes)

    def _max_tokens(self, passages: int, prompt: Prompt) -> int:
        if self.max_tokens is not None:
            return self.max_tokens
        return _TOKENS_PER_IDENTIFIER * passages + (2048 if prompt.thinking else 0)


def whole_answer(prompt: Prompt, reply: Generation) -> str:
    """Return what the model said in all; nothing, where it was cut off within its thoughts.

    Some chat templates open the think block themselves, so that the reply shows only its end.
    """
    no_end = answer_after_thoughts(reply.text) == reply.text
    if prompt.thinking and not reply.finished and no_end:
        return ""
    return prompt.prefill + reply.text


def _as_it_is(text: str) -> tuple[str, int]:
    return text, 0


class Conversation:
    """One query's passages, made safe once: `escaped` counts the identifiers found in its texts.

    escape: whether the prompt names passages in brackets, so that other identifiers in brackets
        have to be told apart.
    """

    def __init__(
        self,
        candidates: Candidates,
        prompt: str,
        *,
        thinking: bool = False,
        instruction: str = "",
        escape: bool = True,
    ) -> None:
        self._template = load_template(prompt)
        self._thinking = thinking
        self._instruction = instruction or candidates.instruction
        safely = escape_identifiers if escape else _as_it_is
        self._query, count = safely(candidates.query)
        safe = [safely(" ".join(d.text.split())) for d in candidates.documents]
        self._texts = [text for text, _ in safe]
        self.escaped = count + sum(found for _, found in safe)

    def prompt(self, inside: Sequence[int], names: Sequence[str]) -> Prompt:
        """Fill the prompt with the documents `inside`, named by `names` in their order."""
        passages = [
            {"id": name, "text": self._texts[index]}
            for name, index in zip(names, inside, strict=True)
        ]
        filled = self._template.fill(
            query=self._query, passages=passages, instruction=self._instruction
        )
        if self._thinking and not filled.thinking:
            # A prefilled `[` would have the model answer before it thinks.
            return replace(filled, thinking=True, prefill="")
        return filled
