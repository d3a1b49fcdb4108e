"""List and fetch the files of data sets on the Hugging Face hub."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import RerankBenchError, UnknownName
from .task import HUGGING_FACE

LOG_IN = "`hf auth login`, or set HF_TOKEN"
_NEWEST = "name a commit or branch of it with --revision; --revision main reads the newest data"


class HuggingFace:
    """The Hugging Face hub, or the one that `HF_ENDPOINT` names."""

    name = HUGGING_FACE

    def listing(self, dataset: str, revision: str | None) -> tuple[str, list[str]]:
        """Return the commit that a revision names now, and its files."""
        from huggingface_hub import HfApi

        with _explained(dataset, revision):
            info = HfApi().dataset_info(dataset, revision=revision)
        return str(info.sha), [file.rfilename for file in info.siblings or ()]

    def fetch(self, dataset: str, commit: str, name: str) -> Path:
        """Return a file in the hub's cache, downloaded unless it is there."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if not sys.stderr.isatty():
            disable_progress_bars()
        with _explained(dataset, commit):
            return Path(hf_hub_download(dataset, name, repo_type="dataset", revision=commit))

    def copy(self, dataset: str, revision: str | None) -> Path | None:
        """Return the folder of a copy in the hub's own cache, if it has more than a card."""
        from huggingface_hub import snapshot_download

        try:
            found = snapshot_download(
                dataset, repo_type="dataset", revision=revision, local_files_only=True
            )
        except (OSError, ValueError):
            return None
        has_rows = any(
            path.is_file() for path in Path(found).rglob("*") if path.name != "README.md"
        )
        return Path(found) if has_rows else None


def to_open(dataset: str) -> str:
    """Return what lets a user read a gated data set."""
    page = f"https://huggingface.co/datasets/{dataset}"
    return f"accept its conditions at {page}, then {LOG_IN}"


@contextmanager
def _explained(dataset: str, revision: str | None) -> Iterator[None]:
    """Turn the refusals of the hub into errors that say what to do."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise RerankBenchError(f"data set {dataset} is gated; {to_open(dataset)}") from error
    except RepositoryNotFoundError as error:
        hint = f"check the name; a private one needs {LOG_IN}"
        raise UnknownName(f"the hub has no data set {dataset!r} ({hint})") from error
    except RevisionNotFoundError as error:
        what = f"data set {dataset!r} has no revision {revision!r}"
        raise UnknownName(f"{what}; {_NEWEST}") from error
    except DisabledRepoError as error:
        raise RerankBenchError(f"the hub has disabled data set {dataset}") from error
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise
        what = f"the hub refuses access to {dataset} ({error.response.status_code})"
        raise RerankBenchError(f"{what}; log in with an account that has it: {LOG_IN}") from error
