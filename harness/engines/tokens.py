"""Texts, prompts and labels as token ids; the one place that truncates. Needs no torch."""

from __future__ import annotations

import functools
import itertools
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import EngineFault
from ..types import Fitted, Label, Prompt
from .chat import ChatTemplate
from .lru import LruCache

_CONTEXT_CHARACTERS = 64
_LABELS_REMEMBERED = 100_000
_KEPT_BYTES = 64 * 2**20
_ENTRY_BYTES = 250  # of a text and its ids, beside their content


@dataclass(frozen=True)
class Frame:
    """What a tokenizer puts around one text or between two: ids, and segment ids if it makes any.

    A sequence is `before + text + between + text + after`; for a single text `between` is empty.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[tuple[int, ...], int, tuple[int, ...], int, tuple[int, ...]] | None = None

    @property
    def size(self) -> int:
        """Number of tokens that the frame itself takes."""
        return len(self.before) + len(self.between) + len(self.after)

    def around(self, first: Sequence[int], second: Sequence[int] = ()) -> list[int]:
        """Return the ids of the whole sequence."""
        return [*self.before, *first, *self.between, *second, *self.after]

    def segments(self, first: Sequence[int], second: Sequence[int] = ()) -> list[int] | None:
        """Return the segment ids of the whole sequence, None where the tokenizer makes none."""
        if self.types is None:
            return None
        before, one, between, two, after = self.types
        return [*before, *[one] * len(first), *between, *[two] * len(second), *after]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as the model reads it.

    text: the string that was tokenised last: all of the prompt, or what follows its last joint.
    ids: token ids of the whole prompt.
    open_block: the marker of a think block that the prompt leaves open, else None.
    lead: what the chat template puts between the prompt and an answer, such as a space.
    """

    text: str
    ids: list[int]
    open_block: str | None = None
    lead: str = ""


