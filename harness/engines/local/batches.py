"""Forward passes of a bounded number of padded tokens, which shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...types import Failure
from ..checkpoint import Checkpoint
from ..prepare import Answer, Answered, Prepared

Forward = Callable[[Sequence[Prepared]], Sequence[Answer]]
"""One forward pass: a batch of sequences to their answers, in order."""

_KEPT = 8
"""Positions whose keys and values are kept that take about the memory of a computed one."""


class Batcher:
    """Runs sequences in batches of at most `budget` computed positions, longest first.

    Longest first, the first batch is the greediest, so memory runs out early or never; when it
    does, the budget becomes half of what did not fit, for good, and the rest goes on.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.positions = 0
        self.tokens = 0

    @property
    def waste(self) -> float:
        """Share of padding in all positions computed so far, from 0 to 1."""
        return 1 - self.tokens / self.positions if self.positions else 0.0

    def run(
        self, sequences: Iterable[Prepared], forward: Forward, *, shared: int = 0
    ) -> Iterator[Answered]:
        """Yield (index, answer) batch by batch; a sequence too big on its own is a Failure.

        shared: how many first tokens of all sequences `forward` computes only once and keeps.
        """
        waiting = sorted(sequences, key=lambda one: one.room)  # the longest is popped first
        self.tokens += shared
        self.positions += shared
        while waiting:
            batch = self._take(waiting, shared)
            answers = _attempt(forward, batch)
            if answers is None:
                answers = self._shrink(batch, waiting, shared)
            else:
                self.tokens += sum(one.room - shared for one in batch)
                self.positions += (batch[0].room - shared) * len(batch)
            yield from zip((one.index for one in batch), answers, strict=False)

    def _take(self, waiting: list[Prepared], shared: int) -> list[Prepared]:
        size = max(self.budget // _cost(waiting[-1], shared), 1)
        return [waiting.pop() for _ in range(min(size, len(waiting)))]

    def _shrink(self, batch: list[Prepared], waiting: list[Prepared], shared: int) -> list[Answer]:
        if len(batch) == 1:
            reason = f"out of memory on one sequence of {batch[0].room} tokens"
            return [Failure(f"{reason}: lower max_doc_tokens, max_query_tokens or window")]
        self.budget = _cost(batch[0], shared) * (len(batch) // 2)
        waiting.extend(reversed(batch))
        return []


def _cost(one: Prepared, shared: int) -> int:
    """Return what a row takes of the budget, in computed positions."""
    return max(one.room - shared + shared // _KEPT, 1)


def _attempt(forward: Forward, batch: Sequence[Prepared]) -> Sequence[Answer] | None:
    """Return the answers, or None if memory ran out; the error refers to the tensors: drop it."""
    try:
        with torch.inference_mode():
            return forward(batch)
    except torch.OutOfMemoryError:
        pass
    except RuntimeError as error:
        # The CPU allocator has no error class of its own.
        if "can't allocate memory" not in str(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """A batch as tensors of shape (rows, longest): ids, mask, positions, segment ids.

    cache: keys and values of tokens before the ids; the mask then begins with theirs.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    types: torch.Tensor | None
    cache: Any = None


def pad(batch: Sequence[Prepared], checkpoint: Checkpoint) -> PaddedBatch:
    """Pad to the longest sequence, on the left for decoders, and move it to the model's device.

    The mask comes from lengths, never from ids: many tokenizers pad with their end token.
    Positions count a row's own tokens, so a reply does not depend on its neighbours. What a row has
    after its text that no token attends to counts as a token, and is masked.
    """
    width = max(len(one.ids) for one in batch)
    shape = (len(batch), width)
    ids, mask = torch.full(shape, checkpoint.tokens.pad_id), torch.zeros(shape, dtype=torch.long)
    typed = batch[0].types is not None
    types = torch.zeros(shape, dtype=torch.long) if typed else None
    for row, one in enumerate(batch):
        at = slice(width - len(one.ids), width) if checkpoint.decoder else slice(0, len(one.ids))
        ids[row, at] = torch.tensor(one.ids, dtype=torch.long)
        mask[row, at] = 1
        if types is not None:
            types[row, at] = torch.tensor(one.types, dtype=torch.long)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    for row, one in enumerate(batch):
        end = width if checkpoint.decoder else len(one.ids)
        mask[row, end - one.unseen : end] = 0
    device = checkpoint.device
    ids, mask, positions = (x.to(device) for x in (ids, mask, positions))
    return PaddedBatch(ids, mask, positions, None if types is None else types.to(device))
