"""Pointwise language-model rerankers: one document, one question, and how sure the answer is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rerank_bench import (
    BadOption,
    Candidates,
    Flow,
    Generate,
    LabelScores,
    NextToken,
    Scored,
    Template,
    ask,
    load_template,
)
from rerank_bench.types import Label

from .budgets import check_budgets
from .instructions import check_prompt, prompt_takes_instruction
from .odds import log_odds, log_sum_exp
from .passages import document_prompts
from .thoughts import check_opens, reasoned


@dataclass(frozen=True)
class Pointwise:
    """Asks for each document alone how probable each label is as the next token.

    prompt: name or `.toml` file, filled with `query`, `document` and `instruction`.
    labels: comma separated and verbatim, the relevant one first; by default the prompt file's.
    graded: the labels are the grades 0,1,…,k and the score is the expected grade (RG-S(0,k) in its
        expected form: Zhuang et al. 2024, arXiv:2310.14122). By default the score is the log-odds
        of the first label against all others.
    raw: the score is the logit of the only label, for checkpoints that were trained on one output;
        the engine must report logits.
    thought_tokens: what the model may write, after a prompt that ends in `<think>`, before its
        label is read (Rank1: Weller et al. 2025, arXiv:2502.18418); 0 is nothing. Thoughts that are
        longer are cut after a sentence, closed and counted.
    instruction: for prompts that have one, instead of the prompt file's default or the task's.
    max_doc_tokens, max_query_tokens, max_pair_tokens (of both together): budgets in tokens.
    """

    prompt: str = "yes-no"
    labels: str = ""
    graded: bool = False
    raw: bool = False
    thought_tokens: int = 0
    instruction: str = ""
    max_doc_tokens: int | None = 512
    max_query_tokens: int | None = 256
    max_pair_tokens: int | None = None
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_budgets("pointwise", self)
        if self.thought_tokens < 0:
            raise BadOption(
                f"pointwise: thought_tokens must not be negative, not {self.thought_tokens}"
            )
        labels = self._labels(load_template(self.prompt))
        self._check_labels(labels)
        self._check_scale(labels)
        check_prompt("pointwise", self.prompt, "query", "document", instruction=self.instruction)
        if self.thought_tokens:
            check_opens("pointwise", self.prompt)

    @property
    def asks(self) -> frozenset[type]:
        """The types of its requests."""
        return frozenset({Generate, NextToken} if self.thought_tokens else {NextToken})

    @property
    def fixed_labels(self) -> tuple[Label, ...]:
        """The labels of every request; none, where an engine needs the whole vocabulary."""
        return () if self.thought_tokens else self._labels(load_template(self.prompt))

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask about all documents at once, after their thoughts if it is to think."""
        template = load_template(self.prompt)
        labels = self._labels(template)
        prompts = document_prompts(candidates, template, self.instruction)
        cut: list[int] = []
        if self.thought_tokens:
            prompts, cut = yield from reasoned(prompts, self.thought_tokens)
        replies = yield from ask([NextToken(prompt, labels) for prompt in prompts])
        scores = [self._score(reply, labels) for reply in replies]
        return Scored(scores, {"repaired": len(cut)}, cut)

    def _score(self, reply: LabelScores, labels: Sequence[Label]) -> float:
        if self.raw:
            return _logit(reply, labels[0])
        known = [reply.of(label) for label in labels]
        return expected_grade(known) if self.graded else log_odds(known, 0)

    def _labels(self, template: Template) -> tuple[Label, ...]:
        return tuple(self.labels.split(",")) if self.labels else template.labels

    def _check_labels(self, labels: Sequence[Label]) -> None:
        if self.raw and (len(labels) != 1 or self.graded):
            raise BadOption(f"pointwise: raw is for one label, not {list(labels)}, and not graded")
        if not self.raw and (len(set(labels)) < max(2, len(labels)) or "" in labels):
            raise BadOption(
                f"pointwise: prompt {self.prompt} needs two or more different labels, such as "
                f"labels=Yes,No; it has {list(labels)}"
            )

    def _check_scale(self, labels: Sequence[Label]) -> None:
        """Refuse what would turn the order round: grades put worst first, all else best first."""
        grades = not self.raw and list(labels) == [str(grade) for grade in range(len(labels))]
        if self.graded and not grades:
            raise BadOption(
                f"pointwise: graded needs labels 0,1,…,k, not {list(labels)}; try prompt=graded"
            )
        if grades and not self.graded:
            raise BadOption(
                "pointwise: labels 0,1,… are grades, the worst first: add graded=true, "
                "or write the relevant label first"
            )


def _logit(reply: LabelScores, label: Label) -> float:
    if reply.logit is None:
        raise BadOption(
            "pointwise: raw needs the logits of labels, which this engine does not report; "
            "use engine transformers, or engine vllm with head=labels"
        )
    return reply.logit[label]


def expected_grade(logprobs: Sequence[float]) -> float:
    """Return the mean grade, from 0 to k, under the probabilities of the grades 0,1,…,k alone."""
    whole = log_sum_exp(logprobs)
    return sum(grade * math.exp(value - whole) for grade, value in enumerate(logprobs))
