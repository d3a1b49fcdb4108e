"""Linear layers that a checkpoint puts after its hidden states, read from its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import safe_open

from ...errors import EngineFault
from ..checkpoint import Checkpoint
from ..models import ModelLocation, find_file, read_json

_MODULES = "modules.json"
_SAFE, _INDEX, _PICKLED = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"


@dataclass(frozen=True)
class Layer:
    """A linear layer in float32. residual: the weight by which the input is added, if it is."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None
    activation: Callable[[torch.Tensor], torch.Tensor] | None = None
    residual: torch.Tensor | None = None

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Return the output, shape (…, rows of the weight)."""
        out = torch.nn.functional.linear(states, self.weight, self.bias)
        out = out if self.activation is None else self.activation(out)
        if self.residual is not None:
            out = out + torch.nn.functional.linear(states, self.residual)
        return out


def load_projection(checkpoint: Checkpoint) -> tuple[Layer, ...]:
    """Return the layers that a checkpoint projects its vectors with; none for most.

    Known are `Dense` modules of sentence-transformers and pylate, the `linear` of ColBERT's own
    format (architecture `HF_ColBERT`), and the `projector` of jina-reranker-v3 (`JinaForRanking`).
    """
    if checkpoint.architecture == "HF_ColBERT":
        return (Layer(_tensors(checkpoint, "", ["linear.weight"])["linear.weight"]),)
    if checkpoint.architecture == "JinaForRanking":
        return _projector(checkpoint)
    modules = read_json(checkpoint.place, _MODULES) or []
    paths = [str(m["path"]) for m in modules if str(m["type"]).endswith(".Dense")]
    return tuple(_dense(checkpoint, path) for path in paths)


def _projector(checkpoint: Checkpoint) -> tuple[Layer, ...]:
    """Two layers without bias, with a ReLU between them."""
    names = ["projector.0.weight", "projector.2.weight"]
    found = _tensors(checkpoint, "", names)
    return Layer(found[names[0]], activation=torch.relu), Layer(found[names[1]])


def _dense(checkpoint: Checkpoint, path: str) -> Layer:
    config = read_json(checkpoint.place, f"{path}/config.json") or {}
    residual = bool(config.get("use_residual"))
    same = config.get("in_features") == config.get("out_features")
    biased = bool(config.get("bias", True))
    names = ["linear.weight", *(["linear.bias"] if biased else [])]
    names += ["residual.weight"] if residual and not same else []
    found = _tensors(checkpoint, f"{path}/", names)
    own = torch.eye(int(config["in_features"])) if residual and same else None
    return Layer(
        found["linear.weight"],
        found.get("linear.bias"),
        _activation(checkpoint, str(config.get("activation_function", "Tanh"))),
        own.to(checkpoint.device) if own is not None else found.get("residual.weight"),
    )


def _activation(checkpoint: Checkpoint, name: str) -> Any:
    """Return the activation of this class name, None for the identity."""
    known: Mapping[str, Any] = {
        "Identity": None, "Tanh": torch.tanh, "ReLU": torch.relu, "Sigmoid": torch.sigmoid,
        "GELU": torch.nn.functional.gelu, "SiLU": torch.nn.functional.silu,
    }  # fmt: skip
    last = name.rsplit(".", 1)[-1]
    if last not in known:
        raise EngineFault(f"model {checkpoint.name}: a Dense module has the activation {name}")
    return known[last]


def _tensors(checkpoint: Checkpoint, folder: str, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Read tensors by name, in float32 on the checkpoint's device; EngineFault without one."""
    found = {name: _read(checkpoint.place, folder, name) for name in names}
    missing = [name for name, tensor in found.items() if tensor is None]
    if missing:
        raise EngineFault(f"model {checkpoint.name} lacks {folder}{missing[0]}: its projection")
    return {
        name: tensor.float().to(checkpoint.device)
        for name, tensor in found.items()
        if tensor is not None
    }


def _read(place: ModelLocation, folder: str, name: str) -> torch.Tensor | None:
    """Return one tensor of the weights in a folder of the checkpoint, None if it has none.

    Nothing in pickled weights is run.
    """
    index = read_json(place, f"{folder}{_INDEX}") or {"weight_map": {}}
    path = find_file(place, f"{folder}{index['weight_map'].get(name, _SAFE)}")
    found: torch.Tensor | None
    if path is not None:
        with safe_open(path, framework="pt") as weights:
            found = weights.get_tensor(name) if name in weights.keys() else None  # noqa: SIM118
        return found
    path = find_file(place, f"{folder}{_PICKLED}")
    if path is None:
        return None
    found = torch.load(path, map_location="cpu", weights_only=True).get(name)
    return found
