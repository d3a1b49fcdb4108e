"""Requests to a language model at `/v1/completions`, with prompts as token ids.

vLLM's own fields are documented in its `CompletionRequest`. A server may ignore a field that it
does not know with status 200, so each response is checked for what was requested: every label,
every prompt as it was sent.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import EngineFault
from ...types import (
    ContinuationScore,
    Failure,
    Generate,
    Generation,
    LabelScores,
    Likelihood,
    NextToken,
    Reply,
)
from ..prepare import Prepared, sound
from ..seeds import seed_of
from ..tokens import Tokens
from .responses import Call, Malformed, Replies, in_order, number

COMPLETIONS = "/v1/completions"
MOST_LABELS = 128
"""Labels that vLLM reports at one position: MAX_LOGPROB_TOKEN_IDS of its 0.32."""

_PLAIN = {"presence_penalty": 0.0, "frequency_penalty": 0.0, "n": 1}
_PLAIN_VLLM = {
    "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "min_tokens": 0, "ignore_eos": False,
    "skip_special_tokens": True, "return_token_ids": True, "logprobs": 0,
}  # fmt: skip
"""Sampling fields; each is sent, so that a checkpoint's own defaults have no effect."""

_LEAST_REST = 1e-7
"""How far off 1 the sum of float32 probabilities is that make a whole."""


@dataclass(frozen=True)
class Completions:
    """Makes the bodies of calls and reads their responses.

    tokens: the model's tokenizer. ends: its end tokens. vllm: whether vLLM's own fields are used.
    top: how many of the most probable tokens another server reports.
    """

    tokens: Tokens
    ends: Sequence[int]
    vllm: bool
    top: int

    def call(self, kind: type, batch: Sequence[Prepared]) -> Call:
        """Make one call of requests of one kind; a text is requested alone."""
        make_body, read_one = {
            NextToken: (self._labels, self._scores),
            Likelihood: (self._likelihoods, self._continuation),
            Generate: (self._text, self._generation),
        }[kind]

        def read(payload: Any) -> Replies:
            # of several prompts, vLLM reports the cached tokens of one only
            used = (payload.get("usage") or {}) if len(batch) == 1 else {}
            return [read_one(choice, one, used) for choice, one in _choices(payload, batch)]

        return Call(COMPLETIONS, make_body(batch), read)

    def _labels(self, batch: Sequence[Prepared]) -> dict[str, Any]:
        """Ask for the log-probabilities of labels, by token id or among the most probable."""
        wanted = list(batch[0].labels.values())
        if not self.vllm:
            return _prefill(batch, logprobs=self.top)
        if len(wanted) > MOST_LABELS:
            raise EngineFault(f"{len(wanted)} labels, but vLLM reports {MOST_LABELS} at once")
        returned = {"return_token_ids": True, "return_tokens_as_token_ids": True}
        return _prefill(batch, logprobs=1, logprob_token_ids=wanted, **returned)

    def _scores(self, choice: Any, one: Prepared, used: Mapping[str, Any]) -> Reply | Failure:
        listed = reported(choice)
        known = {self._token(text): value for text, value in listed.items()}
        found = {label: known[token] for label, token in one.labels.items() if token in known}
        missing = len(one.labels) - len(found)
        if missing and self.vllm:
            raise EngineFault(
                f"the server left out {missing} of {len(one.labels)} labels that were requested "
                "by token id: it needs vLLM 0.31 or later, or dialect=openai"
            )
        bound = unreported(listed.values()) if missing else None
        reply = LabelScores(found, None, len(one.ids), 1, _cached(used), bound=bound)
        return sound(found.values(), reply)

    def _token(self, text: str) -> int | None:
        name, _, digits = text.partition("token_id:")
        return int(digits) if not name and digits.isdigit() else self._spellings.get(text)

    @functools.cached_property
    def _spellings(self) -> Mapping[str, int]:
        """Token ids by their text, where only one token has that text."""
        tokenizer = self.tokens.tokenizer
        texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        times = Counter(texts)
        return {text: token for token, text in enumerate(texts) if times[text] == 1}

    def _likelihoods(self, batch: Sequence[Prepared]) -> dict[str, Any]:
        """Ask for the log-probabilities of the prompts' own tokens: vLLM's field, or an echo."""
        if self.vllm:
            return _prefill(batch, prompt_logprobs=0, return_token_ids=True)
        return _prefill(batch, echo=True, logprobs=1)

    def _continuation(self, choice: Any, one: Prepared, used: Mapping[str, Any]) -> Reply | Failure:
        ids, end, start = one.ids, len(one.ids), len(one.ids) - one.ending
        if self.vllm:
            listed = choice["prompt_logprobs"]
            values = [number(listed[i][str(ids[i])]["logprob"]) for i in range(start, end)]
        else:
            listed = choice["logprobs"]["token_logprobs"]
            if len(listed) < end:
                raise Malformed(f"{len(listed)} log-probabilities for {end} tokens")
            values = [number(value) for value in listed[start:end]]
        return sound(values, ContinuationScore(math.fsum(values), len(values), end))

    def _text(self, batch: Sequence[Prepared]) -> dict[str, Any]:
        (one,) = batch
        request = one.request
        body = {"prompt": list(one.ids), "max_tokens": request.max_tokens, **_PLAIN}
        body |= {"temperature": request.temperature, "top_p": request.top_p}
        body |= {"seed": seed_of(request)} if request.temperature else {}
        body |= {"stop": list(request.stop)} if request.stop else {}
        if self.vllm:
            body |= {"stop_token_ids": list(self.ends), **_PLAIN_VLLM}
            body |= {"structured_outputs": {"regex": request.pattern}} if request.pattern else {}
        elif request.pattern:
            raise EngineFault("only dialect=vllm can force a pattern: leave the pattern out")
        return body

    def _generation(self, choice: Any, one: Prepared, used: Mapping[str, Any]) -> Reply | Failure:
        written = tuple(choice.get("token_ids") or ())
        logprobs = tuple(map(number, (choice.get("logprobs") or {}).get("token_logprobs") or ()))
        own = self.tokens.text(written, stop=one.request.stop)
        pieces = (choice.get("logprobs") or {}).get("tokens") or ()
        reply = Generation(
            own if written else str(choice["text"]),
            finished=choice["finish_reason"] == "stop",
            tokens=written,
            logprobs=logprobs,
            pieces=self.tokens.pieces(written) if written else tuple(map(str, pieces)),
            prompt_tokens=len(one.ids),
            output_tokens=len(written) or int(used.get("completion_tokens") or 0),
            cached_tokens=_cached(used),
        )
        return sound(logprobs, reply)


