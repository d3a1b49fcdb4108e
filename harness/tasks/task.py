"""The nouns of a task: queries, corpus and judgements under one name, and where they came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import BadOption, unknown
from .languages import check_pattern


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was counted and not fatal: how often, and the first five ids."""

    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Where a task's data were read.

    `kind` is `hub`, `folder`, `beir` or `stdlib-code`; `dataset` is the hub id, or the folder as
    the user gave it; `revision` is the hub commit, the Python version for `stdlib-code`, else None.
    `sha256` covers ids, texts and grades of all that was read, in sorted order.
    """

    kind: str
    dataset: str
    revision: str | None = None
    sha256: str = ""


class Shipped(Protocol):
    """Candidate lists that come with a data set."""

    def names(self) -> tuple[str, ...]:
        """Return the configs that hold candidate lists for this task."""
        ...

    def columns(self) -> Sequence[str]:
        """Return the columns of these configs."""
        ...

    def load(self, config: str) -> Mapping[str, tuple[str, ...]]:
        """Return query id -> document ids, best first; raise UnknownName or BadData."""
        ...


@dataclass(frozen=True, slots=True)
class NoLists:
    """The lists of a data set that ships none."""

    def names(self) -> tuple[str, ...]:
        """Return nothing: there are no lists."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """Return nothing: there are no lists."""
        return ()

    def load(self, config: str) -> Mapping[str, tuple[str, ...]]:
        """Raise UnknownName: there is nothing to load."""
        raise unknown("candidate list", config, ())


@dataclass(frozen=True)
class Task:
    """Queries, corpus and qrels under one name; ids are strings, mappings keep file order.

    `queries` holds only those with a positive; `corpus` keeps empty documents; `qrels` holds every
    judgement of the kept queries, of documents outside the corpus and of grade 0 too. `split` is
    the name on disk, which seeds the safeguard. `published` maps profile -> measure -> value as the
    catalogue cites them, under `convention` (`binary`, or empty for linear gains), `dense` names
    the catalogue's shipped dense list. With `exclude_identical` a query's own document is taken out
    of its pool, found by `identical_by`: `text` or `id`. `query_bases` names the question of each
    query, where some are versions of one question.
    """

    name: str
    split: str
    queries: Mapping[str, str]
    corpus: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    source: Source
    shipped: Shipped = field(default_factory=NoLists)
    min_grade: int = 1
    language: str | None = None
    query_languages: Mapping[str, str] = field(default_factory=dict)
    query_bases: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None
    exclude_identical: bool = False
    identical_by: str = "text"
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    convention: str = ""
    notes: Mapping[str, Note] = field(default_factory=dict)
    dense: str | None = None

    def positives(self, query_id: str) -> frozenset[str]:
        """Return the documents of grade >= `min_grade`, also those outside the corpus."""
        graded = self.qrels[query_id].items()
        return frozenset(doc_id for doc_id, grade in graded if grade >= self.min_grade)


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How to read a task.

    `revision` pins a hub data set; `qrels` is a qrels config, or the path of a TREC qrels file;
    `min_grade` is the lowest grade that counts as positive; `exclude_identical` None means what
    the catalogue says; `query_id` is a regular expression whose groups `language` and `base` find
    these in a query's id; columns named in `ignore_column` are treated as if they were not there;
    with `keep_going` a task is loaded although ids do not match.
    """

    revision: str | None = None
    qrels: str = "qrels"
    min_grade: int = 1
    exclude_identical: bool | None = None
    query_id: str | None = None
    ignore_column: Sequence[str] = ()
    keep_going: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "ignore_column", tuple(self.ignore_column))
        check_pattern(self.query_id)
        grade: object = self.min_grade
        if not isinstance(grade, int) or isinstance(grade, bool) or grade < 1:
            raise BadOption(f"min-grade must be a whole number of at least 1, not {grade!r}")


@dataclass(frozen=True, slots=True)
class TaskRef:
    """A task that exists, not yet read: its full name, and what reads it."""

    name: str
    load: Callable[[], Task]
