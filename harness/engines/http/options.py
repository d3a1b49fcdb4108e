"""The options of the http engine."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import option


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """Options of engine http.

    base_url: comma separated servers that share the load.
    dialect: their API, `vllm`, `openai`, `tei`, `jina` or `cohere`.
    top_logprobs: how many of the most probable tokens a server of dialect `openai` reports.
    model: the name it is served by; by default the only one that is served.
    revision, dtype: of the served model; only written down.
    adapter: a LoRA adapter, by the name it is served by.
    head: `classifier`: pairs are scored by the served model's classification head.
    pair_template: how a query and a document become one text for that head.
    max_model_len: a context shorter than the server's, in tokens.
    trust_remote_code: run code that comes with the model's tokenizer.
    api_key_env: the environment variable that holds the key.
    tokenizer: the model's own, hub id or folder; by default what the server says it serves.
    concurrency: requests under way at once.
    request_seconds, run_seconds: deadlines, of one attempt at a request and of all answering.
    wait_seconds: for the server to come up.
    """

    base_url: str | None = None
    dialect: str = "vllm"
    top_logprobs: int = option(20, least=1)
    model: str | None = None
    revision: str | None = option(None, in_label=True)
    adapter: str | None = option(None, in_label=True)
    dtype: str | None = option(None, in_label=True)
    head: str | None = option(None, in_label=True)
    pair_template: str | None = option(None, in_label=True)
    max_model_len: int | None = option(None, least=1, in_label=True)
    trust_remote_code: bool = False
    api_key_env: str | None = None
    tokenizer: str | None = None
    concurrency: int = option(32, least=1)
    request_seconds: float = 300.0
    run_seconds: float | None = None
    wait_seconds: float = 300.0
