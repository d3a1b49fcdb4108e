"""How vLLM is called for each type of request, and the reply read off its output."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from ...types import (
    ContinuationScore,
    Embed,
    Generate,
    Generation,
    Label,
    LabelScores,
    Likelihood,
    Logits,
    NextToken,
    PairScore,
)
from ..late import Encode, TokenVectors
from ..pooling import pooled_vector
from ..prepare import Answer, Prepared, sound
from ..seeds import seed_of
from .settings import Settings


def parameters(one: Prepared, settings: Settings) -> Any:
    """Return the sampling or pooling parameters for a prepared request."""
    make, _ = _CALLS[type(one.request)]
    return make(one, settings)


def read(one: Prepared, settings: Settings, output: Any) -> Answer:
    """Return the reply to a prepared request, from vLLM's finished output.

    A Generation has no text yet: this process has no tokenizer of its own.
    """
    _, read_one = _CALLS[type(one.request)]
    return read_one(one, settings, output)


def _sampling(**chosen: Any) -> Any:
    """Return sampling parameters with every field set that could change an answer."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    plain = {
        "n": 1, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "seed": None,
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0,
        "max_tokens": 1, "min_tokens": 0, "stop": None, "stop_token_ids": None,
        "ignore_eos": False, "detokenize": False, "output_kind": RequestOutputKind.FINAL_ONLY,
    }  # fmt: skip
    return SamplingParams(**{**plain, **chosen})


@functools.lru_cache(maxsize=10_000)
def _one_token(label_ids: tuple[int, ...] | None, prompt_logprobs: int | None) -> Any:
    """Return parameters that equal requests share: vLLM takes up to 80 µs to check new ones."""
    listed = None if label_ids is None else list(label_ids)
    return _sampling(logprob_token_ids=listed, prompt_logprobs=prompt_logprobs)


@functools.lru_cache(maxsize=10_000)
def _pooling(task: str, second_segment: int | None) -> Any:
    from vllm import PoolingParams

    extra = None if second_segment is None else {"compressed_token_type_ids": second_segment}
    return PoolingParams(task=task, use_activation=False, extra_kwargs=extra)


def _for_labels(one: Prepared, settings: Settings) -> Any:
    if settings.label_head:
        return _for_pair(one, settings)
    return _one_token(tuple(one.labels.values()), None)


def _for_text(one: Prepared, settings: Settings) -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    request: Generate = one.request
    pattern = request.pattern
    return _sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        seed=seed_of(request),
        max_tokens=request.max_tokens,
        stop=list(request.stop) or None,
        stop_token_ids=list(settings.end_ids),
        logprobs=0,
        detokenize=bool(request.stop),
        structured_outputs=None if pattern is None else StructuredOutputsParams(regex=pattern),
    )


def _for_pair(one: Prepared, settings: Settings) -> Any:
    """Where a model has segment ids, pass where the second begins: at the end if there is none."""
    if one.types is None:
        return _pooling("classify", None)
    return _pooling("classify", list(one.types).index(1) if 1 in one.types else len(one.types))


def _labels(one: Prepared, settings: Settings, output: Any) -> Answer:
    read, cached = len(one.ids), _cached(output)
    if settings.label_head:
        logits = dict(zip(settings.label_head, _pooled(output), strict=True))
        logit = {label: logits[token] for label, token in one.labels.items()}
        scores = LabelScores(_log_softmax(logit), logit, read, 1, cached, over_labels=True)
    else:
        found = output.outputs[0].logprobs[0]
        logprob = {label: found[token].logprob for label, token in one.labels.items()}
        scores = LabelScores(logprob, None, read, 1, cached)
    return sound(scores.logprob.values(), scores)


def _log_softmax(logit: Mapping[Label, float]) -> dict[Label, float]:
    whole = float(np.logaddexp.reduce(list(logit.values())))
    return {label: value - whole for label, value in logit.items()}


def _likelihood(one: Prepared, settings: Settings, output: Any) -> Answer:
    size, known = len(one.ids), output.prompt_logprobs
    total = sum(known[i][one.ids[i]].logprob for i in range(size - one.ending, size))
    return sound((total,), ContinuationScore(total, one.ending, size, 0, _cached(output)))


def _text(one: Prepared, settings: Settings, output: Any) -> Answer:
    (written,) = output.outputs
    tokens = tuple(written.token_ids)
    logprobs = tuple(entry[t].logprob for entry, t in zip(written.logprobs, tokens, strict=True))
    finished, read = written.finish_reason == "stop", len(one.ids)
    generation = Generation("", finished, tokens, logprobs, read, len(tokens), _cached(output))
    return sound(logprobs, generation)


def _pair(one: Prepared, settings: Settings, output: Any) -> Answer:
    logits = _pooled(output)
    names = settings.names if len(logits) == len(settings.names) else ()
    return sound(logits, Logits(logits, len(one.ids), 0, _cached(output), names))


def _vectors(one: Prepared, settings: Settings, output: Any) -> Answer:
    states = output.outputs.data.float().cpu().numpy()[list(one.places)]
    return sound((float(states.sum()),), TokenVectors(states, len(one.ids), 0, _cached(output)))


def _pooled(output: Any) -> tuple[float, ...]:
    return tuple(output.outputs.data.float().reshape(-1).tolist())


def _cached(output: Any) -> int:
    return int(output.num_cached_tokens or 0)


_Make: TypeAlias = Callable[[Prepared, Settings], Any]
_Read: TypeAlias = Callable[[Prepared, Settings, Any], Answer]
_CALLS: Mapping[type, tuple[_Make, _Read]] = {
    NextToken: (_for_labels, _labels),
    Likelihood: (lambda one, settings: _one_token(None, 0), _likelihood),
    Generate: (_for_text, _text),
    PairScore: (_for_pair, _pair),
    Encode: (lambda one, settings: _pooling("token_embed", None), _vectors),
    Embed: (
        lambda one, settings: _pooling("embed", None),
        lambda one, settings, output: pooled_vector(one, _pooled(output), cached=_cached(output)),
    ),
}
