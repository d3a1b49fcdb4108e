"""An exact comparator: a fake engine that knows how relevant each known text is.

It answers every built-in request by finding the known document texts in it, as a perfect model
would; `noise` adds a seeded error to what it believes of a document, per request.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rerank_bench.engines import FakeEngine
from rerank_bench.types import (
    Attend,
    Attention,
    ContinuationScore,
    Embed,
    Fuse,
    FuseScore,
    Generation,
    LabelScores,
    Likelihood,
    Logits,
    NextToken,
    PairScore,
    Prompt,
    Vectors,
)

WORD = re.compile(r"text[0-9a-f]{8}")


def text_of(name: str) -> str:
    """A document text that can be found again in any prompt."""
    return "text" + hashlib.sha256(name.encode()).hexdigest()[:8]


def oracle(relevance: Mapping[str, float], *, noise: float = 0.0, seed: int = 0) -> FakeEngine:
    """An engine that believes `relevance` (text -> higher is better; texts from `text_of`)."""

    def belief(text: str, request: Any) -> float:
        return relevance[text] + noise * random.Random(f"{seed}{request}{text}").gauss(0, 1)

    def answer(request: Any) -> Any:
        if isinstance(request, PairScore):
            return Logits((belief(_only(request.document), request),), prompt_tokens=1)
        if isinstance(request, Likelihood):
            found = _only(_whole(request.prompt))
            return ContinuationScore(belief(found, request), 1, prompt_tokens=1)
        if isinstance(request, NextToken):
            return LabelScores(_labels(request, belief), prompt_tokens=1)
        if isinstance(request, Attend):
            found = tuple((belief(_only(passage), request),) for passage in request.passages)
            return Attention((found, ((0.0,),) * len(found)), prompt_tokens=1)
        if isinstance(request, Fuse | FuseScore):
            return _fused(request, [belief(_only(_whole(p)), request) for p in request.prompts])
        if isinstance(request, Embed):
            return _vectors(request, belief)
        texts = _passages(request.prompt)
        ranked = sorted(texts, key=lambda name: -belief(texts[name], request))
        text = _written(request.prompt, ranked).removeprefix(request.prompt.prefill)
        return Generation(text, finished=True, prompt_tokens=1, output_tokens=len(ranked))

    return FakeEngine(answer)


def _written(prompt: Prompt, ranked: list[str]) -> str:
    """What a model writes that was asked for the best, for both ends, or for all in order."""
    whole = _whole(prompt)
    if "<answer>" in whole:
        thoughts = "<think>So [1], or [2]?</think>\n" if "<think>" in whole else ""
        return f"{thoughts}<answer>[{ranked[0]}]</answer>"
    if prompt.prefill == "Passage":
        return f"Passage {ranked[0]}"
    if "worst" in whole:
        return f"[{ranked[0]}] > [{ranked[-1]}]"
    return " > ".join(f"[{name}]" for name in ranked)


def _fused(request: Fuse | FuseScore, found: Sequence[float]) -> Any:
    """Scores, or a ranking: `[2] > [1]` of prompts with such identifiers, else the best last."""
    if isinstance(request, FuseScore):
        return Logits(tuple(found), prompt_tokens=1)
    ranked = sorted(range(len(found)), key=lambda place: -found[place])
    if "[1]" in _whole(request.prompts[0]):
        text = " > ".join(f"[{place + 1}]" for place in ranked)
    else:
        text = " ".join(str(place + 1) for place in reversed(ranked))
    return Generation(text, finished=True, prompt_tokens=1, output_tokens=len(ranked))


def _labels(request: NextToken, belief: Any) -> dict[Any, float]:
    passages = _passages(request.prompt)
    if passages and all(str(label).strip() in passages for label in request.labels):
        return {label: belief(passages[label.strip()], request) for label in request.labels}
    if {"0", "1"} <= passages.keys():
        value = belief(passages["0"], request) - belief(passages["1"], request)
    else:
        value = belief(_only(_whole(request.prompt)), request)
    share = 1 / (1 + math.exp(-value))
    first, *rest = request.labels
    return {first: math.log(share), **{r: math.log((1 - share) / len(rest)) for r in rest}}


def _vectors(request: Embed, belief: Any) -> Vectors:
    """A document's vector is the nearer to the query's, the more relevant it is."""
    whole, query = _whole(request.prompt), [1.0, 0.0]
    if not isinstance(request.pooling, str):  # the last named token is the query's
        ends = "|".join(map(re.escape, request.pooling))
        texts = [WORD.findall(part)[-1] for part in re.split(ends, whole)[:-2]]
    elif request.prompt.messages:  # a query that lists documents
        texts = []
    else:
        texts = WORD.findall(whole)
    shares = [1 / (1 + math.exp(-belief(text, request))) for text in texts]
    rows = [[share, math.sqrt(1 - share**2)] for share in shares]
    asks_query = not isinstance(request.pooling, str) or not rows
    return Vectors.of(np.array([*rows, *([query] if asks_query else [])]), prompt_tokens=1)


def _whole(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text
    return "\n".join(message.text for message in prompt.messages)


def _only(text: str) -> str:
    (found,) = set(WORD.findall(text))
    return found


def _passages(prompt: Prompt) -> dict[str, str]:
    """Identifier -> document text, wherever a known text follows an identifier."""
    named = r"(?:\[(\w+)\]|Passage (\w+):|Document(\d):)[^\[]*?(text[0-9a-f]{8})"
    found = re.findall(named, _whole(prompt))
    return {
        bracketed or lettered or numbered: text for bracketed, lettered, numbered, text in found
    }
