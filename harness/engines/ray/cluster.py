"""The Ray cluster that replicas run on: joined or started, and left as it was found."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EngineFault, MissingExtra

if TYPE_CHECKING:
    from .options import RayOptions

_OBJECT_STORE = 128 << 20  # bytes of shared memory; requests and replies are small
_ANSWER_SECONDS = 10.0
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what nodes say is in their logs, not in our output
    "RAY_worker_niceness": "0",  # else 15: a busy machine would hardly run them
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do by itself, else it warns
}


def require_ray() -> None:
    """Raise MissingExtra where Ray is not installed; imports nothing."""
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra("engine ray is not installed: pip install 'rerank-bench[ray]'")


class _Session:
    """The connection of this process to Ray, which engines share; the last to leave ends it.

    One that was there before any engine is used, and left open.
    """

    def __init__(self) -> None:
        self._users: set[int] = set()
        self._folder: Path | None = None
        self._is_ours = False

    def join(self, user: object, address: str | None) -> None:
        """Connect to the cluster at `address`, or start one on this machine."""
        require_ray()
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import ray

        if not ray.is_initialized():
            self._start(address)
        self._users.add(id(user))

    def leave(self, user: object) -> None:
        """Disconnect if no other engine is connected; ends a cluster that was started here."""
        self._users.discard(id(user))
        if self._users or not self._is_ours:
            return
        import ray

        ray.shutdown()
        self._is_ours = False
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self, address: str | None) -> None:
        import ray

        quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        try:
            if address is not None:
                _require_answer(address)
                ray.init(address=address, **quiet)
            else:
                self._folder = Path(tempfile.mkdtemp(prefix="ray-"))
                ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE,
                    _temp_dir=str(self._folder),
                    **quiet,
                )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            where = f"joined at {address}" if address else "started on this machine"
            raise EngineFault(f"Ray cannot be {where}: {' '.join(str(error).split())}") from error
        self._is_ours = True


def _require_answer(address: str) -> None:
    """Raise OSError or ValueError where nothing listens; Ray would try for minutes."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()


SESSION = _Session()


@dataclass(frozen=True)
class Share:
    """What a replica takes of a node, and how many replicas the cluster is to hold."""

    gpus: int
    cpus: int
    replicas: int

    @classmethod
    def of(cls, options: RayOptions) -> Share:
        """Divide the cluster as it is now.

        A replica on GPUs has `tensor_parallel_size` of them. Without GPUs the replicas share the
        cores, as far as these are on one node.
        """
        import ray

        nodes: list[dict[str, Any]] = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        each = options.tensor_parallel_size
        on_gpus = 0 if options.device == "cpu" else sum(int(n.get("GPU", 0)) // each for n in nodes)
        if on_gpus:
            return cls(each, 0, options.replicas or on_gpus)
        cores = [math.floor(n["CPU"]) for n in nodes if n.get("CPU", 0) >= 1]
        wanted = options.replicas or max(len(cores), 1)
        share = min(sum(cores) // wanted, min(cores, default=1))
        return cls(0, max(share, 1), wanted)

    @property
    def resources(self) -> dict[str, Any]:
        """The arguments of Ray's `options`."""
        return {"num_gpus": self.gpus, "num_cpus": self.cpus, "scheduling_strategy": "SPREAD"}

    def __str__(self) -> str:
        return f"{self.gpus} GPUs" if self.gpus else f"{self.cpus} CPU cores"
