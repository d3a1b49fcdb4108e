"""How vLLM is asked for each kind of answer, and what is read off its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..asks import Ask, Kind, Told


def parameters(asked: Ask) -> Any:
    """The sampling or pooling parameters that make vLLM do what is asked."""
    return _PARAMETERS[asked.kind](asked)


def read(asked: Ask, output: Any) -> Told:
    """Take the answer out of a finished output."""
    return _READERS[asked.kind](asked, output)


def _sampling(**chosen: Any) -> Any:
    """Sampling parameters with every field that could change an answer set."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    plain = {
        "n": 1, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "seed": None,
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0,
        "max_tokens": 1, "min_tokens": 0, "stop": None, "stop_token_ids": None,
        "ignore_eos": False, "detokenize": False, "output_kind": RequestOutputKind.FINAL_ONLY,
    }  # fmt: skip
    return SamplingParams(**{**plain, **chosen})


def _label_parameters(asked: Ask) -> Any:
    return _sampling(logprob_token_ids=list(asked.labels))


def _likelihood_parameters(asked: Ask) -> Any:
    return _sampling(prompt_logprobs=0)


def _text_parameters(asked: Ask) -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    forced = None if asked.pattern is None else StructuredOutputsParams(regex=asked.pattern)
    return _sampling(
        temperature=asked.temperature,
        top_p=asked.top_p,
        seed=asked.seed,
        max_tokens=asked.max_tokens,
        stop=list(asked.stop) or None,
        stop_token_ids=list(asked.stop_ids),
        logprobs=0,
        detokenize=bool(asked.stop),
        structured_outputs=forced,
    )


def _logit_parameters(asked: Ask) -> Any:
    from vllm import PoolingParams

    extra = None if asked.second is None else {"compressed_token_type_ids": asked.second}
    return PoolingParams(task="classify", use_activation=False, extra_kwargs=extra)


def _vector_parameters(asked: Ask) -> Any:
    from vllm import PoolingParams

    return PoolingParams(task="token_embed", use_activation=False)


_PARAMETERS: Mapping[Kind, Callable[[Ask], Any]] = {
    "labels": _label_parameters,
    "likelihood": _likelihood_parameters,
    "text": _text_parameters,
    "logits": _logit_parameters,
    "vectors": _vector_parameters,
}


def _read_labels(asked: Ask, output: Any) -> Told:
    found = output.outputs[0].logprobs[0]
    return Told(tuple(found[token].logprob for token in asked.labels), cached=_cached(output))


def _read_likelihood(asked: Ask, output: Any) -> Told:
    places = range(len(asked.ids) - asked.ending, len(asked.ids))
    known = output.prompt_logprobs
    return Told((sum(known[i][asked.ids[i]].logprob for i in places),), cached=_cached(output))


def _read_text(asked: Ask, output: Any) -> Told:
    (said,) = output.outputs
    tokens = tuple(said.token_ids)
    logprobs = tuple(entry[t].logprob for entry, t in zip(said.logprobs, tokens, strict=True))
    return Told(logprobs, tokens, said.finish_reason == "stop", cached=_cached(output))


def _read_logits(asked: Ask, output: Any) -> Told:
    return Told(tuple(output.outputs.data.float().reshape(-1).tolist()), cached=_cached(output))


def _read_vectors(asked: Ask, output: Any) -> Told:
    states = output.outputs.data.float().cpu().numpy()
    whole = slice(None)
    part = {"tokens": whole, "mean": whole, "last": slice(-1, None), "cls": slice(1)}[asked.pooling]
    pooled = states[part]
    if asked.pooling == "mean":
        pooled = pooled.mean(axis=0, keepdims=True)
    return Told((float(pooled.sum()),), vectors=pooled, cached=_cached(output))


def _cached(output: Any) -> int:
    return int(output.num_cached_tokens or 0)


_READERS: Mapping[Kind, Callable[[Ask, Any], Told]] = {
    "labels": _read_labels,
    "likelihood": _read_likelihood,
    "text": _read_text,
    "logits": _read_logits,
    "vectors": _read_vectors,
}
