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
from ..batches import Work, sound
from ..reading import seed_of
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

    def call(self, kind: type, works: Sequence[Work], *, as_ids: bool = False) -> Call:
        """Make one call of `works`; the responses are read as one reply for each."""
        make: Callable[[Sequence[Work]], Made] = {
            NextToken: self._labels,
            Likelihood: self._likelihoods,
            Generate: self._text,
            PairScore: self._classes if as_ids else self._pairs,
        }[kind]
        body, read = make(works)
        return Call(self.path(kind, as_ids=as_ids), {"model": self.model, **body}, read)

    # Labels

    def _labels(self, works: Sequence[Work]) -> Made:
        wanted = list(works[0].request.values())
        body = {"prompt": _prompts(works), "max_tokens": 1, "temperature": 0, "logprobs": self.top}
        if self.exact:
            if len(wanted) > MOST_LABELS:
                raise EngineFault(f"{len(wanted)} labels, but vLLM reports {MOST_LABELS} at once")
            body |= {"logprobs": 1, "logprob_token_ids": wanted, "return_token_ids": True}
            body |= {"return_tokens_as_token_ids": True}

        def read(payload: Any) -> Replies:
            cached = _cached(payload, works)
            return [self._scores(choice, work, cached) for choice, work in _choices(payload, works)]

        return body, read

    def _scores(self, choice: Any, work: Work, cached: int) -> Reply | Failure:
        listed = reported(choice)
        known = {self._token(text): value for text, value in listed.items()}
        found = {label: known[token] for label, token in work.request.items() if token in known}
        missing = len(work.request) - len(found)
        if missing and self.exact:
            raise EngineFault(
                f"the server left out {missing} of {len(work.request)} labels that were requested "
                "by token id: it needs vLLM 0.31 or later, or dialect=openai"
            )
        bound = unreported(listed.values()) if missing else None
        reply = LabelScores(found, None, len(work.ids), 1, cached, bound=bound)
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

    def _text(self, works: Sequence[Work]) -> Made:
        (work,) = works
        request: Generate = work.request
        body: dict[str, Any] = {
            "prompt": list(work.ids),
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
            ((choice, _),) = _choices(payload, works)
            return [self._generation(choice, work, payload)]

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

    def _generation(self, choice: Any, work: Work, payload: Any) -> Reply | Failure:
        written = tuple(choice.get("token_ids") or ())
        logprobs = tuple(map(number, (choice.get("logprobs") or {}).get("token_logprobs") or ()))
        text = str(choice["text"])
        if written and self.tokens:
            text = self.tokens.text(written, stop=work.request.stop)
        reply = Generation(
            text,
            choice["finish_reason"] == "stop",
            written,
            logprobs,
            len(work.ids),
            len(written) or _usage(payload, "completion_tokens"),
            _cached(payload, (work,)),
        )
        return sound(logprobs, reply)

    def _likelihoods(self, works: Sequence[Work]) -> Made:
        body: dict[str, Any] = {"prompt": _prompts(works), "max_tokens": 1, "temperature": 0}
        if self.name == "vllm":
            body |= {"prompt_logprobs": 0, "return_token_ids": True}
        else:
            body |= {"echo": True, "logprobs": 1}
        read_one = _prompt_logprobs if self.name == "vllm" else _echoed

        def one(choice: Any, work: Work) -> Reply | Failure:
            values = read_one(choice, work)
            reply = ContinuationScore(math.fsum(values), len(values), len(work.ids))
            return sound(values, reply)

        return body, lambda payload: [one(*both) for both in _choices(payload, works)]

    # Pairs

    @property
    def pairs(self) -> PairFormat:
        """How pairs of texts are posted."""
        return PAIRS[self.name]

    def _pairs(self, works: Sequence[Work]) -> Made:
        texts = [work.request.document for work in works]
        way = self.pairs
        body = {way.query: works[0].request.query, way.documents: texts, **way.raw}
        body |= {"top_n": len(texts)} if way.entries == "results" else {}

        def read(payload: Any) -> Replies:
            entries = _in_order(payload if way.entries is None else payload[way.entries], works)
            total = _usage(payload, "prompt_tokens", "total_tokens")
            values = [number(entry[way.score]) for entry in entries]
            both = zip(values, _tokens_read(works, total), strict=True)
            return [sound((value,), Logits((value,), tokens)) for value, tokens in both]

        return body, read

    def _classes(self, works: Sequence[Work]) -> Made:
        def read(payload: Any) -> Replies:
            entries = _in_order(payload["data"], works)
            rows = [tuple(map(number, entry["probs"])) for entry in entries]
            require_raw(rows)
            return [
                sound(row, Logits(row, len(work.ids), names=self._names(row)))
                for row, work in zip(rows, works, strict=True)
            ]

        return {"input": _prompts(works), "use_activation": False}, read

    def _names(self, row: Sequence[float]) -> tuple[str, ...]:
        return self.outputs if len(self.outputs) == len(row) else ()


def _prompts(works: Sequence[Work]) -> list[list[int]]:
    return [list(work.ids) for work in works]


def _in_order(entries: Sequence[Any], works: Sequence[Work]) -> list[Any]:
    """Return the entries by index. Raises Malformed unless there is one for each of `works`."""
    found = sorted(entries, key=lambda entry: int(entry["index"]))
    if [entry["index"] for entry in found] != list(range(len(works))):
        raise Malformed(f"its {len(found)} entries are not numbered from 0 to {len(works) - 1}")
    return found


def _choices(payload: Any, works: Sequence[Work]) -> Iterator[tuple[Any, Work]]:
    """Yield each completion with its work. Raises EngineFault for a prompt that was changed."""
    for choice, work in zip(_in_order(payload["choices"], works), works, strict=True):
        returned = choice.get("prompt_token_ids")
        if returned is not None and returned != list(work.ids):
            raise EngineFault(
                f"the server changed a prompt: {len(work.ids)} token ids were sent, and "
                f"{len(returned)} others came back; it must serve the tokenizer used here"
            )
        yield choice, work


def reported(choice: Any) -> dict[str, float]:
    """Return the log-probabilities at the first position, by text or as `token_id:7`."""
    logprobs = choice["logprobs"]
    if logprobs.get("content"):  # llama.cpp answers completions in the form of chats
        entries = logprobs["content"][0]["top_logprobs"]
        named = [(f"token_id:{e['id']}" if "id" in e else str(e["token"]), e) for e in entries]
        return {name: number(entry["logprob"]) for name, entry in named}
    return {name: number(value) for name, value in logprobs["top_logprobs"][0].items()}


def _prompt_logprobs(choice: Any, work: Work) -> list[float]:
    values, ids, start = choice["prompt_logprobs"], work.ids, len(work.ids) - len(work.request)
    return [number(values[i][str(ids[i])]["logprob"]) for i in range(start, len(ids))]


def _echoed(choice: Any, work: Work) -> list[float]:
    values, end = choice["logprobs"]["token_logprobs"], len(work.ids)
    if len(values) < end:
        raise Malformed(f"{len(values)} log-probabilities for {end} tokens")
    return [number(value) for value in values[end - len(work.request) : end]]


def number(value: Any) -> float:
    """Return a number of a response; null, which JSON has in place of NaN, is NaN."""
    return math.nan if value is None else float(value)


def _usage(payload: Any, *names: str) -> int:
    """Return the first of the token counts that the server reports, else 0."""
    usage = (payload.get("usage") or {}) if isinstance(payload, dict) else {}
    return int(next((usage[name] for name in names if usage.get(name)), 0))


def _cached(payload: Any, works: Sequence[Work]) -> int:
    """Return cached tokens; of several prompts vLLM reports those of one only."""
    details = (payload.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0) if len(works) == 1 else 0


def _tokens_read(works: Sequence[Work], total: int) -> list[int]:
    """Return the tokens of each pair: the tokenizer's, where they sum to the server's total.

    A server that puts pairs into a template reads more; each pair then has an equal share.
    """
    own, count = [len(work.ids) for work in works], len(works)
    if all(own) and total in (0, sum(own)):
        return own
    return [total * (i + 1) // count - total * i // count for i in range(count)]
