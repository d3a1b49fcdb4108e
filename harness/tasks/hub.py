"""Read a data set on a hub: only the files of the splits that are read, at one commit.

With the first rows that are fetched, the list of a commit's files is kept in the cache folder, so
that what was fetched once is found again without a network.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import quote

from ..errors import BadData, RerankBenchError
from ..folders import cache_folder
from .folder import DataSet, LocalFiles, check_inside
from .huggingface import HuggingFace
from .modelscope import ModelScope
from .task import HUGGING_FACE, Source


class Hub(Protocol):
    """A site with data sets; its methods raise RerankBenchError for what the user can mend."""

    @property
    def name(self) -> str:
        """Its value for `--hub`."""

    def listing(self, dataset: str, revision: str | None) -> tuple[str, list[str]]:
        """Return the commit that a revision (default: the main branch) names now, and its files.

        Raises UnknownName if the hub has no such data set or revision.
        """

    def fetch(self, dataset: str, commit: str, name: str) -> Path:
        """Return a file on this machine, downloaded unless it is there."""

    def copy(self, dataset: str, revision: str | None) -> Path | None:
        """Return the folder of a complete copy in the hub's own cache, if there is one."""


AGAIN = "run it again with a network: files that are complete are kept"
HUBS: Mapping[str, Hub] = {hub.name: hub for hub in (HuggingFace(), ModelScope())}


@dataclass(frozen=True, slots=True)
class Listing:
    """A commit and the names of its files."""

    commit: str
    names: Sequence[str]

    @classmethod
    def kept(cls, file: Path) -> Listing | None:
        """Return what `keep` wrote, None if it wrote nothing."""
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            return cls(found["commit"], found["names"])
        except (OSError, ValueError, LookupError):
            return None

    def keep(self, file: Path) -> None:
        """Write it for a time without a network."""
        aside = file.with_name(f".{file.name}.{os.getpid()}")
        with suppress(OSError):  # a cache that cannot be written is no reason to fail
            file.parent.mkdir(parents=True, exist_ok=True)
            aside.write_text(json.dumps({"commit": self.commit, "names": list(self.names)}))
            aside.replace(file)


@dataclass(frozen=True, slots=True)
class HubFiles:
    """The files of a data set on a hub at one commit."""

    hub: Hub
    where: str
    listed: Listing
    revision: str | None = None
    is_local: bool = False

    def glob(self, pattern: str) -> list[Path]:
        """Return the files that match a pattern, or the one that has it as its name, sorted.

        Patterns are read as pathlib reads them; raises ValueError where it would.
        """
        if pattern in self.listed.names:
            return [Path(pattern)]
        parts = PurePosixPath(pattern).parts
        if any("**" in part and part != "**" for part in parts):
            raise ValueError("'**' can only be an entire part of a path")
        return [Path(name) for name in sorted(self.listed.names) if _match(name, parts)]

    def fetch(self, files: Sequence[Path]) -> list[Path]:
        """Return the files on this machine; raise RerankBenchError if one cannot be had.

        From the first rows on, this commit is the one that is read without a network.
        """
        found = [self._fetched(file.as_posix()) for file in files]
        if any(file.name != "README.md" for file in files):
            for revision in {self.revision, self.listed.commit}:
                self.listed.keep(_record(self.hub, self.where, revision))
        return found

    def _fetched(self, name: str) -> Path:
        try:
            return self.hub.fetch(self.where, self.listed.commit, name)
        except RerankBenchError:
            raise
        except Exception as error:  # the clients' network errors have no stable base class
            raise RerankBenchError(
                f"cannot fetch {name} of {self.where}: {_reason(error)}; {AGAIN}"
            ) from error


def _match(name: str, pattern: Sequence[str]) -> bool:
    """Return whether the parts of a path match those of a pattern."""
    parts = name.split("/")
    ends = {0}  # how many parts the pattern so far may match
    for wanted in pattern:
        if wanted == "**":
            ends = {end for start in ends for end in range(start, len(parts) + 1)}
        else:
            rest = ends - {len(parts)}
            ends = {place + 1 for place in rest if fnmatchcase(parts[place], wanted)}
    return len(parts) in ends


def open_hub(dataset: str, revision: str | None, hub: str = HUGGING_FACE) -> DataSet:
    """Return a reader of the data set at the commit that `revision` (default: main) names now.

    Without a network the commit is read that it named when rows were fetched last. Raises
    UnknownName if the hub has no such data set or revision, BadData if its data are made by a
    script or a file's name leaves it, RerankBenchError if the hub cannot be reached and the data
    set was never read.
    """
    site = HUBS[hub]
    try:
        listed = Listing(*site.listing(dataset, revision))
        _check(dataset, listed)
    except RerankBenchError:
        raise
    except Exception as error:  # the clients' network errors have no stable base class
        known = _kept(site, dataset, revision)
        if known is None:
            return _copied(site, dataset, revision, error)
        listed = known
    _check(dataset, listed)
    source = Source("hub" if hub == HUGGING_FACE else hub, dataset, revision=listed.commit)
    reader = DataSet(HubFiles(site, dataset, listed, revision), source)
    script = f"{dataset.rpartition('/')[2]}.py"
    if script in listed.names and not reader.configs():
        why = f"{dataset} is made by a script ({script}), which is never run"
        raise BadData(
            f"{why}; name a data set of files, or a folder with its rows: --task ./FOLDER"
        )
    return reader


def _check(dataset: str, listed: Listing) -> None:
    """Raise BadData if a name that the hub lists would be written outside the hub's cache."""
    try:
        for name in (listed.commit, *listed.names):
            check_inside(name)
    except ValueError as error:
        raise BadData(f"{dataset}: {error}, so none of its files is fetched") from error


def _record(site: Hub, dataset: str, revision: str | None) -> Path:
    name = quote(f"{dataset}@{revision or ''}", safe="@")
    return cache_folder() / "hubs" / site.name / f"{name}.json"


def _kept(site: Hub, dataset: str, revision: str | None) -> Listing | None:
    """Return what was kept of a revision, which may be the beginning of one commit's name."""
    exact = _record(site, dataset, revision)
    known = Listing.kept(exact)
    if known is not None or not re.fullmatch("[0-9a-f]{7,39}", revision or ""):
        return known
    longer = [Listing.kept(file) for file in exact.parent.glob(f"{glob.escape(exact.stem)}*.json")]
    return longer[0] if len(longer) == 1 else None


def _copied(site: Hub, dataset: str, revision: str | None, error: Exception) -> DataSet:
    """Return a reader of a copy in the hub's own cache; raise RerankBenchError if it has none."""
    copy = site.copy(dataset, revision)
    if copy is None:
        why = f"{_reason(error)}; a copy on disk needs no network: --task ./FOLDER"
        raise RerankBenchError(f"cannot reach the hub for {dataset}: {why}") from error
    return DataSet(LocalFiles(copy), Source("hub", dataset, revision=copy.name))


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
