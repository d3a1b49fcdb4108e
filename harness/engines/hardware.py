"""What this machine computes with."""

from __future__ import annotations

import os
import platform
from typing import Any


def machine(*, gpus: int = 0) -> dict[str, Any]:
    """Return system, processor and cores, and the GPU where a model runs on `gpus` of them."""
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    if gpus:
        import torch

        if torch.cuda.is_available():
            found |= {"gpu": torch.cuda.get_device_name(), "gpus": gpus}
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
