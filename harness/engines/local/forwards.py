"""What is loaded for each request type, and the function that answers a batch of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...types import Attend, Embed, Fuse, FuseScore, Generate, Likelihood, NextToken, PairScore
from ..late import Encode
from ..prepare import Answer, Prepared
from . import encoder_decoder
from .attention import attend
from .fusion import fuse, fuse_scores
from .generation import generate
from .language import likelihoods, next_tokens
from .loading import LoadedModel, Task
from .pairs import classify
from .vectors import embed, token_vectors

Forward = tuple[Task, Callable[[LoadedModel, Sequence[Prepared]], list[Answer]]]

FORWARDS: Mapping[type, Forward] = {
    NextToken: ("causal", next_tokens),
    Likelihood: ("causal", likelihoods),
    Generate: ("causal", generate),
    PairScore: ("classifier", classify),
    Encode: ("encoder", token_vectors),
    Embed: ("encoder", embed),
    Attend: ("causal", attend),
    Fuse: ("seq2seq", fuse),
    FuseScore: ("seq2seq", fuse_scores),
}

ENCODER_DECODER: Mapping[type, Forward] = {
    **FORWARDS,
    NextToken: ("seq2seq", encoder_decoder.next_tokens),
    Likelihood: ("seq2seq", encoder_decoder.likelihoods),
    Generate: ("seq2seq", encoder_decoder.generate),
}
"""The same for a model with an encoder and a decoder."""
