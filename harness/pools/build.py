"""Build a pool from a profile's name: find or compute ranked lists, cut them, add safeguards."""

from __future__ import annotations

import random
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadOption
from ..tasks import CANDIDATES, MISMATCH_LIMIT, Note, Task, check_query_ids, mismatch
from .bm25 import rank_by_bm25
from .dense import Encoder, default_model, rank_by_vectors
from .identical import own_documents
from .lists import ScoredLists
from .pool import DEPTH, NO_ORDER, EncoderPrompt, Pool, PoolOptions, PoolRow, fingerprint
from .profiles import Profile, check_profile
from .runfile import Ranked, read_ranked

HYBRID = "reranking_hybrid"
SOURCE_DEPTH, RANK_CONSTANT = 500, 100  # of HAKARI-Bench's fusion
SEED = 20260524  # of HAKARI-Bench's safeguards
_NOT_DENSE = (CANDIDATES, "bm25", "splade", "rrf", "hybrid", "reranking")


_FILE_LIMITS = (MISMATCH_LIMIT, 0.5)
_SHIPPED_LIMITS = (0.9, 0.9)
"""Largest shares of queries and of ranked documents whose ids may match nothing in the task.

A list that a data set ships may have been made for a larger corpus or for fewer queries.
"""


@dataclass(frozen=True)
class _Source:
    """Ranked lists that are longer than a pool.

    resolved, origin: as in `Pool`.
    parts: the sources of a fusion.
    notes: what was counted in a file.
    prompts: the prompts before queries and documents of a dense model.
    """

    resolved: str
    origin: str
    ranked: Ranked
    parts: tuple[_Source, ...] = ()
    notes: Mapping[str, Note] = field(default_factory=dict)
    prompts: tuple[EncoderPrompt, EncoderPrompt] | None = None

    def leaves(self) -> Iterator[_Source]:
        """Yield every source that was read or computed, in place of the fusions of them."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()


def build_pool(task: Task, profile: str, options: PoolOptions | None = None) -> Pool:
    """Build the pool of `task` under `profile`.

    Raises UnknownName for a list that the data set does not ship, BadData for a broken list, and
    what the profile's model raises.
    """
    options = options or PoolOptions()
    parsed = check_profile(profile, task.shipped, kind=f"profile of task {task.name}")
    own = own_documents(task)
    excluded: Mapping[str, frozenset[str]] = own if task.exclude_identical else {}
    # a query's own documents may be removed: rank as many more to take their places
    depth = options.depth + max(map(len, excluded.values()), default=0)
    source = _source(task, parsed, options, depth)
    rows = tuple(_row(task, source, q, excluded.get(q, frozenset()), options) for q in task.queries)
    prompts = {leaf.resolved: leaf.prompts for leaf in source.leaves() if leaf.prompts is not None}
    bare = [model for model, pair in prompts.items() if not any(prompt.source for prompt in pair)]
    return Pool(
        task=task.name,
        profile=profile,
        resolved=source.resolved,
        origin=source.origin,
        depth=options.depth,
        rows=rows,
        sha256=fingerprint(rows),
        notes=_notes(task, list(source.leaves()), rows, own, bare),
        prompts=prompts,
    )


def _source(task: Task, profile: Profile, options: PoolOptions, depth: int) -> _Source:
    """Return what a profile names; lists that are computed are cut at `depth`."""
    if profile.sources:
        return _fused(task, profile.sources, options, depth)
    if profile.argument is None:
        return _named(task, profile.name, options, depth)
    return _computed(task, profile, options, depth)


def _named(task: Task, name: str, options: PoolOptions, depth: int) -> _Source:
    """Return a shipped list by its config's name, or what an alias means for this task."""
    if name in task.shipped:
        return _shipped(task, name, options)
    if name == "hybrid":
        if HYBRID in task.shipped:
            return _shipped(task, HYBRID, options)
        return _fused(task, (Profile("bm25"), Profile("dense")), options, depth)
    if name == "dense":
        dense = [n for n in task.shipped if not n.lower().startswith(_NOT_DENSE)]
        if task.dense is not None and task.dense in task.shipped:
            dense = [task.dense]
        if len(dense) == 1:
            return _shipped(task, dense[0], options)
    return _computed(task, Profile(name, ""), options, depth)


