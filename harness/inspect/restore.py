"""Find the task, the reranker and the tokenizer of a finished run again.

A data set, a file of code or a model that has changed since the run is refused. No model is
downloaded, and no server is called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import NO_ENGINE, PACKAGED, ModelOptions, open_engine
from ..errors import BadData, EngineFault
from ..reranking import Defaults, build, load_method, methods
from ..runs import prompt_fingerprint
from ..signatures import parameters
from ..tasks import MODELSCOPE, TaskOptions, load_task
from ..types import Fitted

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..tasks import Task

Cut = Callable[[Sequence[str], int | None], list[Fitted]]
"""The type of an engine's `fit`."""

_NEW_BUDGETS = ("max_pair_tokens", "max_window_tokens")
"""Budgets that version 0.1 did not have: its runs had none, whatever the default is now."""
_COMMIT = 40  # characters of a hub commit; a fingerprint of files has 64


def find_task(manifest: Mapping[str, Any]) -> Task:
    """Load the task of a run; raises BadData if the data have changed since."""
    settings = manifest["settings"]
    source, name = settings["source"], settings["task"]
    if source["kind"] in {"folder", "beir"}:  # the run's name of a folder leaves out where it is
        name = f"{manifest['dataset']}/{name.rpartition('/')[2]}"
    given = {f.name: settings[f.name] for f in fields(TaskOptions) if f.name in settings}
    if source["kind"] in ("hub", MODELSCOPE):
        given["revision"] = source["revision"]
    if source["kind"] == MODELSCOPE:
        given["hub"] = MODELSCOPE
    # Data that ran need no further checks: their sha256 is compared.
    task = load_task(name, TaskOptions(**{**given, "keep_going": True}))
    before, now = source["sha256"], task.source.sha256
    if now != before:
        raise BadData(
            f"the data of {name} have changed since the run "
            f"(sha256 {before[:12]}…, now {now[:12]}…)"
        )
    return task


def find_reranker(described: Mapping[str, Any]) -> tuple[Choice, list[str]]:
    """Build the reranker that a run's settings describe; return it and notes on what has changed.

    Raises BadData for a file of code that is not the one that ran.
    """
    method = described["method"]
    file = Path(method.rpartition(":")[0])
    if method not in methods() and _sha256(file) != described["code"]:
        raise BadData(f"the code in {file} is no longer that of the run")
    known = parameters(load_method(method))
    recorded = dict.fromkeys(_NEW_BUDGETS) | dict(described["options"])
    options = {name: value for name, value in recorded.items() if name in known}
    choice = build(
        method, {**options, "engine": NO_ENGINE.name, "as": described["label"]}, Defaults()
    )
    notes = []
    if choice.code != described["code"]:
        notes.append(f"the reranker's code is now {choice.code}; it ran as {described['code']}")
    if prompt_fingerprint(choice) != described["prompt"]:
        notes.append("the reranker's prompt has changed since the run, so requests may differ")
    return choice, notes


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BadData(f"the code in {file} cannot be read: {error.strerror}") from error


def find_fit(identity: Mapping[str, str], servers: Mapping[str, Any]) -> Cut:
    """Return the `fit` of the engine with this `identity`.

    servers: what the manifest says of each server, with its tokenizer. Raises EngineFault if the
    model or its tokenizer is not on this machine.
    """
    if version := identity.get("files") or identity.get("revision"):
        return _tokenizer(identity["model"], version)
    tokenizers = [server["tokenizer"] for server in servers.values() if "tokenizer" in server]
    if tokenizers and identity.get("tokenizer"):
        return _tokenizer(tokenizers[0], identity["tokenizer"])
    if "model" in identity:
        raise EngineFault("the server cut the texts, and show calls no server")
    return open_engine(identity["engine"]).fit


def _tokenizer(model: str, version: str) -> Cut:
    """Open the tokenizer of a model; `version` is its commit or the fingerprint of its files."""
    from ..engines import open_checkpoint

    is_commit = len(version) == _COMMIT
    if not is_commit and model not in PACKAGED and not Path(model).expanduser().exists():
        raise EngineFault(f"model {model} is not on this machine")
    place = _snapshot(model, version) if is_commit else model
    checkpoint = open_checkpoint(ModelOptions(model=place))
    if not is_commit and checkpoint.place.fingerprint != version:
        raise EngineFault(f"the files of model {model} have changed since the run")
    return checkpoint.tokens.fit


def _snapshot(model: str, commit: str) -> str:
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(model, revision=commit, local_files_only=True))
    except (OSError, ValueError) as error:
        raise EngineFault(f"model {model} is not on this machine at {commit[:12]}") from error
