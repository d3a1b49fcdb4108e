"""Text from a language model, token by token, many prompts at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...types import Failure, Generate, Generation
from ..prepare import Answer, Prepared, seed_of
from ..tokens import Tokens
from .batches import pad
from .language import LanguageModel

if TYPE_CHECKING:
    import torch

_NOT_A_NUMBER = "the model answered NaN or infinity; if its dtype is float16, try bfloat16"
NO_PATTERN = "the transformers engine cannot force a pattern; leave it out or use engine vllm"


@dataclass
class Row:
    """One text being written: its ids so far, their log-probabilities, and how it ended."""

    request: Generate
    prompt_tokens: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False
    generator: torch.Generator | None = None

    @property
    def done(self) -> bool:
        """Whether it ended by itself or has used up its tokens."""
        return self.finished or len(self.ids) >= self.request.max_tokens


@dataclass
class _State:
    """What the next forward pass reads: new ids, the mask over all positions, and the cache."""

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    cache: Any = None

    def advance(self, tokens: list[int], keep: list[int]) -> None:
        """Drop the rows that are done and append `tokens` to those in `keep`."""
        import torch

        if not keep:
            return
        if len(keep) < len(self.mask):
            chosen = torch.tensor(keep, device=self.mask.device)
            self.cache.batch_select_indices(chosen)
            self.mask, self.positions = self.mask[chosen], self.positions[chosen]
        self.ids = torch.tensor(tokens, device=self.mask.device)[:, None]
        self.mask = torch.nn.functional.pad(self.mask, (0, 1), value=1)
        self.positions = self.positions[:, -1:] + 1


class Writer:
    """Answers `Generate`.

    Greedy at temperature 0, ties to the lower id. Otherwise each request draws from a generator of
    its own, seeded with the request, so neither its neighbours nor its place in a batch matter.
    Of the checkpoint's generation config only the end tokens are used: no penalties, no sampling
    defaults. The end token is among `tokens` and counted, but not in `text`; `text` ends before the
    first stop string and holds no special token. `logprobs` are taken at temperature 1.
    """

    def __init__(self, language: LanguageModel, tokens: Tokens, ends: frozenset[int]) -> None:
        self._language, self._tokens, self._ends = language, tokens, ends

    def answer(self, batch: Sequence[Prepared]) -> list[Answer]:
        """Write all texts of a batch."""
        rows = [_row(one) for one in batch]
        padded = pad(batch, left=True, device=self._language.device, pad_id=self._language.pad_id)
        state = _State(padded.ids, padded.mask, padded.positions)
        going = rows
        while any(not row.done for row in going):
            logits, state.cache = self._language.step(
                state.ids, state.mask, state.positions, keep=1, use_cache=True,
                past_key_values=state.cache,
            )  # fmt: skip
            last = logits[:, -1].float()
            if not bool(last.amax(-1).isfinite().all()):
                return [Failure(_NOT_A_NUMBER)] * len(batch)
            self._extend(going, last)
            keep = [number for number, row in enumerate(going) if not row.done]
            state.advance([row.ids[-1] for row in going if not row.done], keep)
            going = [going[number] for number in keep]
        return [self._finish(row) for row in rows]

    def _extend(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Give each row its next token."""
        logprobs = logits.log_softmax(-1)
        best = logits.argmax(-1).tolist()
        for number, row in enumerate(rows):
            if row.done:
                continue
            token = best[number] if row.generator is None else _draw(logits[number], row)
            row.ids.append(token)
            row.logprobs.append(float(logprobs[number, token]))
            row.finished = token in self._ends or self._stopped(row)

    def _stopped(self, row: Row) -> bool:
        stop = row.request.stop
        if not stop:
            return False
        # A token holds at least one byte of text, so this many of the last tokens will do.
        tail = row.ids[-max(len(s.encode()) for s in stop) - 8 :]
        text = self._tokens.tokenizer.decode(tail, skip_special_tokens=True)
        return any(s in text for s in stop)

    def _finish(self, row: Row) -> Generation:
        return Generation(
            self._tokens.text(row.ids, stop=row.request.stop),
            finished=row.finished,
            tokens=tuple(row.ids),
            logprobs=tuple(row.logprobs),
            prompt_tokens=row.prompt_tokens,
            output_tokens=len(row.ids),
        )


def _row(one: Prepared) -> Row:
    import torch

    row = Row(one.request, len(one.ids))
    if (seed := seed_of(one.request)) is not None:
        row.generator = torch.Generator().manual_seed(seed)
    return row


def _draw(logits: torch.Tensor, row: Row) -> int:
    """Sample one token from the smallest set that holds `top_p` of the probability."""
    import torch

    probabilities = (logits / row.request.temperature).softmax(-1).cpu()
    ordered, ids = probabilities.sort(descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    ordered[before >= row.request.top_p] = 0.0
    ordered[0] = max(float(ordered[0]), 1e-9)  # top_p = 0 still leaves the best
    drawn = torch.multinomial(ordered, 1, generator=row.generator)
    return int(ids[drawn])
