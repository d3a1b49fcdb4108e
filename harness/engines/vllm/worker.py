"""The process in which vLLM runs one model: token ids in, numbers out.

It is started by `workers.py` and is the only place that imports vLLM. It is sent prepared requests
and answers each with a reply or a Failure.
"""

from __future__ import annotations

import os
import queue
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Literal

from ...types import Failure
from ..prepare import Answer, Answered, Prepared
from .calls import parameters, read
from .settings import Settings


def main() -> None:
    """Serve the pipe whose file descriptor is the first argument."""
    with Connection(int(sys.argv[1])) as pipe:
        try:
            served = WorkerModel(pipe.recv())
            pipe.send(("ready", served.room, served.in_effect))
            with suppress(ConnectionError):  # the other end is gone
                served.serve(pipe)
        except Exception as error:
            pipe.send(("failed", explain(error)))
            raise
    sys.stdout.flush()
    os._exit(0)  # vLLM's own threads would keep the memory for a while


CURES = (
    (r"out of memory|can't allocate|(Free|Available|No available) memory|for the cache blocks",
     "out of memory: lower gpu_memory_utilization or max_model_len, or set quantization"),
    (r"KV cache is needed|max_model_len|max seq len",
     "lower max_model_len"),
    (r"trust_remote_code", "it needs trust_remote_code"),
    (r"no language head in|unquantized lm_head",
     'set dtype=float32, or vllm={"hf_overrides": {"head_dtype": "model"}} for rounded scores'),
)  # fmt: skip


