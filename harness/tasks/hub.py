"""A Nano data set on the Hugging Face hub, read with `datasets` at one resolved commit.

The only thing here that needs a network is `resolve`; what follows works on any repository or
folder that `datasets` can read, which is how it is tested.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import RerankBenchError, UnknownName
from .folder import FolderReader
from .layout import NanoReader
from .tables import Table
from .task import Source


def open_hub(dataset: str, revision: str | None) -> NanoReader:
    """Return a reader of the data set at the commit that `revision` (default: main) names now.

    Without a network a copy in the hub's own cache is read. Raises UnknownName where the hub has no
    such data set or revision, RerankBenchError where it cannot be asked and no copy is here.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        commit = resolve(dataset, revision)
    except RepositoryNotFoundError as error:
        hint = "check the name; a private one needs `hf auth login`"
        raise UnknownName(f"the hub has no data set {dataset!r} ({hint})") from error
    except RevisionNotFoundError as error:
        raise UnknownName(f"data set {dataset!r} has no revision {revision!r}") from error
    except Exception as error:  # the client's network errors share no base that stays the same
        copy = _cached(dataset, revision)
        if copy is None:
            reason = f"{type(error).__name__}: {_first_line(error)}"
            cure = "a copy on disk works without one: --task ./FOLDER"
            raise RerankBenchError(
                f"cannot reach the hub for {dataset} ({reason}); {cure}"
            ) from error
        return FolderReader(copy, Source("hub", dataset, revision=copy.name))
    return HubReader(Source("hub", dataset, revision=commit))


def resolve(dataset: str, revision: str | None) -> str:
    """Return the commit of a data set's revision, asking the hub."""
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(dataset, revision=revision).sha)


def _cached(dataset: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            dataset, repo_type="dataset", revision=revision, local_files_only=True
        )
    except (OSError, ValueError):
        return None
    return Path(found)


@dataclass(frozen=True, slots=True)
class HubReader:
    """The configs of one data set at one commit (`source.revision`)."""

    source: Source

    def configs(self) -> tuple[str, ...]:
        """Return the names of all configs."""
        return _configs(self.source.dataset, self.source.revision)

    def splits(self, config: str) -> tuple[str, ...]:
        """Return the splits of one config, in the data set's order."""
        return _splits(self.source.dataset, config, self.source.revision)

    def read(self, config: str, split: str) -> Table:
        """Return one split, downloaded at its first use."""
        import datasets

        dataset, commit = self.source.dataset, self.source.revision
        where = f"{dataset} {config}/{split}"
        with _told(where):
            rows = datasets.load_dataset(dataset, config, split=split, revision=commit)
            return Table(where, rows.to_dict())

    def columns(self, config: str, split: str) -> tuple[str, ...] | None:
        """Return the columns that the data set's card declares, None where it declares none."""
        return _columns(self.source.dataset, config, self.source.revision)


@cache
def _configs(dataset: str, commit: str | None) -> tuple[str, ...]:
    import datasets

    with _told(dataset):
        return tuple(datasets.get_dataset_config_names(dataset, revision=commit))


@cache
def _splits(dataset: str, config: str, commit: str | None) -> tuple[str, ...]:
    import datasets

    with _told(f"{dataset} {config}"):
        return tuple(datasets.get_dataset_split_names(dataset, config, revision=commit))


@cache
def _columns(dataset: str, config: str, commit: str | None) -> tuple[str, ...] | None:
    import datasets

    with _told(f"{dataset} {config}"):
        found = datasets.get_dataset_config_info(dataset, config, revision=commit).features
    return None if found is None else tuple(found)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Turn whatever `datasets` raises into one line that names the data set."""
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    except Exception as error:  # ValueError, ConnectionError, DatasetGenerationError, pyarrow's …
        first = _first_cause(error)
        reason = f"{type(first).__name__}: {_first_line(first)}"
        cure = "download its repository and name the folder: --task ./FOLDER"
        raise RerankBenchError(f"cannot read {where} from the hub ({reason}); {cure}") from error


def _first_cause(error: BaseException) -> BaseException:
    # "An error occurred while generating the dataset" is what `datasets` raises from the reason
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
