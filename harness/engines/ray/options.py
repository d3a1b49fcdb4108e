"""Options of engine ray: its own, and those of the engine of its replicas."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ...errors import BadOption
from ..local.options import TransformersOptions
from ..options import CHECKPOINT_OPTIONS, EngineChoice, engine_class, option
from ..vllm.settings import VllmOptions

INNER = ("vllm", "transformers", "fake")


@dataclass(frozen=True, kw_only=True)
class RayOptions(VllmOptions, TransformersOptions):
    """Options of engine ray; all others are those of the engine that `inner` names.

    inner: what answers in each replica: `vllm`, `transformers` or `fake`.
    replicas: how many; by default as many as the cluster has GPUs for, and one per node of a
        cluster without GPUs, also of nodes that join it later.
    ray_address: a running cluster, `auto` or `HOST:PORT`; by default one is started on this
        machine, and ended with the engine.
    concurrency: requests that a replica is given at once.
    wait_seconds: how long there may be no replica before the run ends.
    """

    inner: str = "vllm"
    replicas: int | None = option(None, least=1)
    ray_address: str | None = None
    concurrency: int = option(256, least=1)
    wait_seconds: float = 300.0
    data_parallel: int = option(1, from_reranker=True)  # nobody sets it: `replicas` does the same

    def __post_init__(self) -> None:
        if self.inner not in INNER:
            raise BadOption(f"engine ray: inner {self.inner!r} is none of {', '.join(INNER)}")
        if self.ray_address is not None and "://" in self.ray_address:
            raise BadOption(
                f"engine ray: ray_address takes auto or HOST:PORT, not {self.ray_address!r}; "
                "start the run on a node of the cluster"
            )
        if self.device not in {None, "cpu", "cuda"}:
            raise BadOption(
                f"engine ray: device is cpu or cuda, not {self.device!r}: each replica is given "
                "GPUs of its own"
            )
        _ = self.of_inner

    @property
    def of_inner(self) -> EngineChoice:
        """The engine of a replica; raises BadOption for an option that it does not have."""
        factory = engine_class(self.inner).Options
        known = {f.name for f in fields(factory)}
        values = self._given()
        for name in values.keys() - known:
            # As in a reranker's name: an engine without a checkpoint ignores what describes one.
            if name not in CHECKPOINT_OPTIONS or "revision" in known:
                raise BadOption(f"engine ray: inner={self.inner} has no option {name}")
        return EngineChoice(self.inner, factory(**{k: v for k, v in values.items() if k in known}))

    def _given(self) -> dict[str, Any]:
        """Return the options that are set, without those of this engine and of the reranker's."""
        own = {"inner", "replicas", "ray_address", "concurrency", "wait_seconds"}
        own |= set() if self.inner == "vllm" else {"labels"}  # `head` refuses them
        found = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {k: v for k, (v, usual) in found.items() if v != usual and k not in own}
