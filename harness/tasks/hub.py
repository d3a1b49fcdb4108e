"""Read a data set on the Hugging Face hub with `datasets`, at one resolved commit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import RerankBenchError, UnknownName
from .folder import FolderReader
from .table import Table
from .task import Source


@dataclass(frozen=True, slots=True)
class HubReader:
    """The configs of one data set at one commit (`source.revision`), as `FolderReader` has them."""

    source: Source

    def configs(self) -> tuple[str, ...]:
        """Return the names of all configs."""
        import datasets

        return tuple(_ask(datasets.get_dataset_config_names, self.source))

    def splits(self, config: str) -> tuple[str, ...]:
        """Return the splits of one config, in the data set's order."""
        import datasets

        return tuple(_ask(datasets.get_dataset_split_names, self.source, config))

    def read(self, config: str, split: str) -> Table:
        """Return one split, downloaded at its first use."""
        import datasets

        where = f"{self.source.dataset} {config}/{split}"
        with _hub_errors(where):
            rows = datasets.load_dataset(
                self.source.dataset, config, split=split, revision=self.source.revision
            )
            return Table(where, rows.to_dict())

    def columns(self, config: str, split: str) -> Sequence[str] | None:
        """Return the columns that the data set's card declares, None if it declares none."""
        import datasets

        found = _ask(datasets.get_dataset_config_info, self.source, config).features
        return None if found is None else tuple(found)


Reader = FolderReader | HubReader


@cache
def _ask(function: Callable[..., Any], source: Source, *config: str) -> Any:
    with _hub_errors(" ".join((source.dataset, *config))):
        return function(source.dataset, *config, revision=source.revision)


def open_hub(dataset: str, revision: str | None) -> Reader:
    """Return a reader of the data set at the commit that `revision` (default: main) names now.

    Without a network the copy in the hub's own cache is read. Raises UnknownName if the hub has no
    such data set or revision, RerankBenchError if it cannot be reached and there is no copy.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        commit = resolve(dataset, revision)
    except RepositoryNotFoundError as error:
        hint = "check the name; a private one needs `hf auth login`"
        raise UnknownName(f"the hub has no data set {dataset!r} ({hint})") from error
    except RevisionNotFoundError as error:
        raise UnknownName(f"data set {dataset!r} has no revision {revision!r}") from error
    except Exception as error:  # the client's network errors have no stable base class
        copy = _cached(dataset, revision)
        if copy is None:
            why = f"{_reason(error)}; a copy on disk needs no network: --task ./FOLDER"
            raise RerankBenchError(f"cannot reach the hub for {dataset}: {why}") from error
        return FolderReader(copy, Source("hub", dataset, revision=copy.name))
    return HubReader(Source("hub", dataset, revision=commit))


def resolve(dataset: str, revision: str | None) -> str:
    """Return the commit of a data set's revision, as the hub reports it."""
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


@contextmanager
def _hub_errors(where: str) -> Iterator[None]:
    """Turn any error of `datasets` into one line that names the data set."""
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    except Exception as error:  # ValueError, ConnectionError, DatasetGenerationError, pyarrow's …
        cure = "download its repository and name the folder: --task ./FOLDER"
        why = f"{_reason(_first_cause(error))}; {cure}"
        raise RerankBenchError(f"cannot read {where} from the hub: {why}") from error


def _first_cause(error: BaseException) -> BaseException:
    # `datasets` raises "An error occurred while generating the dataset" from the reason
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
