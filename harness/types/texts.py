"""What a reranker is given for one query, and what a language model is given to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

Label: TypeAlias = str | int
"""An answer that is one token in its context: its text, or its token id."""


@dataclass(frozen=True, slots=True)
class Document:
    """One candidate's text. `language` is a BCP 47 or FLORES code where the task knows it."""

    doc_id: str
    text: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """One query and its candidates in first-stage order, best first.

    A later stage of a cascade gets them in the order of the stages before it. `signals` maps a name
    to one float per document: `first_stage` and, in a cascade, `previous`, where the scores of the
    first stage or of the stage before are known. Texts are cut to the reranker's budget;
    `instruction` is the task's, if asked for.
    """

    task: str
    query_id: str
    query: str
    documents: tuple[Document, ...]
    instruction: str | None = None
    query_language: str | None = None
    signals: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class Message(NamedTuple):
    """One turn of a chat: role `system`, `user` or `assistant`, and its text."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a language model reads: chat messages, or plain text.

    messages: rendered by the model's chat template, with a generation prompt.
    text: tokenised with special tokens parsed; a BOS token is added only if the tokenizer adds one.
    prefill: the beginning of the answer, appended verbatim.
    thinking: let a reasoning model think first; otherwise its think block is closed before the
        answer.
    joints: character offsets in `text` at which it is split; the parts are tokenised apart, so that
        no token spans a joint.
    """

    messages: tuple[Message, ...] = ()
    text: str | None = None
    prefill: str = ""
    thinking: bool = False
    joints: tuple[int, ...] = ()
