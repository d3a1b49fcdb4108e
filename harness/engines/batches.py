"""Forward passes of a bounded number of padded tokens, which shrink when memory runs out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..types import Failure, Reply

if TYPE_CHECKING:
    import torch

Answer = Reply | Failure


@dataclass(frozen=True, slots=True)
class Work:
    """One sequence on its way to the model. `room` is the number of positions it may come to take.

    index: the request it answers. types: segment ids where a tokenizer makes some.
    """

    index: int
    ids: Sequence[int]
    room: int
    types: Sequence[int] | None = None
    request: Any = None


class Batcher:
    """Runs work in batches of at most `budget` padded tokens, longest first.

    Longest first, the first batch is the greediest, so memory runs out early or never; when it
    does, the budget becomes half of what did not fit, for good, and the work goes on.
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
        self, works: Iterable[Work], forward: Callable[[Sequence[Work]], Sequence[Answer]]
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (index, answer) batch by batch; a sequence too big on its own is a Failure."""
        waiting = sorted(works, key=lambda work: work.room)  # the longest is popped first
        while waiting:
            batch = self._take(waiting)
            answers = _attempt(forward, batch)
            if answers is None:
                answers = self._shrink(batch, waiting)
            else:
                self._count(batch)
            yield from zip((work.index for work in batch), answers, strict=False)

    def _take(self, waiting: list[Work]) -> list[Work]:
        size = max(self.budget // max(waiting[-1].room, 1), 1)
        return [waiting.pop() for _ in range(min(size, len(waiting)))]

    def _shrink(self, batch: list[Work], waiting: list[Work]) -> list[Answer]:
        if len(batch) == 1:
            reason = f"out of memory on one sequence of {batch[0].room} tokens"
            return [Failure(f"{reason}: lower max_doc_tokens, max_query_tokens or window")]
        self.budget = batch[0].room * (len(batch) // 2)
        waiting.extend(reversed(batch))
        return []

    def _count(self, batch: list[Work]) -> None:
        self.tokens += sum(work.room for work in batch)
        self.positions += batch[0].room * len(batch)


def _attempt(
    forward: Callable[[Sequence[Work]], Sequence[Answer]], batch: Sequence[Work]
) -> Sequence[Answer] | None:
    """The answers, or None when memory ran out. The error is dropped: it holds the tensors."""
    import torch

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
class Padded:
    """A batch as tensors of shape (rows, longest): ids, mask, positions, segment ids."""

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    types: torch.Tensor | None


def pad(batch: Sequence[Work], *, left: bool, device: str, pad_id: int) -> Padded:
    """Pad to the longest sequence, on the left for decoders.

    The mask comes from lengths, never from ids: many tokenizers pad with their end token.
    Positions count a row's own tokens, so a reply does not depend on its neighbours.
    """
    import torch

    width = max(len(work.ids) for work in batch)
    shape = (len(batch), width)
    ids, mask = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.long)
    typed = batch[0].types is not None
    types = torch.zeros(shape, dtype=torch.long) if typed else None
    for row, work in enumerate(batch):
        at = slice(width - len(work.ids), width) if left else slice(0, len(work.ids))
        ids[row, at] = torch.tensor(work.ids, dtype=torch.long)
        mask[row, at] = 1
        if types is not None:
            types[row, at] = torch.tensor(work.types, dtype=torch.long)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    moved = [x if x is None else x.to(device) for x in (ids, mask, positions, types)]
    return Padded(*moved)  # type: ignore[arg-type]  # only types may be None


def too_long(tokens: int, context: int, *, lower: str) -> Failure | None:
    """The failure for `tokens` that exceed the model's context; it names what to lower."""
    if tokens <= context:
        return None
    return Failure(f"{tokens} tokens exceed the model's context of {context}: lower {lower}")


def sound(values: Iterable[float], answer: Reply) -> Answer:
    """`answer`, or the failure for a value that is no number."""
    if all(map(math.isfinite, values)):
        return answer
    return Failure("the model answered NaN or infinity; if its dtype is float16, try bfloat16")
