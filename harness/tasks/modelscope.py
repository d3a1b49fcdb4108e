"""List and fetch the files of data sets on ModelScope."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import MissingExtra, RerankBenchError, UnknownName
from .task import MODELSCOPE


class ModelScope:
    """The hub modelscope.cn, or the one that `MODELSCOPE_ENDPOINT` names."""

    name = MODELSCOPE

    def listing(self, dataset: str, revision: str | None) -> tuple[str, list[str]]:
        """Return the commit that a revision names now, and its files.

        The hub does not tell the commit of a branch, so it is that of the file changed last.
        """
        branch = revision or "master"
        with _explained(dataset, branch) as api:
            found = api.legacy.list_repo_files(dataset, "dataset", revision=branch)
        files = [entry for entry in found if entry.get("Type") != "tree"]
        latest = max(files, key=lambda entry: entry.get("CommittedDate") or 0, default=None)
        return (latest and latest.get("Revision")) or branch, [entry["Path"] for entry in files]

    def fetch(self, dataset: str, commit: str, name: str) -> Path:
        """Return a file in the hub's cache, downloaded unless it is there."""
        with _explained(dataset, commit) as api:
            return Path(api.download_file(dataset, "dataset", name, revision=commit))

    def copy(self, dataset: str, revision: str | None) -> Path | None:
        """Return None: what was read before is in the record of its files."""
        return None


@contextmanager
def _explained(dataset: str, revision: str) -> Iterator[Any]:
    """Yield the client; turn the hub's refusals into errors that say what to do."""
    try:
        from modelscope_hub import HubApi
        from modelscope_hub.errors import (
            AuthenticationError,
            NotExistError,
            PermissionDeniedError,
        )
        from modelscope_hub.utils.logger import get_logger
    except ImportError as error:
        install = "pip install 'rerank-bench[modelscope]'"
        raise MissingExtra(f"--hub modelscope needs the extra modelscope: {install}") from error
    if "MODELSCOPE_LOG_LEVEL" not in os.environ:
        get_logger().setLevel(logging.WARNING)
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