def explain(error: Exception) -> str:
    """Return the line of an error that says most, and what to do about it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[1:3] if lines and "validation error" in lines[0] else lines[:1]
    # What Python itself raises over a bug is seldom clear without its type: KeyError(17) says 17.
    named = [type(error).__name__] * (not first or isinstance(error, _BUGS))
    said = ": ".join([*named, *first])[:240]
    cure = next((c for pattern, c in CURES if re.search(pattern, str(error), re.I)), None)
    return f"{said}; {cure}" if cure else said


Message = Sequence[Prepared] | Literal["forget"]
"""Requests to answer, or the word to drop what is kept of earlier ones."""

_BUGS = (LookupError, TypeError, AttributeError, AssertionError)


class WorkerModel:
    """One `vllm.LLM`, which is given requests one by one, so that none waits for a batch to end.

    `room` is how many it is given at once: those it runs, and as many to follow them.
    """

    def __init__(self, settings: Settings) -> None:
        import vllm
        from vllm.config import PoolerConfig
        from vllm.lora.request import LoRARequest

        arguments = _for_this_machine(dict(settings.arguments))
        if "pooler_config" in arguments:
            arguments["pooler_config"] = PoolerConfig(**arguments["pooler_config"])
        require_label_ids(vllm.SamplingParams)
        self.engine = vllm.LLM(**arguments).llm_engine
        require_head_dtype(arguments, self.engine.vllm_config.model_config)
        self.adapter = None
        if settings.adapter is not None:
            self.adapter = LoRARequest("adapter", 1, settings.adapter)
        self.in_effect = in_effect(vllm.__version__, self.engine.vllm_config)
        self.room = 2 * self.engine.vllm_config.scheduler_config.max_num_seqs
        self._settings = settings
        self._waiting: deque[Prepared] = deque()
        self._running: dict[str, Prepared] = {}
        self._seconds = 0.0

    def serve(self, pipe: Connection) -> None:
        """Answer until the other end sends None or is gone."""
        messages = listen(pipe)
        while self._receive(messages):
            started = time.perf_counter()
            answers: list[Answered] = self._admit()
            if self._running:
                answers += [self._answer(o) for o in self.engine.step() if o.finished]
            self._seconds += time.perf_counter() - started
            if answers:
                pipe.send(("answers", answers, self._seconds))

    def _receive(self, messages: queue.SimpleQueue[Message | Exception | None]) -> bool:
        """Take the messages that have come, and wait for one where there is nothing else to do."""
        while True:
            try:
                message = messages.get(block=not self._running and not self._waiting)
            except queue.Empty:
                return True
            if message is None:
                return False
            if isinstance(message, Exception):
                raise message
            if isinstance(message, str):
                self.engine.reset_prefix_cache()
            else:
                self._waiting.extend(message)

    def _admit(self) -> list[Answered]:
        """Add waiting requests to vLLM; return Failures for those that it refuses.

        Labels and generated text are never under way together: runners without Triton answer a
        batch of both with the wrong rows (vLLM 0.32, v1/sample/sampler.py).
        """
        refused: list[Answered] = []
        while self._waiting and self._goes_with(type(self._waiting[0].request)):
            one = self._waiting.popleft()
            name, prompt = str(one.index), {"prompt_token_ids": list(one.ids)}
            try:
                asked = parameters(one, self._settings)
                self.engine.add_request(name, prompt, asked, lora_request=self.adapter)
            except ValueError as error:
                refused.append((one.index, Failure(explain(error))))
            else:
                self._running[name] = one
        return refused

    def _goes_with(self, kind: type) -> bool:
        running = next(iter(self._running.values()), None)
        return running is None or type(running.request) is kind

    def _answer(self, output: Any) -> tuple[int, Answer]:
        # Some releases put a suffix after the id that a request was added with.
        name = output.request_id
        name = name if name in self._running else name.rpartition("-")[0]
        one = self._running.pop(name)
        if list(output.prompt_token_ids) != list(one.ids):
            changed = "vLLM changed the prompt: its tokens are not those that were sent"
            return one.index, Failure(changed)
        return one.index, read(one, self._settings, output)


def listen(pipe: Connection) -> queue.SimpleQueue[Any]:
    """Read the pipe in a thread; its end is a None, and what cannot be read the error it raises.

    Were it read between answers, both ends could wait for one another to take a large message.
    """
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read_on() -> None:
        while True:
            try:
                messages.put(pipe.recv())
            except (EOFError, OSError):
                messages.put(None)
                return
            except Exception as error:
                messages.put(error)
                return

    threading.Thread(target=read_on, daemon=True).start()
    return messages


TESTED = ("0.31.", "0.32.")
"""Releases that the tests were run with."""


def require_label_ids(sampling: Any) -> None:
    """Raise where this vLLM cannot report chosen token ids, as 0.31 and later can."""
    if "logprob_token_ids" not in getattr(sampling, "__struct_fields__", ()):
        raise RuntimeError(
            "this vLLM has no logprob_token_ids: pip install 'rerank-bench[vllm]' brings one"
        )


def require_head_dtype(arguments: Mapping[str, Any], model: Any) -> None:
    """Raise where vLLM computes the language head in another dtype than it is asked to."""
    from vllm.model_executor.layers.logits_processor import LogitsProcessor

    asked = arguments.get("hf_overrides", {}).get("head_dtype", "model")
    read = "head_dtype" in LogitsProcessor.__init__.__code__.co_names
    found = str(getattr(model, "head_dtype", None)) if read else "no head_dtype"
    if asked not in {"model", found.removeprefix("torch.")}:
        raise RuntimeError(f"this vLLM computes no language head in {asked}, but has {found}")


def _for_this_machine(arguments: dict[str, Any]) -> dict[str, Any]:
    """On a CPU: no compiling, which takes minutes, and blocks short enough to be shared."""
    from vllm.platforms import current_platform

    usual = {"enforce_eager": True, "block_size": 32} if current_platform.is_cpu() else {}
    return {**usual, **arguments}


def in_effect(version: str, config: Any) -> dict[str, Any]:
    """Return the settings in effect, read off the `vllm_config`."""
    model, scheduler, cache = config.model_config, config.scheduler_config, config.cache_config
    dtype = str(model.dtype).removeprefix("torch.")
    return {
        "vllm": version,
        "tested": version.startswith(TESTED),
        "dtype": dtype,
        "head_dtype": str(getattr(model, "head_dtype", dtype)).removeprefix("torch."),
        "quantization": model.quantization,
        "kv_cache_dtype": dtype if cache.cache_dtype == "auto" else str(cache.cache_dtype),
        "tensor_parallel_size": config.parallel_config.tensor_parallel_size,
        "max_model_len": model.max_model_len,
        "max_num_seqs": scheduler.max_num_seqs,
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
        "block_size": cache.block_size,
        "prefix_caching": bool(cache.enable_prefix_caching),
        "gpu_memory_utilization": cache.gpu_memory_utilization,
        "enforce_eager": model.enforce_eager,
    }


if __name__ == "__main__":
    main()
