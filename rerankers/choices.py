"""Which of a few documents is best: how a model is asked, and how its answer is read."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rerank_bench import BadOption, Candidates, Generate, Generation, NextToken, ask, load_template

from .budgets import check_counts
from .instructions import check_prompt
from .parsing import read_labels, tagged_answer
from .passages import THOUGHT, Passages, full_answer

ANSWERS = ("labels", "generate", "tagged")
_WRITTEN = 16  # "Passage B." or "<answer>[20]</answer>", with some tokens to spare

Winners: TypeAlias = tuple[int, ...]
"""The documents that an answer prefers: one, several that are equal, or none if it is unusable."""


@dataclass(frozen=True)
class ChoiceOptions:
    """How a choice is asked for, checked; raises BadOption, naming `method`.

    answer: `labels` compares the log-probabilities of the prompt file's labels as the next token,
        `generate` reads the label that the model writes, `tagged` the one it writes between
        `<answer>` and `</answer>` after its thoughts.
    max_tokens: of a written answer; None is 16, and 2,048 more where the prompt has the model
        think.
    """

    method: str
    prompt: str
    answer: str
    max_tokens: int | None
    instruction: str

    def __post_init__(self) -> None:
        if self.answer not in ANSWERS:
            raise BadOption(
                f"{self.method}: answer must be one of {', '.join(ANSWERS)}, not {self.answer!r}"
            )
        check_counts(self.method, max_tokens=self.max_tokens)
        if self.answer == "labels" and not self.labels:
            raise BadOption(
                f"{self.method}: prompt {self.prompt} has no labels to read: set answer=generate "
                "or answer=tagged"
            )
        check_prompt(self.method, self.prompt, "query", "passages", instruction=self.instruction)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the prompt file as they follow it, a space before them included."""
        return load_template(self.prompt).labels

    @property
    def asks(self) -> frozenset[type]:
        """The request type of a choice."""
        return frozenset({NextToken if self.answer == "labels" else Generate})

    def check_documents(self, count: int, cure: str) -> None:
        """Raise BadOption, with what to do, where `count` documents are more than the labels."""
        if self.labels and count > len(self.labels):
            raise BadOption(
                f"{self.method}: prompt {self.prompt} has {len(self.labels)} labels, fewer than "
                f"the {count} documents of a call; {cure}"
            )


class Chooser:
    """Asks about one query's documents; `unusable` says of each answer so far if it was."""

    def __init__(self, candidates: Candidates, choices: ChoiceOptions) -> None:
        self._choices = choices
        self._labels = choices.labels
        self._passages = Passages(
            candidates, choices.prompt, instruction=choices.instruction, escape=not self._labels
        )
        self.unusable: list[bool] = []

    def choose(
        self, sets: Sequence[Sequence[int]]
    ) -> Generator[Sequence[Any], Sequence[Any], list[Winners]]:
        """Return which documents of each set its answer prefers; all are asked in one round."""
        requests = [self._request(inside) for inside in sets]
        replies = yield from ask(requests)
        read = [
            self._winners(inside, request, reply)
            for inside, request, reply in zip(sets, requests, replies, strict=True)
        ]
        self.unusable += [not winners for winners in read]
        return read

    @property
    def counts(self) -> dict[str, int]:
        """What was counted so far, as `Scored` takes it."""
        return {"unparsable": sum(self.unusable), "escaped_ids": self._passages.escaped}

    @property
    def repairs(self) -> list[int]:
        """The requests so far whose answers could not be used."""
        return [index for index, unusable in enumerate(self.unusable) if unusable]

    def _names(self, count: int) -> list[str]:
        """Return the names of `count` documents: the prompt file's labels, or numbers from 1."""
        labels = self._labels or [str(number) for number in range(1, count + 1)]
        return [label.strip() for label in labels[:count]]

    def _request(self, inside: Sequence[int]) -> NextToken | Generate:
        choices = self._choices
        prompt = self._passages.prompt(inside, self._names(len(inside)))
        if choices.answer == "labels":
            return NextToken(prompt, self._labels[: len(inside)])
        usual = _WRITTEN + (THOUGHT if prompt.thinking else 0)
        return Generate(prompt, usual if choices.max_tokens is None else choices.max_tokens)

    def _winners(self, inside: Sequence[int], request: NextToken | Generate, reply: Any) -> Winners:
        """Return the documents that an answer prefers."""
        if isinstance(request, Generate):
            return self._written(inside, request, reply)
        known = [reply.of(label) for label in request.labels]
        return tuple(i for i, value in zip(inside, known, strict=True) if value == max(known))

    def _written(self, inside: Sequence[int], request: Generate, reply: Generation) -> Winners:
        """Return the document whose label was written, if it is one and only one."""
        text = full_answer(request.prompt, reply)
        if self._choices.answer == "tagged":
            text = tagged_answer(text)
        places = {name: place for place, name in enumerate(self._names(len(inside)))}
        named = read_labels(text, places)
        return (inside[named[0]],) if len(named) == 1 else ()
