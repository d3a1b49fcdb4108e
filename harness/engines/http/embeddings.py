"""Vectors from `/v1/embeddings`, with prompts as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import EngineFault
from ...types import Embed
from ..checkpoint import Checkpoint
from ..pairing import module_types
from ..pooling import pooled_vector, saved_pooling, server_pooling
from ..prepare import Prepared
from .responses import Call, Replies, in_order, number, usage

if TYPE_CHECKING:
    from . import HttpOptions

EMBEDDINGS = "/v1/embeddings"


def embeddings(batch: Sequence[Prepared]) -> Call:
    """Post prompts as token ids; whether the server scales its vectors does not matter here."""

    def read(payload: Any) -> Replies:
        entries = in_order(payload["data"], batch)
        sent, counted = sum(len(one.ids) for one in batch), usage(payload, "prompt_tokens")
        if counted not in (0, sent):
            raise EngineFault(
                f"the server read {counted} tokens of {sent} that were sent for vectors: it must "
                "neither cut prompts nor add to them"
            )
        vectors = [[number(value) for value in entry["embedding"]] for entry in entries]
        return [pooled_vector(one, row) for one, row in zip(batch, vectors, strict=True)]

    body = {"input": [list(one.ids) for one in batch], "encoding_format": "float"}
    return Call(EMBEDDINGS, body, read)


def require_pooling(request: Embed, checkpoint: Checkpoint, options: HttpOptions) -> None:
    """Refuse vectors that the servers pool in another way than is asked for.

    No server reports how it pools: the option `server_pooling` says what it was told.
    """
    if not request.normalise:
        raise EngineFault("vectors of their own length: use --engine transformers or vllm")
    asked = server_pooling(request, checkpoint)
    served = options.server_pooling or _usual_pooling(checkpoint, vllm=options.dialect == "vllm")
    if asked != served:
        told = f"pools as {served}" if served else "does not say how it pools"
        raise EngineFault(
            f"pooling {asked} is asked for, and the server {told}: start vLLM with --pooler-config "
            f'\'{{"seq_pooling_type": "{asked.upper()}"}}\' and state it: '
            f"-o server_pooling={asked}"
        )


def _usual_pooling(checkpoint: Checkpoint, *, vllm: bool) -> str | None:
    """Return how a server pools that was told nothing; None where that is not known.

    It does as the checkpoint was saved; where that does not say, vLLM takes a decoder's last token.
    """
    if module_types(checkpoint):
        return saved_pooling(checkpoint)
    return "last" if vllm and checkpoint.decoder else None
