"""GroupRank: groups of documents are scored together (Sun et al. 2025, arXiv:2511.11653)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rerank_bench import (
    BadOption,
    Candidates,
    Flow,
    Generate,
    Generation,
    Scored,
    answer_after_thoughts,
    ask,
)

from .budgets import check_budgets, check_counts
from .instructions import check_prompt, prompt_takes_instruction
from .passages import Passages, full_answer
from .shuffles import shuffled

HIGHEST = 10
_OBJECT = re.compile(r"\{[^{}]*\}")
_KEY = re.compile(r"\d+|\[\d+\]")
_ENTRY = re.compile(r"""["']?\[?(\d+)\]*["']?\s*:\s*(-?\d+(?:\.\d+)?)""")


@dataclass(frozen=True)
class GroupRank:
    """Lets a model score the documents of a group together, from 0 to 10, as JSON.

    The documents are shuffled, by a seed of the query's id, and cut into groups that begin every
    `interval` documents. A document's score is the mean over the groups that scored it. A group
    whose answer cannot be read counts 0 for all its documents, as in the official code.

    prompt: name or `.toml` file, filled with `query` and `passages`.
    group: documents in a group.
    interval: documents from the beginning of a group to that of the next; by default `group`.
    repeats: how often the whole is done, with another shuffle.
    max_tokens: of one answer, reasoning included.
    temperature, top_p: of sampling.
    max_doc_tokens, max_query_tokens: budgets in tokens; the official code cuts documents to 3,000
        characters.
    """

    prompt: str = "grouprank"
    group: int = 20
    interval: int | None = None
    repeats: int = 2
    max_tokens: int = 8000
    temperature: float = 0.3
    top_p: float = 0.8
    max_doc_tokens: int | None = 750
    max_query_tokens: int | None = 1024
    asks = frozenset({Generate})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_budgets("groupwise", self)
        check_prompt("groupwise", self.prompt, "query", "passages")
        counts = {"group": self.group, "repeats": self.repeats, "max_tokens": self.max_tokens}
        check_counts("groupwise", **counts)
        if self.temperature < 0:
            raise BadOption(f"groupwise: temperature must not be negative, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise BadOption(f"groupwise: top_p must be over 0 and at most 1, not {self.top_p}")
        if not 1 <= self._step <= self.group:
            raise BadOption(f"groupwise: interval must be from 1 to group={self.group}")

    @property
    def _step(self) -> int:
        return self.group if self.interval is None else self.interval

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask about all groups of all repeats at once."""
        passages = Passages(candidates, self.prompt)
        count = len(candidates.documents)
        groups = [
            (repeat, ordered[first : first + self.group])
            for repeat in range(self.repeats)
            for ordered in [shuffled(range(count), candidates.query_id, repeat)]
            for first in range(0, count, self._step)
        ]
        requests = [self._request(passages, group, repeat) for repeat, group in groups]
        replies = yield from ask(requests)
        given: list[list[float]] = [[] for _ in range(count)]
        counts = {"repaired": 0, "unparsable": 0, "escaped_ids": passages.escaped}
        repairs: list[int] = []
        for number, reply in enumerate(replies):
            group = groups[number][1]
            scores, sound = read_scores(_answer(requests[number], reply), len(group))
            for place, score in (scores or dict.fromkeys(range(len(group)), 0.0)).items():
                given[group[place]].append(score)
            if not sound:
                counts["repaired" if scores else "unparsable"] += 1
                repairs.append(number)
        return Scored([sum(own) / len(own) if own else 0.0 for own in given], counts, repairs)

    def _request(self, passages: Passages, group: Sequence[int], repeat: int) -> Generate:
        prompt = passages.prompt(group, [str(place + 1) for place in range(len(group))])
        return Generate(
            prompt, self.max_tokens, temperature=self.temperature, top_p=self.top_p, sample=repeat
        )


def _answer(request: Generate, reply: Generation) -> str:
    """Return the answer of a reply; nothing, where it was cut off before its answer began."""
    text = full_answer(request.prompt, reply)
    return text if reply.finished or "<answer>" in text else ""


def read_scores(text: str, count: int) -> tuple[dict[int, float], bool]:
    """Read `{"[1]": 5, "[2]": 3}` as scores by place, and whether it was as asked for.

    The last object after `<answer>` counts. Where it is not valid JSON its entries are read one by
    one; unknown documents are left out, and scores are cut to 0 to 10.
    """
    answer = answer_after_thoughts(text).rpartition("<answer>")[2]
    found = _OBJECT.findall(answer)
    written = found[-1] if found else answer
    entries, valid = _entries(written)
    scores = {
        int(name) - 1: min(max(score, 0.0), float(HIGHEST))
        for name, score in entries
        if len(name) < 9 and 1 <= int(name) <= count
    }
    exact = all(0 <= score <= HIGHEST for _, score in entries)
    return scores, valid and exact and len(entries) == len(scores) == count


def _entries(written: str) -> tuple[list[tuple[str, float]], bool]:
    """Return (identifier, score) pairs, and whether they are those of a valid JSON object."""
    pairs = [(name, float(score)) for name, score in _ENTRY.findall(written)]
    try:
        table = json.loads(written)
    except (ValueError, RecursionError):
        return pairs, False
    if not isinstance(table, dict) or len(table) != len(pairs):
        return pairs, False
    named = all(_KEY.fullmatch(name) for name in table)
    return pairs, named and all(type(score) in (int, float) for score in table.values())
