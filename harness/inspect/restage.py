"""A finished run's task, reranker and tokenizer, found again as its manifest tells them.

What is found is compared with what ran: a data set, a file of code or a model that has changed is
refused and not taken for the one of the run. No model is downloaded, and no server is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines import PACKAGED, EngineOptions, open_engine
from ..errors import BadData, EngineFault
from ..reranking import Defaults, build, load_method, methods, parameters
from ..runs import prompt_fingerprint
from ..tasks import TaskOptions, load_task
from ..types import Fitted

if TYPE_CHECKING:
    from ..reranking import Choice
    from ..tasks import Task

Cut = Callable[[Sequence[str], int | None], list[Fitted]]
"""An engine's `fit`."""

_LATER = ("max_pair_tokens", "max_window_tokens")
"""Budgets that runs of version 0.1 did not have: without them, whatever the default is now."""
_COMMIT = 40  # characters of a hub commit; a fingerprint of files has 64


def find_task(manifest: Mapping[str, Any]) -> Task:
    """Load the task of a run; raises BadData where the data are no longer those that ran."""
    settings, dataset = manifest["settings"], manifest["dataset"]
    source, name = settings["source"], settings["task"]
    if source["kind"] in {"folder", "beir"}:  # in a folder of any place, under a name of its own
        name = f"{dataset}/{name.rpartition('/')[2]}"
    asked = {f.name: settings[f.name] for f in fields(TaskOptions) if f.name in settings}
    revision = source["revision"] if source["kind"] == "hub" else None
    # data that ran are taken as they are: the sha256 below says whether they still are
    options = TaskOptions(**{**asked, "revision": revision, "keep_going": True})
    task = load_task(name, options)
    if task.source.sha256 != source["sha256"]:
        was, now = source["sha256"][:12], task.source.sha256[:12]
        raise BadData(f"the data of {name} have changed since the run (sha256 {was}…, now {now}…)")
    return task


def find_reranker(described: Mapping[str, Any], noted: Callable[[str], None]) -> Choice:
    """Build the reranker that a run's settings describe; `noted` is told what is not as it was.

    A file of code is run only if it is the very one that ran: raises BadData.
    """
    method = described["method"]
    file = Path(method.rpartition(":")[0])
    if method not in methods() and _sha256(file) != described["code"]:
        raise BadData(f"the code in {file} is no longer that of the run")
    known = parameters(load_method(method))
    told = dict.fromkeys(_LATER) | dict(described["options"])
    options = {name: value for name, value in told.items() if name in known}
    choice = build(method, {**options, "engine": "fake", "as": described["label"]}, Defaults())
    if choice.code != described["code"]:
        noted(f"the reranker's code is now {choice.code}; it ran as {described['code']}")
    if prompt_fingerprint(choice) != described["prompt"]:
        noted("the reranker's prompt has changed since the run, so requests may differ")
    return choice


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BadData(f"the code in {file} cannot be read: {error.strerror}") from error


def find_cut(identity: Mapping[str, str], in_effect: Mapping[str, Any]) -> Cut:
    """Return the `fit` of an engine's `identity`; raises EngineFault where its model is not here.

    `in_effect` is what the manifest tells of the servers, which name their tokenizer.
    """
    name = identity["engine"]
    if name in {"fake", "none"}:
        return open_engine(EngineOptions(engine=name)).fit
    if name != "http":
        return _tokenizer(identity["model"], identity.get("files") or identity.get("revision", ""))
    told = [server.get("tokenizer") for server in in_effect.values()]
    if not told or not identity.get("tokenizer"):
        raise EngineFault("the texts were cut at the server, which is not asked again")
    return _tokenizer(str(told[0]), identity["tokenizer"])


def _tokenizer(model: str, mark: str) -> Cut:
    """Open the tokenizer of the model whose commit, or else fingerprint of files, is `mark`."""
    from ..engines import Tokens, open_checkpoint

    hub = len(mark) == _COMMIT
    if not hub and model not in PACKAGED and not Path(model).expanduser().exists():
        raise EngineFault(f"model {model} is not on this machine")
    place = _snapshot(model, mark) if hub else model
    checkpoint = open_checkpoint(EngineOptions(model=place))
    if not hub and checkpoint.place.fingerprint != mark:
        raise EngineFault(f"the files of model {model} have changed since the run")
    return Tokens(checkpoint.tokenizer, name=model).fit


def _snapshot(model: str, commit: str) -> str:
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(model, revision=commit, local_files_only=True))
    except (OSError, ValueError) as error:
        raise EngineFault(f"model {model} is not on this machine at {commit[:12]}") from error
