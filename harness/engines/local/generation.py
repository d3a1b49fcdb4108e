"""Text from a language model, token by token, many prompts at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from ...types import Failure, Generate, Generation
from ..checkpoint import Checkpoint
from ..prepare import NOT_FINITE, Answer, Prepared
from ..seeds import seed_of
from .batches import pad
from .language import forward
from .loading import LoadedModel

_NO_PATTERN = "the transformers engine cannot force a pattern; leave it out or use engine vllm"


class Steps(Protocol):
    """The rows of a batch that are being written, one token each at a time."""

    def logits(self) -> torch.Tensor:
        """Return the logits of the next token, float32, shape (rows, vocabulary)."""

    def advance(self, tokens: list[int], keep: list[int]) -> None:
        """Drop the rows that are done and append `tokens` to those in `keep`."""


@dataclass
class _Row:
    """One text: its ids so far, their log-probabilities, and whether it ended by itself.

    broken: its logits are not finite.
    """

    request: Generate
    prompt_tokens: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False
    broken: bool = False
    generator: torch.Generator | None = None

    @property
    def done(self) -> bool:
        """Whether no token follows: it ended, broke, has used up its tokens, or is refused."""
        return (
            self.finished
            or self.broken
            or len(self.ids) >= self.request.max_tokens
            or self.request.pattern is not None
        )


@dataclass
class _Causal:
    """What the next forward pass reads: new ids, the mask over all positions, and the cache."""

    network: Any
    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    cache: Any = None

    def logits(self) -> torch.Tensor:
        """Return the logits of the next token, float32, shape (rows, vocabulary)."""
        found, self.cache = forward(
            self.network, self.ids, self.mask, self.positions, keep=1, use_cache=True,
            past_key_values=self.cache,
        )  # fmt: skip
        return found[:, -1].float()

    def advance(self, tokens: list[int], keep: list[int]) -> None:
        """Drop the rows that are done and append `tokens` to those in `keep`."""
        self.mask, self.positions = select_rows(self.cache, keep, self.mask, self.positions)
        self.ids = torch.tensor(tokens, device=self.mask.device)[:, None]
        self.mask = torch.nn.functional.pad(self.mask, (0, 1), value=1)
        self.positions = self.positions[:, -1:] + 1


def select_rows(cache: Any, keep: Sequence[int], *parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the rows `keep` of each tensor, and drop the others from the cache too."""
    if len(keep) == len(parts[0]):
        return parts
    chosen = torch.tensor(keep, device=parts[0].device)
    cache.batch_select_indices(chosen)
    return tuple(part[chosen] for part in parts)


def generate(model: LoadedModel, batch: Sequence[Prepared]) -> list[Answer]:
    """Answer `Generate` with a causal model; see `decode`."""
    padded = pad(batch, model.checkpoint)
    causal = _Causal(model.network, padded.ids, padded.mask, padded.positions)
    return decode(causal, batch, model.checkpoint)


def decode(steps: Steps, batch: Sequence[Prepared], checkpoint: Checkpoint) -> list[Answer]:
    """Answer requests with texts that `steps` writes token by token.

    Greedy at temperature 0, ties to the lower id. Otherwise each request draws from a generator of
    its own, seeded with the request, so neither its neighbours nor its place in a batch matter.
    Of the checkpoint's generation config only the end tokens are used: no penalties, no sampling
    defaults. The end token is among `tokens` and counted, but not in `text`; `text` ends before the
    first stop string and holds no special token. `logprobs` are taken at temperature 1.
    """
    rows = [_row(one) for one in batch]
    going = rows
    while any(not row.done for row in going):
        last = steps.logits()
        sound = last.amax(-1).isfinite().tolist()
        for row, fine in zip(going, sound, strict=True):
            row.broken = not fine
        _extend(going, last, checkpoint)
        keep = [number for number, row in enumerate(going) if not row.done]
        going = [going[number] for number in keep]
        if going:
            steps.advance([row.ids[-1] for row in going], keep)
    return [_finish(row, checkpoint) for row in rows]


def _row(one: Prepared) -> _Row:
    row = _Row(one.request, one.read)
    if (seed := seed_of(one.request)) is not None:
        row.generator = torch.Generator().manual_seed(seed)
    return row


def _extend(rows: Sequence[_Row], logits: torch.Tensor, checkpoint: Checkpoint) -> None:
    """Give each row its next token."""
    logprobs = logits.log_softmax(-1)
    best = logits.argmax(-1).tolist()
    for number, row in enumerate(rows):
        if row.done:
            continue
        token = best[number] if row.generator is None else _draw(logits[number], row)
        row.ids.append(token)
        row.logprobs.append(float(logprobs[number, token]))
        row.finished = token in checkpoint.end_ids or _is_stopped(row, checkpoint.tokenizer)


def _is_stopped(row: _Row, tokenizer: Any) -> bool:
    stop = row.request.stop
    if not stop:
        return False
    # A token holds at least one byte of text, so this many of the last tokens will do.
    tail = row.ids[-max(len(s.encode()) for s in stop) - 8 :]
    text = tokenizer.decode(tail, skip_special_tokens=True)
    return any(s in text for s in stop)


def _draw(logits: torch.Tensor, row: _Row) -> int:
    """Sample one token from the smallest set that holds `top_p` of the probability."""
    probabilities = (logits / row.request.temperature).softmax(-1).cpu()
    ordered, ids = probabilities.sort(descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    ordered[before >= row.request.top_p] = 0.0
    ordered[0] = max(float(ordered[0]), 1e-9)  # top_p = 0 still leaves the best
    drawn = torch.multinomial(ordered, 1, generator=row.generator)
    return int(ids[drawn])


def _finish(row: _Row, checkpoint: Checkpoint) -> Answer:
    if row.request.pattern is not None:
        return Failure(_NO_PATTERN)
    if row.broken:
        return Failure(NOT_FINITE)
    return Generation(
        checkpoint.tokens.text(row.ids, stop=row.request.stop),
        finished=row.finished,
        tokens=tuple(row.ids),
        logprobs=tuple(row.logprobs),
        pieces=checkpoint.tokens.pieces(row.ids),
        prompt_tokens=row.prompt_tokens,
        output_tokens=len(row.ids),
    )
