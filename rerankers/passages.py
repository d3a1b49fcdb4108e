"""One query's passages as prompts show them, and the answer that a model gave to such a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rerank_bench import (
    Candidates,
    Generation,
    PairScore,
    Prompt,
    Template,
    answer_after_thoughts,
    escape_identifiers,
    load_template,
)

THOUGHT = 2048
"""Tokens that an answer may take beyond its usual length where the model thinks first."""


def document_prompts(candidates: Candidates, template: Template, instruction: str) -> list[Prompt]:
    """Fill a prompt with each document alone.

    instruction: the reranker's own, which comes before the task's.
    """
    own = instruction or candidates.instruction
    return [
        template.fill(query=candidates.query, document=d.text, instruction=own)
        for d in candidates.documents
    ]


def document_pairs(candidates: Candidates) -> list[PairScore]:
    """Pair the query with each document, with the languages of both."""
    query, language = candidates.query, candidates.query_language
    return [PairScore(query, d.text, language, d.language) for d in candidates.documents]


def full_answer(prompt: Prompt, reply: Generation) -> str:
    """Return what the model said in all; nothing, where it was cut off within its thoughts.

    Some chat templates open the think block themselves, so that the reply shows only its end.
    """
    no_end = answer_after_thoughts(reply.text) == reply.text
    if prompt.thinking and not reply.finished and no_end:
        return ""
    return prompt.prefill + reply.text


def _as_it_is(text: str) -> tuple[str, int]:
    return text, 0


class Passages:
    """Fills a prompt with passages of one query; `escaped` counts identifiers found in their texts.

    scores: a text per document, which the prompt shows as a passage's `score`.
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
        scores: Sequence[str] = (),
        escape: bool = True,
    ) -> None:
        self._template = load_template(prompt)
        self._thinking = thinking
        self._instruction = instruction or candidates.instruction
        safely = escape_identifiers if escape else _as_it_is
        self._query, count = safely(candidates.query)
        safe = [safely(" ".join(d.text.split())) for d in candidates.documents]
        self._passages = [{"text": text} for text, _ in safe]
        for passage, score in zip(self._passages, scores, strict=False):
            passage["score"] = score
        self.escaped = count + sum(found for _, found in safe)

    def prompt(self, inside: Sequence[int], names: Sequence[str], **values: object) -> Prompt:
        """Fill the prompt with the documents `inside`, named by `names` in their order.

        values: further variables of the prompt.
        """
        passages = [
            {"id": name, **self._passages[index]} for name, index in zip(names, inside, strict=True)
        ]
        filled = self._template.fill(
            query=self._query, passages=passages, instruction=self._instruction, **values
        )
        if self._thinking and not filled.thinking:
            # A prefilled `[` would have the model answer before it thinks.
            return replace(filled, thinking=True, prefill="")
        return filled
