"""What is posted for each kind of request in each dialect, and how replies are read.

Prompts are posted as token ids. vLLM's own fields are documented in its `CompletionRequest`. A
server may ignore a field that it does not know with status 200, so each response is checked for
what was requested: every label, every prompt as it was sent.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from ...errors import EngineFault
from ...types import (
    ContinuationScore,
    Failure,
    Generate,
    Generation,
    LabelScores,
    Likelihood,
    Logits,
    NextToken,
    PairScore,
    Reply,
)
from ..prepare import Prepared, seed_of, sound
from ..tokens import Tokens
from .failures import MALFORMED, Malformed
from .numbers import require_raw, unreported

Replies: TypeAlias = list[Reply | Failure]
Made: TypeAlias = tuple[dict[str, Any], Callable[[Any], Replies]]

COMPLETIONS, CLASSIFY = "/v1/completions", "/classify"
MOST_LABELS = 128
"""Labels that vLLM reports at one position: MAX_LOGPROB_TOKEN_IDS of its 0.32."""

AT_ONCE: Mapping[type, int] = {NextToken: 16, Likelihood: 16, Generate: 1, PairScore: 100}
"""Requests in one call. A text has a call of its own, so that it does not wait for a longer one."""


@dataclass(frozen=True)
class Call:
    """A request: where and what to post, and how to read the replies from the response's JSON."""

    path: str
    body: Mapping[str, Any]
    read: Callable[[Any], Replies]

    def replies(self, payload: Any) -> Replies:
        """Read the replies; raises Malformed where the JSON has another shape."""
        try:
            return self.read(payload)
        except MALFORMED as error:
            raise Malformed(f"{type(error).__name__}: {error}") from error


class PairFormat(NamedTuple):
    """How a query and its documents are posted, and where their scores stand in the response."""

    path: str
    query: str
    documents: str
    entries: str | None
    score: str
    raw: Mapping[str, Any]


PAIRS: Mapping[str, PairFormat] = {
    "vllm": PairFormat("/score", "text_1", "text_2", "data", "score", {"use_activation": False}),
    "tei": PairFormat("/rerank", "query", "texts", None, "score", {"raw_scores": True}),
    "jina": PairFormat("/v1/rerank", "query", "documents", "results", "relevance_score", {}),
    "cohere": PairFormat("/v2/rerank", "query", "documents", "results", "relevance_score", {}),
}
_LANGUAGE = frozenset({NextToken, Likelihood, Generate})
KINDS: Mapping[str, frozenset[type]] = {
    "vllm": _LANGUAGE | {PairScore},
    "openai": _LANGUAGE,
    "tei": frozenset({PairScore}),
    "jina": frozenset({PairScore}),
    "cohere": frozenset({PairScore}),
}
"""Dialect -> the request types that a server of it can answer."""