def _prefill(batch: Sequence[Prepared], **fields: Any) -> dict[str, Any]:
    """Return the body for prompts behind which nothing is wanted but one token."""
    prompts = [list(one.ids) for one in batch]
    return {"prompt": prompts, "max_tokens": 1, "temperature": 0, **fields}


def _choices(payload: Any, batch: Sequence[Prepared]) -> Iterator[tuple[Any, Prepared]]:
    """Yield each choice with its request. Raises EngineFault for a prompt that was changed."""
    for choice, one in zip(in_order(payload["choices"], batch), batch, strict=True):
        returned = choice.get("prompt_token_ids")
        if returned is not None and returned != list(one.ids):
            raise EngineFault(
                f"the server changed a prompt: {len(one.ids)} token ids were sent, and "
                f"{len(returned)} others came back; it must serve the tokenizer used here"
            )
        yield choice, one


def reported(choice: Any) -> dict[str, float]:
    """Return the log-probabilities at the first position, by text or as `token_id:7`."""
    logprobs = choice["logprobs"]
    if logprobs.get("content"):  # llama.cpp answers completions in the form of chats
        entries = logprobs["content"][0]["top_logprobs"]
        named = [(f"token_id:{e['id']}" if "id" in e else str(e["token"]), e) for e in entries]
        return {name: number(entry["logprob"]) for name, entry in named}
    return {name: number(value) for name, value in logprobs["top_logprobs"][0].items()}


def unreported(logprobs: Collection[float]) -> float:
    """Return the most that the log-probability of an unreported token can be.

    logprobs: those of the most probable tokens, as the server reported them. A token that is not
    among them is at most as probable as the last of them, and as what they leave of the whole. The
    bound lies just below the last of them, so that a reported token comes first.
    """
    known = [value for value in logprobs if not math.isnan(value)]
    rest = 1 - math.fsum(map(math.exp, known))
    bound = min([*known, math.log(max(rest, _LEAST_REST))])
    return math.nextafter(bound, -math.inf)


def _cached(used: Mapping[str, Any]) -> int:
    return int((used.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
