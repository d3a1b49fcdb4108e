"""The keys and values of a prefix, computed once and put before those of each sequence.

A batch is laid out as without a prefix: each row is padded on the left only. A row that is shorter
than the longest reads the end of the prefix once more, where there would be padding. So distances
within a row, masks, sliding windows and ALiBi are those of a whole row.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from ...types import Failure
from ..prepare import Answered, Prepared
from .batches import Batcher, PaddedBatch, pad
from .sharing import Forward, group_by_prefix

if TYPE_CHECKING:
    from .loading import LoadedModel

LEAST_SHARE = 8
"""A group must save one part in this many of a batch, for a forward pass has costs of its own."""

_SCALED_BY_LENGTH = {"dynamic", "longrope"}


@dataclass
class Prefix:
    """Token ids that all sequences begin with; their keys and values are computed when needed."""

    ids: Sequence[int]
    layers: Sequence[Any] = field(default_factory=list)

    def before(self, network: Any, lengths: Sequence[int]) -> Any:
        """Return a cache that holds the first tokens of the prefix for each row, padded left.

        lengths: for each row, how many tokens of the prefix are put before it.
        """
        if not self.layers:
            self.layers = compute_prefix(network, self.ids).layers
        shown = _places(lengths, device=self.layers[0].keys.device)
        return Cache(layers=[_PrefixLayer(layer, shown) for layer in self.layers])


def compute_prefix(network: Any, ids: Sequence[int]) -> Any:
    """Return the cache with the keys and values of `ids`, all of them also in a sliding window."""
    cache, device = DynamicCache(), next(network.parameters()).device
    network.base_model(
        torch.tensor([list(ids)], device=device), past_key_values=cache, use_cache=True
    )
    return cache


def why_no_shared_prefix(network: Any) -> str | None:
    """Return why a prefix cannot be computed apart, None where it can.

    Known are the models in transformers whose layers keep keys and values and nothing else. The
    code of another model may take no cache, or one of its own. A model that cannot be probed is
    read whole, and the reason holds the error: a run must not end for what only saves time.
    """
    config, base = network.config.get_text_config(), network.base_model
    if not type(network).__module__.startswith("transformers."):
        return "the model's code is not that of transformers"
    if "past_key_values" not in inspect.signature(base.forward).parameters:
        return "the model takes no keys and values"
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    if network._is_stateful or not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return "the model has layers that keep something else than keys and values"
    if _rope_kinds(config) & _SCALED_BY_LENGTH:
        return "the model's positions depend on the length of the whole text"
    try:
        return None if _reads_alike(network) else "the model's tokens see later ones"
    except (RuntimeError, AttributeError, TypeError, ValueError, IndexError) as error:
        return f"the model cannot be asked so: {type(error).__name__}: {error}"


def _reads_alike(network: Any) -> bool:
    """Whether a text has the same last hidden state, but for rounding, if its prefix is read apart.

    Rounding stays below the square root of the dtype's precision, times the states' own deviation.
    """
    with torch.inference_mode():
        size = network.get_input_embeddings().num_embeddings
        ids = torch.arange(1, 25, device=next(network.parameters()).device)[None] % size
        whole = network.base_model(ids, use_cache=False).last_hidden_state[0, -1].float()
        cache = Prefix(ids[0, :16].tolist()).before(network, [16])
        apart = network.base_model(ids[:, 16:], past_key_values=cache, use_cache=True)
        off = (apart.last_hidden_state[0, -1].float() - whole).abs().mean()
    return bool(off < torch.finfo(network.dtype).eps ** 0.5 * whole.std())


def _rope_kinds(config: Any) -> set[str]:
    given = config.to_dict().get("rope_parameters") or {}
    parts = [part for part in (given, *given.values()) if isinstance(part, dict)]
    return {str(part.get("rope_type")) for part in parts}


def run_shared(
    model: LoadedModel, sequences: Sequence[Prepared], forward: Forward, batcher: Batcher
) -> Iterator[Answered]:
    """Run sequences in batches, group by group, with the prefix of each group computed once.

    The replies of a group count the prefix among their cached tokens, but for the first.
    """
    for group in group_by_prefix(sequences, batcher.budget // LEAST_SHARE):
        own = replace(model, prefix=Prefix(group.prefix)) if group.shared else model
        run = batcher.run(group.members, functools.partial(forward, own), shared=group.shared)
        for number, (index, answer) in enumerate(run):
            if number and group.shared and not isinstance(answer, Failure):
                answer = replace(answer, cached_tokens=group.shared)  # type: ignore[type-var]
            yield index, answer


def pad_after_prefix(model: LoadedModel, batch: Sequence[Prepared]) -> PaddedBatch:
    """Pad a batch on the left, after the keys and values of the model's prefix if it has one."""
    if model.prefix is None:
        return pad(batch, model.checkpoint)
    width = max(len(one.ids) for one in batch) - len(model.prefix.ids)
    lengths = [max(len(one.ids) - width, 0) for one in batch]
    starts = zip(batch, lengths, strict=True)
    rest = [replace(one, ids=one.ids[start:], types=None) for one, start in starts]
    own = pad(rest, model.checkpoint)
    before = torch.tensor(lengths, device=own.ids.device)[:, None]
    seen = torch.arange(max(lengths), device=own.ids.device) >= max(lengths) - before
    mask = torch.cat([seen.to(own.mask.dtype), own.mask], 1)
    cache = model.prefix.before(model.network, lengths)
    return PaddedBatch(own.ids, mask, own.positions + before, own.types, cache)


def _places(lengths: Sequence[int], device: Any) -> torch.Tensor:
    """Return which token of the prefix each row has where, shape (rows, longest).

    A row with fewer has its first token in the places before, which are masked.
    """
    before = torch.tensor(lengths, device=device)[:, None]
    return (torch.arange(max(lengths), device=device) - max(lengths) + before).clamp(min=0)


class _PrefixLayer(DynamicLayer):  # type: ignore[misc]
    """The prefix of each row in one layer. It does not grow: what follows is not kept."""

    def __init__(self, layer: Any, shown: torch.Tensor) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self.keys, self.values, self.shown = layer.keys, layer.values, shown

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows' keys and values after those of the prefix."""
        return self._behind(self.keys, key_states), self._behind(self.values, value_states)

    def get_seq_length(self) -> int:
        """Return how many tokens of the prefix the longest row has."""
        return self.shown.shape[1]

    def _behind(self, prefix: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.cat([prefix[0, :, self.shown].transpose(0, 1), rows], -2)
