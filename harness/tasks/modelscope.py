"""List and fetch the files of data sets on ModelScope."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import Any

from ..errors import MissingExtra, RerankBenchError, UnknownName
from .task import MODELSCOPE


class ModelScope:
    """The hub modelscope.cn, or the one that `MODELSCOPE_ENDPOINT` names."""

    name = MODELSCOPE

    def listing(self, dataset: str, revision: str | None) -> tuple[str, list[str]]:
        """Return the commit that a revision names now, and its files.

        The hub tells no commit of a branch, but of each file the commit that changed it. The latest
        of these has the contents of the branch if it has every file as the same commits made them.
        Raises RerankBenchError where it has not, as where branches were merged.
        """
        branch = revision or "master"
        files = _files(dataset, branch)
        if re.fullmatch("[0-9a-f]{40}", branch) or not files:
            return branch, list(files)
        latest = max(files.values(), key=lambda entry: entry.get("CommittedDate") or 0)
        commit: str = latest.get("Revision") or ""
        there = _files(dataset, commit) if commit else {}
        if not _commits(files) <= _commits(there):
            what = f"ModelScope does not tell the commit of {dataset}'s revision {branch!r}"
            raise RerankBenchError(f"{what}; name one of its commits: --revision COMMIT")
        return commit, list(files)

    def fetch(self, dataset: str, commit: str, name: str) -> Path:
        """Return a file in the hub's cache, downloaded unless it is there."""
        # the client has no switch for its bars
        hidden = nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
        with _explained(dataset, commit) as api, hidden:
            return Path(api.download_file(dataset, "dataset", name, revision=commit))

    def copy(self, dataset: str, revision: str | None) -> Path | None:
        """Return None: what was read before is in the record of its files."""
        return None


def _files(dataset: str, revision: str) -> Mapping[str, Mapping[str, Any]]:
    """Return path -> what the hub says of each file of a revision."""
    with _explained(dataset, revision) as api:
        found = api.legacy.list_repo_files(dataset, "dataset", revision=revision)
    return {entry["Path"]: entry for entry in found if entry.get("Type") != "tree"}


def _commits(files: Mapping[str, Mapping[str, Any]]) -> AbstractSet[tuple[str, object]]:
    """Return the files with the commit in which each was changed last."""
    return {(path, entry.get("Revision")) for path, entry in files.items()}


@contextmanager
def _explained(dataset: str, revision: str) -> Iterator[Any]:
    """Yield the client; turn the hub's refusals into errors that say what to do."""
    try:
        from modelscope_hub import HubApi
        from modelscope_hub.errors import AuthenticationError, NotExistError, PermissionDeniedError
        from modelscope_hub.utils.logger import get_logger
    except ImportError as error:
        install = "pip install 'rerank-bench[modelscope]'"
        raise MissingExtra(f"--hub modelscope needs the extra modelscope: {install}") from error
    if "MODELSCOPE_LOG_LEVEL" not in os.environ:
        # it warns of every failed try before the error that is told here
        get_logger().setLevel(logging.ERROR)
    try:
        yield HubApi()
    except NotExistError as error:
        hint = "check both; a private one needs a token: set MODELSCOPE_API_TOKEN"
        what = f"ModelScope has no data set {dataset!r} with revision {revision!r}"
        raise UnknownName(f"{what} ({hint})") from error
    except (AuthenticationError, PermissionDeniedError) as error:
        what = f"ModelScope refuses access to {dataset}"
        raise RerankBenchError(
            f"{what}; set MODELSCOPE_API_TOKEN to a token that has it"
        ) from error
