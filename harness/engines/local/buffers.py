"""Tensors that a checkpoint lacks: weights are refused, other tensors are computed.

A weight that the checkpoint lacks would be filled with random numbers.

Transformers 5 builds a model on the meta device, where a tensor has no values. Weights then come
from the checkpoint and buffers registered with `persistent=False` from the model's `_init_weights`.
Model code that computes such a buffer in `__init__` only, as most code that comes with a model
does, is left with whatever was in memory.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import EngineFault
from ...quiet import quiet

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def load_whole(load: Callable[[], T], name: str, *, head_elsewhere: bool = False) -> T:
    """Return what `load` loads, with a value in every tensor.

    load: builds a torch module, or a tuple that begins with one; models of transformers inside it
    are looked at one by one. Tensors without a value get it from a build of the same class and
    config on the CPU. name: of the model, for messages. head_elsewhere: the weights outside the
    base model may be missing, since an adapter brings them. Raises EngineFault where the checkpoint
    lacks a weight, or where that build fails or does not give a value.
    """
    with _marked(), _missing_weights() as missing:
        found = load()
    for model, keys in missing:
        _require_weights(model, keys, name, head_elsewhere=head_elsewhere)
    module: Any = found[0] if isinstance(found, tuple) else found
    for model in transformers_models(module):
        lost = sorted(key for key, tensor in _unsaved(model) if not _has_value(tensor))
        if lost:
            _fill(model, lost, name)
    return found


@contextlib.contextmanager
def _missing_weights() -> Iterator[list[tuple[Any, list[str]]]]:
    """Collect each model of transformers that is loaded, and the weights its checkpoint lacks."""
    from transformers import PreTrainedModel

    found: list[tuple[Any, list[str]]] = []
    kind: Any = PreTrainedModel
    original = kind.__dict__["from_pretrained"]

    def from_pretrained(
        cls: Any, /, *args: Any, output_loading_info: bool = False, **kw: Any
    ) -> Any:
        model, report = original.__func__(cls, *args, output_loading_info=True, **kw)
        found.append((model, sorted(report["missing_keys"])))
        return (model, report) if output_loading_info else model

    kind.from_pretrained = classmethod(from_pretrained)
    try:
        yield found
    finally:
        kind.from_pretrained = original


def _require_weights(model: Any, keys: list[str], name: str, *, head_elsewhere: bool) -> None:
    """Raise EngineFault for missing weights, but for the pooler of a model without a head.

    Nothing reads that pooler: vectors are pooled from the last hidden states.
    """
    bare, prefix = model.base_model is model, f"{model.base_model_prefix}."
    lost = [
        key
        for key in keys
        if not (bare and key.startswith("pooler."))
        and not (head_elsewhere and not bare and not key.startswith(prefix))
    ]
    if lost:
        raise EngineFault(
            f"model {name} ({type(model).__name__}) lacks {lost[0]}"
            f"{f' and {len(lost) - 1} more' if len(lost) > 1 else ''}: "
            "the checkpoint has no such weights"
        )


def transformers_models(module: torch.nn.Module) -> Iterator[Any]:
    """Yield the outermost models of transformers in `module`."""
    from transformers import PreTrainedModel

    if isinstance(module, PreTrainedModel):
        yield module
    else:
        for child in module.children():
            yield from transformers_models(child)


def _unsaved(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Buffers that are not saved, and tensors kept as plain attributes, by their full names."""
    import torch

    for prefix, module in model.named_modules():
        plain = {k: v for k, v in vars(module).items() if isinstance(v, torch.Tensor)}
        names = module._non_persistent_buffers_set
        buffers = {k: v for k, v in module._buffers.items() if k in names and v is not None}
        for key, tensor in {**plain, **buffers}.items():
            yield f"{prefix}.{key}" if prefix else key, tensor


def _has_value(tensor: torch.Tensor) -> bool:
    """Whether `tensor`, made while memory was marked, was written since.

    The mark is NaN in floats, the largest number in integers, and True in truth values, where it is
    a usual value too: what is all True counts as not written, and so is computed again.
    """
    import torch

    if tensor.is_meta:
        return False
    if tensor.dtype == torch.bool:
        return not bool(tensor.all())
    if tensor.is_floating_point() or tensor.is_complex():
        return not bool(tensor.isnan().any())
    return not bool((tensor == torch.iinfo(tensor.dtype).max).any())


@contextlib.contextmanager
def _marked() -> Iterator[None]:
    """Have torch fill uninitialised memory with a mark."""
    import torch

    deterministic: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        deterministic.fill_uninitialized_memory,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        deterministic.fill_uninitialized_memory = before[2]


def _fill(model: Any, lost: list[str], name: str) -> None:
    """Give the tensors named `lost` the values that a build on the CPU computes."""
    kind = type(model).__name__
    try:
        built, again = (dict(_unsaved(_built(model))) for _ in range(2))
    except Exception as error:  # the model's own code may raise anything
        why = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        failed = f"building the class on the CPU fails ({why})"
        raise _no_value(name, kind, lost[0], failed) from error
    for key in lost:
        module, _, attribute = key.rpartition(".")
        owner = model.get_submodule(module)
        old, new = getattr(owner, attribute), built.get(key)
        if new is None or new.shape != old.shape:
            raise _no_value(name, kind, key, "another build of the class has no such tensor")
        if not _is_certain(new, again[key]):
            raise _no_value(name, kind, key, "its class does not compute it from the config alone")
        device = "cpu" if old.is_meta else old.device
        setattr(owner, attribute, new.to(device=device, dtype=old.dtype))


def _is_certain(value: torch.Tensor, again: torch.Tensor) -> bool:
    """Whether a built tensor has values, which a second build gives again."""
    import torch

    known = not value.is_meta and (value.dtype == torch.bool or _has_value(value))
    return known and torch.equal(value, again)


def _built(model: Any) -> Any:
    """Build the class of `model` again: parameters without memory, all other tensors on the CPU."""
    import torch
    from transformers.initialization import no_init_weights, no_tie_weights

    with quiet(), _marked(), no_init_weights(), no_tie_weights(), _parameters_on_meta():
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.device("cpu"), torch.random.fork_rng(devices=[]):
                torch.default_generator.seed()  # a random tensor differs at each build
                return type(model)(copy.deepcopy(model.config))
        finally:
            torch.set_default_dtype(before)


@contextlib.contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Move each parameter to the meta device as soon as a module has it, so that none stays."""
    import torch

    module_class: Any = torch.nn.Module
    register = module_class.register_parameter

    @functools.wraps(register)
    def register_empty(module: Any, name: str, parameter: Any) -> None:
        register(module, name, parameter)
        if parameter is not None:
            kept = module._parameters[name]
            module._parameters[name] = torch.nn.Parameter(kept.to("meta"), kept.requires_grad)

    module_class.register_parameter = register_empty
    try:
        yield
    finally:
        module_class.register_parameter = register


def _no_value(name: str, kind: str, key: str, why: str) -> EngineFault:
    return EngineFault(
        f"model {name}: the checkpoint has no values for {key} of {kind}, and {why}; "
        "the model's code must compute it in _init_weights, or save it"
    )
