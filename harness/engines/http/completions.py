"""Requests to a language model at `/v1/completions`, with prompts as token ids.

vLLM's own fields are documented in its `CompletionRequest`. A server may ignore a field that it
does not know with status 200, so each response is checked for what was requested: every label,
every prompt as it was sent.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import EngineFault
from ...types import ContinuationScore, Failure, Generation, LabelScores, Reply
from ..prepare import Prepared, seed_of, sound
from ..tokens import Tokens
from .failures import Malformed
from .numbers import unreported
from .responses import Made, Replies, in_order, number, usage

COMPLETIONS = "/v1/completions"
MOST_LABELS = 128
"""Labels that vLLM reports at one position: MAX_LOGPROB_TOKEN_IDS of its 0.32."""

_PLAIN = {"presence_penalty": 0.0, "frequency_penalty": 0.0, "n": 1}
_PLAIN_VLLM = {
    "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "min_tokens": 0, "ignore_eos": False,
    "skip_special_tokens": True, "return_token_ids": True, "logprobs": 0,
}  # fmt: skip
"""Sampling fields; each is sent, so that a checkpoint's own defaults have no effect."""


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

    def labels(self, batch: Sequence[Prepared]) -> Made:
        """Ask for the log-probabilities of labels, by token id or among the most probable."""
        wanted = list(batch[0].labels.values())
        body = _prefill(batch, logprobs=self.top)
        if self.vllm:
            if len(wanted) > MOST_LABELS:
                raise EngineFault(f"{len(wanted)} labels, but vLLM reports {MOST_LABELS} at once")
            body |= {"logprobs": 1, "logprob_token_ids": wanted, "return_token_ids": True}
            body |= {"return_tokens_as_token_ids": True}

        def read(payload: Any) -> Replies:
            cached = _cached(payload, batch)
            return [self._scores(choice, one, cached) for choice, one in _choices(payload, batch)]

        return body, read

    def _scores(self, choice: Any, one: Prepared, cached: int) -> Reply | Failure:
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
        reply = LabelScores(found, None, len(one.ids), 1, cached, bound=bound)
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

    def text(self, batch: Sequence[Prepared]) -> Made:
        """Ask for the text of one request."""
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

        def read(payload: Any) -> Replies:
            ((choice, _),) = _choices(payload, batch)
            return [self._generation(choice, one, payload)]

        return body, read

    def _generation(self, choice: Any, one: Prepared, payload: Any) -> Reply | Failure:
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
            output_tokens=len(written) or usage(payload, "completion_tokens"),
            cached_tokens=_cached(payload, (one,)),
        )
        return sound(logprobs, reply)

    def likelihoods(self, batch: Sequence[Prepared]) -> Made:
        """Ask for the log-probabilities of the prompts' own tokens: vLLM's field, or an echo."""
        extra = {"prompt_logprobs": 0, "return_token_ids": True}
        body = _prefill(batch, **extra if self.vllm else {"echo": True, "logprobs": 1})
        read_one = _prompt_logprobs if self.vllm else _echoed

        def reply(choice: Any, one: Prepared) -> Reply | Failure:
            values = read_one(choice, one)
            total = math.fsum(values)
            return sound(values, ContinuationScore(total, len(values), len(one.ids)))

        return body, lambda payload: [reply(*both) for both in _choices(payload, batch)]


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


def _prompt_logprobs(choice: Any, one: Prepared) -> list[float]:
    values, ids, start = choice["prompt_logprobs"], one.ids, len(one.ids) - one.ending
    return [number(values[i][str(ids[i])]["logprob"]) for i in range(start, len(ids))]


def _echoed(choice: Any, one: Prepared) -> list[float]:
    values, end = choice["logprobs"]["token_logprobs"], len(one.ids)
    if len(values) < end:
        raise Malformed(f"{len(values)} log-probabilities for {end} tokens")
    return [number(value) for value in values[end - one.ending : end]]


def _cached(payload: Any, batch: Sequence[Prepared]) -> int:
    """Return cached tokens; of several prompts vLLM reports those of one only."""
    details = (payload.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0) if len(batch) == 1 else 0