class Tokens:
    """A model's own fast tokenizer, asked in the few ways an engine needs."""

    def __init__(self, tokenizer: Any, *, name: str) -> None:
        self.tokenizer = tokenizer
        self.name = name
        self._chat = ChatTemplate(tokenizer, name=name)
        self._backend = tokenizer.backend_tokenizer
        # Whatever tokenizer.json says, nothing is cut or padded behind our back.
        self._backend.no_truncation()
        self._backend.no_padding()
        self._label_ids: dict[tuple[str, str], int] = {}
        self._pieces: dict[int, str] = {}
        self._kept: LruCache[str, Sequence[int]] = LruCache(_KEPT_BYTES)

    @property
    def pad_id(self) -> int:
        """An id to fill up with; what it is does not matter, as it is always masked."""
        return int(self.tokenizer.pad_token_id or 0)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with special tokens parsed and none added."""
        found = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def encode_kept(self, texts: Iterable[str]) -> dict[str, Sequence[int]]:
        """Token ids by text, as `encode` returns them; those of texts read lately are kept."""
        distinct = dict.fromkeys(texts)
        known = {text: self._kept.get(text) for text in distinct if text in self._kept}
        new = [text for text in distinct if text not in known]
        for text, ids in zip(new, self.encode(new), strict=True):
            known[text] = self._keep(text, ids)
        return known

    def _keep(self, text: str, ids: Sequence[int]) -> Sequence[int]:
        packed = array("I", ids)
        self._kept.put(text, packed, 4 * (len(text) + len(packed)) + _ENTRY_BYTES)
        return packed

    def forget(self) -> None:
        """Drop the kept ids."""
        self._kept = LruCache(_KEPT_BYTES)

    def text(self, ids: Sequence[int], *, stop: Sequence[str] = ()) -> str:
        """What generated `ids` say before the first stop string, special tokens left out."""
        whole = str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
        places = [whole.find(s) for s in stop if s in whole]
        return whole[: min(places)] if places else whole

    def pieces(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return the text of each token; special tokens have none."""
        for i in set(ids) - self._pieces.keys():
            self._pieces[i] = str(self.tokenizer.decode([i], skip_special_tokens=True))
        return tuple(self._pieces[i] for i in ids)

    # Fitting

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Make special tokens harmless, then cut each text to `max_tokens` at a token's end."""
        clean = [self.neutralise(text) for text in texts]
        if max_tokens is None:
            return [Fitted(text, neutralised=count) for text, count in clean]
        encodings = self._backend.encode_batch([t for t, _ in clean], add_special_tokens=False)
        return [
            Fitted(cut, len(cut) < len(text), count, tokens)
            for (text, count), encoding in zip(clean, encodings, strict=True)
            for cut, tokens in (self._cut(text, encoding, max_tokens),)
        ]

    def _cut(self, text: str, encoding: Any, max_tokens: int) -> tuple[str, int]:
        """Return what is left of a text, and how many tokens that is; their ids are kept."""
        # Encoded anew, a cut text may need more tokens than it had as a part: count again.
        max_tokens = keep = max(max_tokens, 0)
        while len(encoding) > max_tokens:
            text = text[: encoding.offsets[keep - 1][1]] if keep > 0 else ""
            encoding = self._backend.encode(text, add_special_tokens=False)
            keep -= 1
        return text, len(self._keep(text, encoding.ids))

    def neutralise(self, text: str) -> tuple[str, int]:
        """Break up special tokens in `text` with a space; return it and how many there were.

        Inserting never makes a new one, as deleting would (`<|im_<|im_end|>end|>`). All added
        tokens count, not only those flagged special, but for those of mere white space.
        """
        total, found = 0, 1
        while self._special is not None and found:
            text, found = self._special.subn(_broken, text)
            total += found
        return text, total

    @functools.cached_property
    def _special(self) -> re.Pattern[str] | None:
        added = {str(token) for token in self.tokenizer.added_tokens_decoder.values()}
        longest_first = sorted((t for t in added if t.strip()), key=lambda t: (-len(t), t))
        return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    # Prompts

    def render(self, prompt: Prompt) -> str:
        """Return the prompt as one string; see `ChatTemplate.render`."""
        return self._chat.render(prompt)

    def templated(self, prompt: Prompt) -> bool:
        """Return whether a chat template writes the prompt, with its own special tokens."""
        return self._chat.renders(prompt)

    def prompts(self, prompts: Sequence[Prompt], *, closed: bool = False) -> list[Rendered]:
        """Render and encode. What no chat template wrote gets the tokenizer's own BOS token, once.

        `closed` adds what the tokenizer puts behind a text as well, such as `[SEP]`: right for a
        finished sequence, wrong where the model is to go on.
        """
        parts = [_split(self.render(prompt), prompt.joints) for prompt in prompts]
        encoded = iter(self.encode([part for several in parts for part in several]))
        ids = [[i for _ in several for i in next(encoded)] for several in parts]
        return [
            self._rendered(prompt, several[-1], own, closed=closed)
            for prompt, several, own in zip(prompts, parts, ids, strict=True)
        ]

    def _rendered(self, prompt: Prompt, text: str, ids: list[int], *, closed: bool) -> Rendered:
        marker = self._chat.open_block(prompt, text)
        if not self._chat.renders(prompt):
            return Rendered(text, self.framed(ids, closed=closed), marker)
        # a template writes its own special tokens, and an answer that has begun has its lead
        return Rendered(text, ids, marker, "" if prompt.prefill else self._chat.answer_lead)

    def framed(self, ids: list[int], *, closed: bool) -> list[int]:
        """Return `ids` behind the tokenizer's own first tokens, and if `closed` its last, once."""
        before, after = self.single.before, self.single.after if closed else ()
        doubled = tuple(ids[: len(before)]) == before
        ended = bool(after) and tuple(ids[-len(after) :]) == after
        return [*(() if doubled else before), *ids, *(() if ended else after)]

    # Labels

    def special_id(self, token: str) -> int:
        """Return the id of a special token; raise EngineFault for what is none."""
        for known, added in self.tokenizer.added_tokens_decoder.items():
            if str(added) == token:
                return int(known)
        raise EngineFault(f"model {self.name} has no special token {token}: it was not trained so")

    def label_id(self, label: Label, *, after: str, lead: str = "") -> int:
        """Return the token id of `label` behind the rendered prompt `after`.

        lead: white space with which the model begins its answers. Raises EngineFault for a label
        that is not one token there, or an id outside the vocabulary.
        """
        if isinstance(label, int):
            if 0 <= label < len(self.tokenizer):
                return label
            raise EngineFault(f"label {label} is no token id of {self.name}")
        context = after[-_CONTEXT_CHARACTERS:]
        key = (context, lead + label)
        if len(self._label_ids) > _LABELS_REMEMBERED:
            self._label_ids.clear()
        if key not in self._label_ids:
            self._label_ids[key] = self._one_token(*key)
        return self._label_ids[key]

    def _one_token(self, context: str, label: str) -> int:
        before, whole = self.encode([context, context + label])
        if whole[:-1] == before:
            return whole[-1]
        where = f"after the prompt's end {context[-20:]!r} of {self.name}"
        if whole[: len(before)] != before:
            raise EngineFault(
                f"label {label!r} merges with the text before it {where}; move a space at the "
                "prompt's end into the label, or give a token id"
            )
        tokens = self.tokenizer.convert_ids_to_tokens(whole[len(before) :])
        raise EngineFault(
            f"label {label!r} is {len(tokens)} tokens {tokens} {where}; a label must be one"
        )

    # Frames

    @functools.cached_property
    def single(self) -> Frame:
        """What the tokenizer puts around one text."""
        return self._frame(self.tokenizer("a"))

    @property
    def leading(self) -> int:
        """Number of tokens that the tokenizer puts before a text."""
        return len(self.single.before)

    @functools.cached_property
    def pair(self) -> Frame:
        """What the tokenizer puts around and between two texts."""
        return self._frame(self.tokenizer("a", "b"))

    def _frame(self, probe: Any) -> Frame:
        """Read the frame off an example: the ids that belong to neither text."""
        owners = probe.sequence_ids(0)
        second = 1 if 1 in owners else 0
        starts = owners.index(0), owners.index(second)
        stops = tuple(len(owners) - owners[::-1].index(s) for s in (0, second))
        gap = slice(stops[0], starts[1]) if second else slice(0, 0)
        parts = (slice(starts[0]), gap, slice(stops[1], None))
        ids, types = probe["input_ids"], probe.get("token_type_ids")
        before, between, after = (tuple(ids[part]) for part in parts)
        if types is None:
            return Frame(before, between, after)
        outer = [tuple(types[part]) for part in parts]
        kinds = (outer[0], types[starts[0]], outer[1], types[starts[1]], outer[2])
        return Frame(before, between, after, kinds)


def _split(text: str, joints: Sequence[int]) -> list[str]:
    """Split a text at the offsets `joints`, in ascending order."""
    edges = [0, *joints, len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def _broken(match: re.Match[str]) -> str:
    """Put a space behind the first visible character; a token of one character becomes a space."""
    token = match.group()
    if len(token) == 1:
        return " "
    at = len(token) - len(token.lstrip()) + 1
    return f"{token[:at]} {token[at:]}" if at < len(token) else f"{token[:-1]} {token[-1]}"
