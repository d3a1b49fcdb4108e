"""How a late-interaction checkpoint reads queries and documents, from the files it was saved with.

Two formats are known. pylate saves markers, lengths and skipped words in
`config_sentence_transformers.json`. ColBERT's own format has architecture `HF_ColBERT` and a file
`artifact.metadata`.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import EngineFault
from .checkpoint import Checkpoint
from .late import Side, plain
from .models import small_json
from .pairing import module_types

_QUERY_LENGTH = 32  # of both formats, where a checkpoint does not say


def sides_of(checkpoint: Checkpoint) -> tuple[Side, Side]:
    """Return how a checkpoint reads a query and a document.

    An encoder that nobody trained for late interaction has no markers. Raises EngineFault for a
    checkpoint that needs more than is known here.
    """
    if checkpoint.architecture == "HF_ColBERT":
        return _of_colbert(checkpoint)
    saved = small_json(checkpoint.place, "config_sentence_transformers.json") or {}
    kinds = module_types(checkpoint)
    if saved.get("model_type") == "ColBERT" or "query_prefix" in saved:
        return _of_pylate(checkpoint, saved)
    if "MultiVectorMask" in kinds or "Dense" in kinds:
        which = "MultiVectorMask" if "MultiVectorMask" in kinds else "Dense"
        raise EngineFault(
            f"model {checkpoint.name} has a module {which} and no settings of pylate, so how it "
            "reads queries and documents is not known"
        )
    side = plain(checkpoint.tokens)
    return side, side


def is_plain(checkpoint: Checkpoint) -> bool:
    """Whether the last hidden states of the text's own tokens are all that is scored."""
    side = plain(checkpoint.tokens)
    return sides_of(checkpoint) == (side, side)


def _of_pylate(checkpoint: Checkpoint, saved: Mapping[str, Any]) -> tuple[Side, Side]:
    if saved.get("default_prompt_name"):
        raise EngineFault(
            f"model {checkpoint.name} puts the prompt {saved['default_prompt_name']!r} before its "
            "texts, which late interaction does not"
        )
    words = saved.get("skiplist_words")
    skipped = _known(checkpoint, string.punctuation if words is None else words)
    return _sides(
        checkpoint,
        markers=(saved.get("query_prefix", "[Q] "), saved.get("document_prefix", "[D] ")),
        length=saved.get("query_length") or _QUERY_LENGTH,
        expand=saved.get("do_query_expansion") is not False,
        seen=bool(saved.get("attend_to_expansion_tokens")),
        skipped=skipped,
    )


def _of_colbert(checkpoint: Checkpoint) -> tuple[Side, Side]:
    saved = small_json(checkpoint.place, "artifact.metadata") or {}
    if saved.get("similarity", "cosine") != "cosine":
        raise EngineFault(f"model {checkpoint.name} scores by {saved['similarity']}, not by cosine")
    # ColBERT skips the first token of each symbol as a word of its own, whatever it is.
    symbols = checkpoint.tokens.encode(list(string.punctuation))
    skipped = frozenset(ids[0] for ids in symbols if ids)
    markers = saved.get("query_token_id"), saved.get("doc_token_id")
    return _sides(
        checkpoint,
        markers=(markers[0] or "[unused0]", markers[1] or "[unused1]"),
        length=saved.get("query_maxlen") or _QUERY_LENGTH,
        expand=True,
        seen=bool(saved.get("attend_to_mask_tokens")),
        skipped=skipped if saved.get("mask_punctuation", True) else frozenset(),
    )


def _sides(
    checkpoint: Checkpoint,
    *,
    markers: tuple[str, str],
    length: int,
    expand: bool,
    seen: bool,
    skipped: frozenset[int],
) -> tuple[Side, Side]:
    """Return both sides; a query is filled up to `length` tokens, a document loses `skipped`."""
    query, document = (_marked(checkpoint, marker) for marker in markers)
    if expand:
        query = replace(query, fill=_fill(checkpoint), length=length, seen=seen)
    return query, replace(document, skipped=skipped)


def _marked(checkpoint: Checkpoint, marker: str) -> Side:
    """Return the side whose texts have `marker` behind the tokenizer's first token."""
    frame = checkpoint.tokens.single
    if not marker:
        return Side(frame, framed=True)
    found = _id(checkpoint, marker)
    if found is None or not frame.before:
        what = "no token before a text" if found is not None else f"no token {marker!r}"
        raise EngineFault(f"model {checkpoint.name} has {what}: its marker cannot be placed")
    first, *others = frame.before
    return Side(replace(frame, before=(first, found, *others)), framed=True)


def _id(checkpoint: Checkpoint, token: str) -> int | None:
    """Return the id of a token, None for what is not in the vocabulary."""
    found: int | None = checkpoint.tokenizer.get_vocab().get(token)
    return found


def _known(checkpoint: Checkpoint, words: Iterable[str]) -> frozenset[int]:
    """Return the ids of words that are a token; others are in no text."""
    vocabulary = checkpoint.tokenizer.get_vocab()
    return frozenset(vocabulary[word] for word in words if word in vocabulary)


def _fill(checkpoint: Checkpoint) -> int:
    """Return the token that fills queries up: the mask, or the end token of a decoder."""
    tokenizer = checkpoint.tokenizer
    for found in (tokenizer.mask_token_id, tokenizer.eos_token_id):
        if found is not None:
            return int(found)
    raise EngineFault(f"model {checkpoint.name} has no mask token to fill its queries up with")
