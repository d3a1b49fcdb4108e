"""Define a task, where its data come from, and the options it is read with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..errors import BadOption, unknown
from .languages import check_pattern

HUGGING_FACE, MODELSCOPE = HUB_NAMES = ("huggingface", "modelscope")

RankedLists = Mapping[str, tuple[str, ...]]
"""Query id -> document ids, best first."""


MAIN_MEASURE = "nDCG@10"

QRELS = "qrels"
"""The usual config of judgements; `default` takes its place in MTEB's layout."""

CANDIDATES = "candidates"
"""The profile of the candidates that a data set ships in no order."""


def in_hash_order(lists: Mapping[str, Sequence[str]]) -> RankedLists:
    """Return each query's documents by the sha256 of query id and document id.

    Some reranking tasks list positives first (github.com/embeddings-benchmark/mteb/issues/5092), so
    that a reranker whose scores are all equal would look perfect.
    """

    def key(query_id: str, doc_id: str) -> bytes:
        return hashlib.sha256(f"{query_id}\0{doc_id}".encode()).digest()

    return {q: tuple(sorted(docs, key=partial(key, q))) for q, docs in lists.items()}


@dataclass(frozen=True, slots=True)
class Note:
    """A count of something unusual that is not an error, and up to five examples of it."""

    count: int
    examples: tuple[str, ...] = ()

    @classmethod
    def of(cls, ids: Collection[str]) -> Note:
        """Return the number of `ids`, with five different ones as examples."""
        return cls(len(ids), tuple(dict.fromkeys(ids))[:5])


@dataclass(frozen=True, slots=True)
class Source:
    """Describe where a task's data were read.

    kind: `hub`, `modelscope`, `mteb`, `folder`, `beir` or `stdlib-code`.
    dataset: the hub id, or the folder as the user wrote it.
    revision: the hub commit, or the Python version for `stdlib-code`.
    sha256: hex digest of all ids, texts and grades that were read, in sorted order.
    """

    kind: str
    dataset: str
    revision: str | None = None
    sha256: str = ""


@dataclass(frozen=True)
class Task:
    """Queries, corpus and qrels under one name; mappings keep the order of the files.

    name: `SET/TASK`.
    split: the split's name on disk, which seeds the safeguard.
    queries: query id -> text, of queries with at least one positive.
    corpus: document id -> text; empty documents are kept.
    qrels: query id -> document id -> grade, also of grade 0 and of documents outside the corpus.
    shipped: config -> function that reads the candidate lists that the data set ships; those of
        CANDIDATES are in no order.
    min_grade: lowest grade of a positive.
    query_bases: query id -> question, where several queries are versions of one question.
    exclude_identical: remove a query's own document from its pool.
    identical_by: `text` or `id`, which identifies a query's own document.
    published: profile -> measure -> value, as cited in the catalogue.
    convention: gains of the published nDCG: `binary`, or empty for linear gains.
    main_measure: the measure that the task's makers report: `nDCG@10` if it is not known, None if
        it is not computed here.
    main_score: MTEB's own name of that measure, such as `p-MRR`, of a task of MTEB's.
    notes: what was counted -> how often.
    dense: config of the shipped dense list that the catalogue names.
    """

    name: str
    split: str
    queries: Mapping[str, str]
    corpus: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    source: Source
    shipped: Mapping[str, Callable[[], RankedLists]] = field(default_factory=dict)
    min_grade: int = 1
    language: str | None = None
    query_languages: Mapping[str, str] = field(default_factory=dict)
    query_bases: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None
    exclude_identical: bool = False
    identical_by: str = "text"
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    convention: str = ""
    main_measure: str | None = MAIN_MEASURE
    main_score: str | None = None
    notes: Mapping[str, Note] = field(default_factory=dict)
    dense: str | None = None

    def positives(self, query_id: str) -> frozenset[str]:
        """Return the documents of grade >= `min_grade`, also those outside the corpus."""
        graded = self.qrels[query_id].items()
        return frozenset(doc_id for doc_id, grade in graded if grade >= self.min_grade)


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """Options for reading a task.

    hub: `huggingface` or `modelscope`, on which data sets are found.
    revision: branch, tag or commit of a hub data set.
    qrels: a qrels config, or the path of a TREC qrels file; None means `qrels` or `default`,
        whichever the data set has.
    min_grade: lowest grade of a positive.
    exclude_identical: remove a query's own document from its pool; None means as in the catalogue.
    query_id: regular expression whose groups `language` and `base` are matched in query ids.
    ignore_column: names of columns to read the data without.
    keep_going: load a task even if the ids of its files do not match.
    """

    hub: str = HUGGING_FACE
    revision: str | None = None
    qrels: str | None = None
    min_grade: int = 1
    exclude_identical: bool | None = None
    query_id: str | None = None
    ignore_column: Sequence[str] = ()
    keep_going: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "ignore_column", tuple(self.ignore_column))
        check_pattern(self.query_id)
        if self.hub not in HUB_NAMES:
            raise unknown("hub", self.hub, HUB_NAMES)
        grade: object = self.min_grade
        if not isinstance(grade, int) or isinstance(grade, bool) or grade < 1:
            raise BadOption(f"min-grade must be a whole number of at least 1, not {grade!r}")

    @property
    def judgements(self) -> str:
        """The name of the judgements, which a run records."""
        return self.qrels or QRELS


@dataclass(frozen=True, slots=True)
class TaskRef:
    """The full name of a task that exists, and the function that reads it."""

    name: str
    load: Callable[[], Task]