def _shipped(task: Task, name: str, options: PoolOptions) -> _Source:
    lists = task.shipped[name]()
    if not options.keep_going:
        _check_ids(f"shipped list {name}", ScoredLists(lists), task, limits=_SHIPPED_LIMITS)
    origin = NO_ORDER if name == CANDIDATES else "shipped"
    return _Source(name, origin, ScoredLists({q: lists.get(q, ()) for q in task.queries}))


def _check_ids(what: str, ranked: Ranked, task: Task, *, limits: tuple[float, float]) -> None:
    """Raise BadData if too many ranked queries or documents are not the task's.

    what: the source of the lists.
    limits: largest shares of the task's queries and of the ranked documents that may match nothing.
    """
    where, size = f"task {task.name}", len(task.queries)
    check_query_ids(what, ranked, task.queries, where, limit=limits[0] * size)
    found = [doc_id for query_id in task.queries for doc_id, _ in ranked.get(query_id, ())]
    outside = [doc_id for doc_id in found if doc_id not in task.corpus]
    if len(outside) > limits[1] * len(found):
        counts = f"{len(outside)} of {len(found)} ranked documents"
        what = f"{what}: {counts} are not in the corpus of {task.name}"
        raise mismatch(what, outside, task.corpus)


def _fused(task: Task, profiles: Iterable[Profile], options: PoolOptions, depth: int) -> _Source:
    sources = tuple(_source(task, profile, options, SOURCE_DEPTH) for profile in profiles)
    if any(source.origin == NO_ORDER for source in sources):
        raise BadOption(f"{CANDIDATES} of task {task.name} are in no order and cannot be fused")
    doc_ids: dict[str, tuple[str, ...]] = {}
    scores: dict[str, array[float]] = {}
    for query_id in task.queries:
        # without their safeguards, which would leak a judgement into the fusion
        lists = [_without_safeguard(task, source, query_id)[0] for source in sources]
        ranked = fuse([[d for d, _ in found] for found in lists], task.corpus)[:depth]
        doc_ids[query_id] = tuple(doc_id for doc_id, _ in ranked)
        scores[query_id] = array("d", (score for _, score in ranked))
    name = f"rrf({','.join(source.resolved for source in sources)})"
    return _Source(name, "computed", ScoredLists(doc_ids, scores), sources)


def fuse(sources: Sequence[Sequence[str]], corpus: Container[str]) -> list[tuple[str, float]]:
    """Fuse lists by reciprocal rank (Cormack, Clarke & Büttcher 2009) to (document id, score).

    The best document is first. Each source adds 1/(100 + rank) for its first 500 documents, in the
    order of `sources`. A document that the corpus lacks counts in the ranks and is left out. Equal
    scores are ordered by the best rank in any source, then by document id.
    """
    score: dict[str, float] = {}
    best: dict[str, int] = {}
    for source in sources:
        for rank, doc_id in enumerate(source[:SOURCE_DEPTH], start=1):
            if doc_id in corpus:
                score[doc_id] = score.get(doc_id, 0.0) + 1 / (RANK_CONSTANT + rank)
                best[doc_id] = min(rank, best.get(doc_id, rank))
    return sorted(score.items(), key=lambda item: (-item[1], best[item[0]], item[0]))


def _without_safeguard(
    task: Task, source: _Source, query_id: str
) -> tuple[Sequence[tuple[str, float | None]], str | None]:
    """Return a source's list without the safeguard that it was shipped with, and the safeguard.

    Any grade over 0 was a positive when the list was made, so a safeguard of too low a grade for
    `min_grade` is recognised too.
    """
    ranking = source.ranked.get(query_id, ())
    if source.origin != "shipped":
        return ranking, None
    doc_ids, size = [doc_id for doc_id, _ in ranking], len(task.corpus)
    relevant = frozenset(d for d, grade in task.qrels[query_id].items() if grade > 0)
    for positives in (task.positives(query_id), relevant):
        found = shipped_safeguard(doc_ids, positives, corpus_size=size)
        if found is not None:
            return ranking[:-1], found
    return ranking, None


