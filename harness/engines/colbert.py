"""How a late-interaction checkpoint reads queries and documents, from the files it was saved with.

Two formats are known. pylate saves markers, lengths and skipped words in
`config_sentence_transformers.json`. ColBERT's own format has architecture `HF_ColBERT` and a file
`artifact.metadata`.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import EngineFault
from .checkpoint import Checkpoint
from .late import Side, plain
from .models import read_json
from .pairing import module_types

_QUERY_LENGTH = 32  # of both formats, where a checkpoint does not say


def sides_of(checkpoint: Checkpoint) -> tuple[Side, Side]:
    """Return how a checkpoint reads a query and a document.

    An encoder that nobody trained for late interaction has no markers. Raises EngineFault for a
    checkpoint that needs more than is known here.
    """
    if checkpoint.architecture == "HF_ColBERT":
        return _of_colbert(checkpoint)
    saved = checkpoint.saved
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
    skipped = _skipped(checkpoint, string.punctuation if words is None else words)
    prefixes = saved.get("query_prefix", "[Q] "), saved.get("document_prefix", "[D] ")
    return _sides(
        checkpoint,
        markers=tuple(_prefix(checkpoint, prefix) for prefix in prefixes),
        length=saved.get("query_length") or _QUERY_LENGTH,
        expand=saved.get("do_query_expansion") is not False,
        seen=bool(saved.get("attend_to_expansion_tokens")),
        skipped=skipped,
    )


def _of_colbert(checkpoint: Checkpoint) -> tuple[Side, Side]:
    saved = read_json(checkpoint.place, "artifact.metadata") or {}
    if saved.get("similarity", "cosine") != "cosine":
        raise EngineFault(f"model {checkpoint.name} scores by {saved['similarity']}, not by cosine")
    # ColBERT skips the first token of each symbol as a word of its own, whatever it is.
    symbols = checkpoint.tokens.encode(list(string.punctuation))
    skipped = frozenset(ids[0] for ids in symbols if ids)
    markers = saved.get("query_token_id") or "[unused0]", saved.get("doc_token_id") or "[unused1]"
    return _sides(
        checkpoint,
        markers=tuple(_marker(checkpoint, marker) for marker in markers),
        length=saved.get("query_maxlen") or _QUERY_LENGTH,
        expand=True,
        seen=bool(saved.get("attend_to_mask_tokens")),
        skipped=skipped if saved.get("mask_punctuation", True) else frozenset(),
    )


def _sides(
    checkpoint: Checkpoint,
    *,
    markers: Sequence[int | None],
    length: int,
    expand: bool,
    seen: bool,
    skipped: frozenset[int],
) -> tuple[Side, Side]:
    """Return both sides; a query is filled up to `length` tokens, a document loses `skipped`.

    markers: token ids, of a query and of a document.
    """
    query, document = (_marked(checkpoint, marker) for marker in markers)
    if expand:
        query = replace(query, fill=_fill(checkpoint), length=length, seen=seen)
    return query, replace(document, skipped=skipped)


def _marked(checkpoint: Checkpoint, marker: int | None) -> Side:
    """Return the side whose texts have `marker` after the tokenizer's first token."""
    frame = checkpoint.tokens.single
    if marker is None:
        return Side(frame, framed=True)
    if not frame.before:
        raise EngineFault(
            f"model {checkpoint.name} has no token before a text: its marker cannot be placed"
        )
    first, *others = frame.before
    return Side(replace(frame, before=(first, marker, *others)), framed=True)


def _prefix(checkpoint: Checkpoint, prefix: str) -> int | None:
    """Return the id of a marker of pylate, None for an empty one."""
    if prefix and prefix not in checkpoint.tokenizer.get_vocab():
        raise EngineFault(
            f"model {checkpoint.name} has no token {prefix!r}: its marker cannot be placed, since "
            "pylate would read a new random vector for it; save the model with pylate"
        )
    return _id(checkpoint, prefix) if prefix else None


def _marker(checkpoint: Checkpoint, marker: str) -> int:
    """Return the id of a marker of ColBERT, which may be that of the unknown token (XLM-R)."""
    found = _id(checkpoint, marker)
    if found is None:
        raise EngineFault(
            f"model {checkpoint.name} has no token {marker!r}: its marker cannot be placed"
        )
    return found


def _skipped(checkpoint: Checkpoint, words: Iterable[str]) -> frozenset[int]:
    """Return the ids of words; for one that is not a token pylate skips the unknown token."""
    found = (_id(checkpoint, word) for word in words)
    return frozenset(token for token in found if token is not None)


def _id(checkpoint: Checkpoint, token: str) -> int | None:
    """Return the id of a token, that of the unknown token for others, None if there is none."""
    found: int | None = checkpoint.tokenizer.convert_tokens_to_ids(token)
    return found


def _fill(checkpoint: Checkpoint) -> int:
    """Return the token that fills queries up: the mask, or the end token of a decoder."""
    tokenizer = checkpoint.tokenizer
    for found in (tokenizer.mask_token_id, tokenizer.eos_token_id):
        if found is not None:
            return int(found)
    raise EngineFault(f"model {checkpoint.name} has no mask token to fill its queries up with")
