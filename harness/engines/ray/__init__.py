"""The engine that runs replicas of another engine on a Ray cluster.

In: requests, and the options of the other engine. Out: its replies, each as soon as its replica
sends it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

from ...types import Answers, AnyRequest, Fitted, Statistics
from .cluster import SESSION, require_ray
from .options import RayOptions
from .replica import EngineDescription
from .replicas import Replicas, describe_remotely


class RayEngine:
    """Replicas of engine vllm or transformers, on a Ray cluster or this machine; extra ray.

    Texts are fitted here, requests are answered there. The identity is that of the other engine
    where it runs, so its cached replies are found whichever way it was used. A replica that is lost
    is replaced, and its open requests are asked again.
    """

    Options = RayOptions
    name = "ray"
    is_real, exact_labels = True, True

    def __init__(self, options: RayOptions) -> None:
        self.options = options
        self._inner = options.of_inner.open()
        self.is_real, self.exact_labels = self._inner.is_real, self._inner.exact_labels
        self._replicas: Replicas | None = None
        self._loading_seconds = 0.0
        self._earlier = Statistics()

    def supports(self, kinds: frozenset[type]) -> bool:
        """Return whether the engine of a replica answers all of these types."""
        return self._inner.supports(kinds)

    @functools.cached_property
    def _described(self) -> EngineDescription:
        """What answers: on this machine known without Ray, else asked of a node."""
        require_ray()
        if self.options.ray_address is None:
            return EngineDescription(self._inner.identity, self._inner.hardware, "")
        SESSION.join(self, self.options.ray_address)
        return describe_remotely(self.options)

    @property
    def identity(self) -> Mapping[str, str]:
        """That of a replica's engine; MissingExtra where Ray is not installed."""
        return self._described.identity

    @property
    def hardware(self) -> Mapping[str, Any]:
        """The machine of a replica, with all GPUs in use and the number of nodes."""
        serving = [] if self._replicas is None else self._replicas.serving
        found = [m.described for m in serving if m.described] or [self._described]
        gpus = sum(int(one.hardware.get("gpus", 0)) for one in found)
        nodes = len({one.node for one in found})
        return {**found[0].hardware, **({"gpus": gpus} if gpus else {}), "nodes": nodes}

    @property
    def statistics(self) -> Statistics:
        """Those of the replica that spent the most seconds."""
        found = self._earlier if self._replicas is None else self._replicas.statistics
        return replace(
            self._inner.statistics,
            loading_seconds=self._loading_seconds + found.loading_seconds,
            work_seconds=found.work_seconds,
            in_effect=found.in_effect
            if self._replicas is None
            else self._in_effect(self._replicas),
        )

    def _in_effect(self, replicas: Replicas) -> Mapping[str, Any]:
        own = {
            "ray": metadata.version("ray"),
            "replicas": len(replicas.serving),
            "replicas_lost": replicas.lost,
        }
        return {**replicas.statistics.in_effect, **own}

    @property
    def pair_tokens(self) -> int | None:
        """Those of a replica's engine."""
        return self._inner.pair_tokens

    def fit(self, texts: Sequence[str], max_tokens: int | None) -> list[Fitted]:
        """Cut texts with the model's own tokenizer, in this process."""
        return self._inner.fit(texts, max_tokens)

    def stream(self, requests: Iterator[AnyRequest | None]) -> Answers:
        """Answer requests, which are drawn as the replicas have room.

        Raises EngineDied where too many replicas are lost, or none is left for `wait_seconds`.
        """
        try:
            yield from self._started().run(requests)
        except BaseException:
            self._end()
            raise

    def forget(self) -> None:
        """Drop what was kept of earlier requests, here and in the replicas."""
        self._inner.forget()
        if self._replicas is not None:
            self._replicas.forget()

    def close(self) -> None:
        """End the replicas, and Ray where it was started for them."""
        self._end()
        self._inner.close()
        SESSION.leave(self)

    def _started(self) -> Replicas:
        if self._replicas is None:
            identity, started = self.identity, time.perf_counter()
            SESSION.join(self, self.options.ray_address)
            self._replicas = Replicas(self.options, identity)
            self._loading_seconds += time.perf_counter() - started
        return self._replicas

    def _end(self) -> None:
        """End the replicas: what is under way is lost; the next request starts new ones."""
        if self._replicas is not None:
            self._earlier = replace(self.statistics, loading_seconds=0.0)
            self._loading_seconds += self._replicas.statistics.loading_seconds
            self._replicas.close()
        self._replicas = None