@dataclass(frozen=True)
class Dialect:
    """Makes calls to servers that serve `model`, in the dialect `name`.

    top: how many of the most probable tokens an `openai` server reports. tokens: the model's
    tokenizer, where it is known. ends: its end tokens. outputs: the names of its head's outputs.
    """

    name: str
    model: str
    top: int
    tokens: Tokens | None = None
    ends: tuple[int, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether labels are read by token id, and none can be missing."""
        return self.name == "vllm"

    def path(self, kind: type, *, as_ids: bool = False) -> str:
        """Where requests of a kind are posted; `as_ids`: pairs as token ids."""
        return COMPLETIONS if kind is not PairScore else CLASSIFY if as_ids else self.pairs.path

    def call(self, kind: type, batch: Sequence[Prepared], *, as_ids: bool = False) -> Call:
        """Make one call of `batch`; the responses are read as one reply for each."""
        make: Callable[[Sequence[Prepared]], Made] = {
            NextToken: self._labels,
            Likelihood: self._likelihoods,
            Generate: self._text,
            PairScore: self._classes if as_ids else self._pairs,
        }[kind]
        body, read = make(batch)
        return Call(self.path(kind, as_ids=as_ids), {"model": self.model, **body}, read)

    # Labels

    def _labels(self, batch: Sequence[Prepared]) -> Made:
        wanted = list(batch[0].labels.values())
        body = {
            "prompt": _prompts(batch),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": self.top,
        }
        if self.exact:
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
        if missing and self.exact:
            raise EngineFault(
                f"the server left out {missing} of {len(one.labels)} labels that were requested "
                "by token id: it needs vLLM 0.31 or later, or dialect=openai"
            )
        bound = unreported(listed.values()) if missing else None
        reply = LabelScores(found, None, len(one.ids), 1, cached, bound=bound)
        return sound(found.values(), reply)

    def _token(self, text: str) -> int | None:
        name, _, number = text.partition("token_id:")
        return int(number) if not name and number.isdigit() else self._spellings.get(text)

    @functools.cached_property
    def _spellings(self) -> Mapping[str, int]:
        """Token ids by their text, where only one token has that text."""
        if self.tokens is None:
            return {}
        tokenizer = self.tokens.tokenizer
        texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        times = Counter(texts)
        return {text: token for token, text in enumerate(texts) if times[text] == 1}

    # Texts and likelihoods

    def _text(self, batch: Sequence[Prepared]) -> Made:
        (one,) = batch
        request: Generate = one.request
        body: dict[str, Any] = {
            "prompt": list(one.ids),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "n": 1,
        }
        seed = seed_of(request)
        body |= {} if seed is None else {"seed": seed}
        body |= {"stop": list(request.stop)} if request.stop else {}
        body |= self._vllm_sampling(request.pattern)

        def read(payload: Any) -> Replies:
            ((choice, _),) = _choices(payload, batch)
            return [self._generation(choice, one, payload)]

        return body, read

    def _vllm_sampling(self, pattern: str | None) -> dict[str, Any]:
        """Return vLLM's own fields, which keep a checkpoint's sampling defaults out."""
        if self.name != "vllm":
            if pattern:
                raise EngineFault("only dialect=vllm can force a pattern: leave the pattern out")
            return {}
        forced = {"structured_outputs": {"regex": pattern}} if pattern else {}
        return forced | {
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "min_tokens": 0,
            "ignore_eos": False,
            "stop_token_ids": list(self.ends),
            "skip_special_tokens": True,
            "return_token_ids": True,
            "logprobs": 0,
        }

    def _generation(self, choice: Any, one: Prepared, payload: Any) -> Reply | Failure:
        written = tuple(choice.get("token_ids") or ())
        logprobs = tuple(map(number, (choice.get("logprobs") or {}).get("token_logprobs") or ()))
        text = str(choice["text"])
        if written and self.tokens:
            text = self.tokens.text(written, stop=one.request.stop)
        reply = Generation(
            text,
            choice["finish_reason"] == "stop",
            written,
            logprobs,
            len(one.ids),
            len(written) or _usage(payload, "completion_tokens"),
            _cached(payload, (one,)),
        )
        return sound(logprobs, reply)

    def _likelihoods(self, batch: Sequence[Prepared]) -> Made:
        body: dict[str, Any] = {"prompt": _prompts(batch), "max_tokens": 1, "temperature": 0}
        if self.name == "vllm":
            body |= {"prompt_logprobs": 0, "return_token_ids": True}
        else:
            body |= {"echo": True, "logprobs": 1}
        read_one = _prompt_logprobs if self.name == "vllm" else _echoed

        def reply_of(choice: Any, one: Prepared) -> Reply | Failure:
            values = read_one(choice, one)
            reply = ContinuationScore(math.fsum(values), len(values), len(one.ids))
            return sound(values, reply)

        return body, lambda payload: [reply_of(*both) for both in _choices(payload, batch)]

    # Pairs

    @property
    def pairs(self) -> PairFormat:
        """How pairs of texts are posted."""
        return PAIRS[self.name]

    def _pairs(self, batch: Sequence[Prepared]) -> Made:
        texts = [one.request.document for one in batch]
        way = self.pairs
        body = {way.query: batch[0].request.query, way.documents: texts, **way.raw}
        body |= {"top_n": len(texts)} if way.entries == "results" else {}

        def read(payload: Any) -> Replies:
            entries = _in_order(payload if way.entries is None else payload[way.entries], batch)
            total = _usage(payload, "prompt_tokens", "total_tokens")
            values = [number(entry[way.score]) for entry in entries]
            both = zip(values, _tokens_read(batch, total), strict=True)
            return [sound((value,), Logits((value,), tokens)) for value, tokens in both]

        return body, read

    def _classes(self, batch: Sequence[Prepared]) -> Made:
        def read(payload: Any) -> Replies:
            entries = _in_order(payload["data"], batch)
            rows = [tuple(map(number, entry["probs"])) for entry in entries]
            require_raw(rows)
            return [
                sound(row, Logits(row, len(one.ids), names=self._names(row)))
                for row, one in zip(rows, batch, strict=True)
            ]

        return {"input": _prompts(batch), "use_activation": False}, read

    def _names(self, row: Sequence[float]) -> tuple[str, ...]:
        return self.outputs if len(self.outputs) == len(row) else ()


def _prompts(batch: Sequence[Prepared]) -> list[list[int]]:
    return [list(one.ids) for one in batch]


def _in_order(entries: Sequence[Any], batch: Sequence[Prepared]) -> list[Any]:
    """Return the entries by index. Raises Malformed unless there is one for each of `batch`."""
    found = sorted(entries, key=lambda entry: int(entry["index"]))
    if [entry["index"] for entry in found] != list(range(len(batch))):
        raise Malformed(f"its {len(found)} entries are not numbered from 0 to {len(batch) - 1}")
    return found


def _choices(payload: Any, batch: Sequence[Prepared]) -> Iterator[tuple[Any, Prepared]]:
    """Yield each completion with its one. Raises EngineFault for a prompt that was changed."""
    for choice, one in zip(_in_order(payload["choices"], batch), batch, strict=True):
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


def number(value: Any) -> float:
    """Return a number of a response; null, which JSON has in place of NaN, is NaN."""
    return math.nan if value is None else float(value)


def _usage(payload: Any, *names: str) -> int:
    """Return the first of the token counts that the server reports, else 0."""
    usage = (payload.get("usage") or {}) if isinstance(payload, dict) else {}
    return int(next((usage[name] for name in names if usage.get(name)), 0))


def _cached(payload: Any, batch: Sequence[Prepared]) -> int:
    """Return cached tokens; of several prompts vLLM reports those of one only."""
    details = (payload.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0) if len(batch) == 1 else 0


def _tokens_read(batch: Sequence[Prepared], total: int) -> list[int]:
    """Return the tokens of each pair: the tokenizer's, where they sum to the server's total.

    A server that puts pairs into a template reads more; each pair then has an equal share.
    """
    own, count = [len(one.ids) for one in batch], len(batch)
    if all(own) and total in (0, sum(own)):
        return own
    return [total * (i + 1) // count - total * i // count for i in range(count)]