def shipped_safeguard(
    doc_ids: Sequence[str], positives: frozenset[str], *, corpus_size: int
) -> str | None:
    """Return the safeguard at the end of a shipped list, None if it has none.

    It has one if it is one longer than min(100, corpus) and its only positive is the last document.
    The 100 is the depth of the published lists, whatever depth the user asks for.
    """
    if len(doc_ids) != min(DEPTH, corpus_size) + 1:
        return None
    found = [doc_id for doc_id in doc_ids if doc_id in positives]
    return doc_ids[-1] if found == [doc_ids[-1]] else None


def _computed(task: Task, profile: Profile, options: PoolOptions, depth: int) -> _Source:
    if profile.name == "run":
        return _from_file(task, profile, options)
    if profile.name == "bm25":
        ranked = rank_by_bm25(task.queries, task.corpus, language=task.language, depth=depth)
        return _Source("bm25()", "computed", ranked)
    encoder = Encoder(profile.argument or default_model(), options)
    ranked, notes = rank_by_vectors(task.queries, task.corpus, encoder=encoder, depth=depth)
    return _Source(f"dense({encoder.name})", "computed", ranked, (), notes, encoder.prompts)


def _from_file(task: Task, profile: Profile, options: PoolOptions) -> _Source:
    path = Path(profile.argument or "").expanduser()
    ranked, notes = read_ranked(path, task.name)
    if ranked.keys().isdisjoint(task.queries):
        what = f"first stage {path} ranks no query of task {task.name}"
        raise mismatch(what, ranked, task.queries, cure="write the ids alike")
    if not options.keep_going:
        _check_ids(f"first stage {path}", ranked, task, limits=_FILE_LIMITS)
    return _Source(str(profile), "file", ranked, notes=notes)


def _row(
    task: Task, source: _Source, query_id: str, excluded: frozenset[str], options: PoolOptions
) -> PoolRow:
    """Cut a list to its pool: remove the safeguard and own documents, cut, add a safeguard."""
    ranking, given = _without_safeguard(task, source, query_id)
    kept = [(d, s) for d, s in ranking if d in task.corpus and d not in excluded]
    if source.origin != NO_ORDER:  # what is in no order has no first documents
        kept = kept[: options.depth]
    positives = (task.positives(query_id) & task.corpus.keys()) - excluded
    doc_ids = tuple(doc_id for doc_id, _ in kept)
    safeguard = None
    if positives and positives.isdisjoint(doc_ids):
        again = given if given in positives and not excluded else None
        safeguard = again or draw_safeguard(positives, split=task.split, query_id=query_id)
    scores = tuple(score for _, score in kept if score is not None)
    return PoolRow(
        query_id,
        doc_ids if safeguard is None else (*doc_ids, safeguard),
        safeguard,
        scores if kept and len(scores) == len(kept) else None,
    )


def draw_safeguard(positives: Iterable[str], *, split: str, query_id: str) -> str:
    """Return one of `positives`, the same for equal split and query."""
    generator = random.Random(f"{SEED}\0{split}\0{query_id}\0positive_safeguard")
    return generator.choice(sorted(positives))


def _notes(
    task: Task,
    leaves: Sequence[_Source],
    rows: Sequence[PoolRow],
    own: Mapping[str, frozenset[str]],
    bare: list[str],
) -> dict[str, Note]:
    found: dict[str, Iterable[str]] = {
        "candidates missing from the corpus": (
            doc_id
            for leaf in leaves
            for query_id in task.queries
            for doc_id, _ in leaf.ranked.get(query_id, ())
            if doc_id not in task.corpus
        ),
        "queries without a candidate": (row.query_id for row in rows if not row.natural),
        "queries with their own document in the pool": (
            row.query_id for row in rows if not own.get(row.query_id, set()).isdisjoint(row.doc_ids)
        ),
        "ranked queries that the task does not have": (
            q for leaf in leaves for q in leaf.ranked if q not in task.queries
        ),
        "dense models without a known prompt, given the bare texts": bare,
    }
    unique = {name: dict.fromkeys(ids) for name, ids in found.items()}
    notes = {name: Note.of(ids) for name, ids in unique.items() if ids}
    return {**notes, **{name: note for leaf in leaves for name, note in leaf.notes.items()}}
