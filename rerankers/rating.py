"""ERank: a reasoning model rates each document alone (Cai et al. 2025, arXiv:2509.00520)."""

from __future__ import annotations

import math
import re
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
    load_template,
)

from .budgets import check_budgets, check_counts
from .instructions import check_prompt, prompt_takes_instruction
from .passages import document_prompts, full_answer

WEIGHTS = ("probability", "none")
_TAGGED = re.compile(r"<answer>\s*(\d{1,3})\s*</answer>", re.IGNORECASE)
_BARE = re.compile(r"\s*(?:<answer>)?\s*(\d{1,3})\s*(?:</answer>)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Rating:
    """Asks for an integer from 0 to `highest` for each document, after the model has reasoned.

    The score is the integer times the probability with which its tokens were generated, as in
    ERank; where an integer is several tokens, their probabilities are multiplied. An answer without
    an integer scores 0 and is counted.

    prompt: name or `.toml` file, filled with `query`, `document` and `instruction`.
    highest: the largest rating.
    weight: `probability`, or `none` for the integer alone.
    max_tokens: of one answer, reasoning included.
    instruction: as for pointwise.
    max_doc_tokens, max_query_tokens, max_pair_tokens (of both together): budgets in tokens.
    """

    prompt: str = "erank"
    highest: int = 10
    weight: str = "probability"
    max_tokens: int = 2048
    instruction: str = ""
    max_doc_tokens: int | None = 1024
    max_query_tokens: int | None = 512
    max_pair_tokens: int | None = None
    asks = frozenset({Generate})
    takes_instruction = prompt_takes_instruction

    def __post_init__(self) -> None:
        check_budgets("rating", self)
        check_prompt("rating", self.prompt, "query", "document", instruction=self.instruction)
        check_counts("rating", highest=self.highest, max_tokens=self.max_tokens)
        if self.weight not in WEIGHTS:
            raise BadOption(f"rating: weight must be one of {', '.join(WEIGHTS)}")

    def rerank(self, candidates: Candidates) -> Flow:
        """Ask about all documents at once."""
        prompts = document_prompts(candidates, load_template(self.prompt), self.instruction)
        replies = yield from ask([Generate(prompt, self.max_tokens) for prompt in prompts])
        found = [
            self._score(full_answer(*one), one[1]) for one in zip(prompts, replies, strict=True)
        ]
        missing = [place for place, score in enumerate(found) if score is None]
        return Scored([score or 0.0 for score in found], {"unparsable": len(missing)}, missing)

    def _score(self, text: str, reply: Generation) -> float | None:
        """Return the score that the text of a reply gives, or None where it gives no rating."""
        match = read_rating(text)
        if match is None or int(match[1]) > self.highest:
            return None
        if self.weight == "none":
            return float(match[1])
        before = len(text) - len(reply.text)  # the prompt's own beginning of the answer
        return int(match[1]) * probability(reply, match.start(1) - before, match.end(1) - before)


def read_rating(text: str) -> re.Match[str] | None:
    """Find the rating in an answer: the last one in `<answer>` tags, or a bare integer.

    Group 1 is the integer; its offsets are those in `text`. Nothing is found in a think block.
    """
    answer = answer_after_thoughts(text)
    start = len(text) - len(answer)
    tagged = list(_TAGGED.finditer(text, start))
    return tagged[-1] if tagged else _BARE.fullmatch(text, start)


def probability(reply: Generation, start: int, end: int) -> float:
    """Return the probability of the tokens that wrote the characters from `start` to `end`.

    Tokens are counted from the end, since those of the reasoning may hold parts of a character.
    Raises BadOption where the engine does not report the tokens of a text.
    """
    if not reply.pieces or len(reply.pieces) != len(reply.logprobs):
        raise BadOption(
            "rating: this engine does not report the probabilities of generated tokens; "
            "set weight=none"
        )
    total, place = 0.0, len(reply.text)
    for piece, logprob in zip(reversed(reply.pieces), reversed(reply.logprobs), strict=True):
        if place > start and place - len(piece) < end:
            total += logprob
        place -= len(piece)
    return math.exp(total)
