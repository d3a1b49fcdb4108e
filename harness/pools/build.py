"""From a profile's name to a pool: find or make the lists, cut them, and decide the safeguards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..tasks import Note, Task
from .bm25 import rank_by_bm25
from .dense import Encoder, default_model, rank_by_vectors
from .fusion import SOURCE_DEPTH, fuse
from .identical import own_documents
from .matching import OF_A_SHIPPED_LIST, check_ids
from .pool import Pool, PoolOptions, PoolRow, Sent, fingerprint
from .poolfile import read_ranked
from .profiles import Call, Fused, Named, Profile, check_profile, parse_profile
from .safeguard import draw, shipped_safeguard

HYBRID = "reranking_hybrid"
_NOT_DENSE = ("bm25", "splade", "rrf", "hybrid", "reranking")

Ranking = Sequence[tuple[str, float | None]]


@dataclass(frozen=True)
class _Source:
    """Ranked lists by query id, deeper than a pool, and what they are.

    parts: the sources of a fusion, whose own lists say what it had to leave out.
    notes: what was counted in a file.
    prompts: what a dense model's queries and documents began with.
    """

    resolved: str
    origin: str
    ranked: Mapping[str, Ranking]
    parts: tuple[_Source, ...] = ()
    notes: Mapping[str, Note] = field(default_factory=dict)
    prompts: tuple[Sent, Sent] | None = None


def build_pool(task: Task, profile: str, options: PoolOptions | None = None) -> Pool:
    """Build the pool of `task` under `profile`.

    Raises UnknownName for a list that the data set does not ship, BadData for a broken one, and
    what the profile's model raises.
    """
    options = options or PoolOptions()
    check_profile(profile, task.shipped.names(), kind=f"profile of task {task.name}")
    source = _source(task, parse_profile(profile), options)
    own = own_documents(task)
    excluded: Mapping[str, frozenset[str]] = own if task.exclude_identical else {}
    rows = tuple(_row(task, source, q, excluded.get(q, frozenset()), options) for q in task.queries)
    return Pool(
        task=task.name,
        profile=profile,
        resolved=source.resolved,
        origin=source.origin,
        depth=options.depth,
        rows=rows,
        sha256=fingerprint(rows),
        notes=_notes(task, source, rows, own),
        prompts=_prompts(source),
    )


def _source(task: Task, profile: Profile, options: PoolOptions) -> _Source:
    if isinstance(profile, Named):
        return _named(task, profile.name, options)
    if isinstance(profile, Fused):
        return _fused(task, profile.sources, options)
    return _computed(task, profile, options)


def _named(task: Task, name: str, options: PoolOptions) -> _Source:
    """A shipped list by its config's name, or what an alias stands for in this task."""
    shipped = task.shipped.names()
    if name in shipped:
        return _shipped(task, name, options)
    if name == "hybrid":
        if HYBRID in shipped:
            return _shipped(task, HYBRID, options)
        return _fused(task, (Named("bm25"), Named("dense")), options)
    if name == "dense":
        dense = [task.dense] if task.dense in shipped else [n for n in shipped if _is_dense(n)]
        if len(dense) == 1 and dense[0] is not None:
            return _shipped(task, dense[0], options)
    return _computed(task, Call(name), options)


def _is_dense(config: str) -> bool:
    return not config.lower().startswith(_NOT_DENSE)


def _shipped(task: Task, name: str, options: PoolOptions) -> _Source:
    lists = {q: [(d, None) for d in found] for q, found in task.shipped.load(name).items()}
    if not options.keep_going:
        check_ids(f"shipped list {name}", lists, task, limits=OF_A_SHIPPED_LIST)
    return _Source(name, "shipped", {q: lists.get(q, ()) for q in task.queries})


def _fused(task: Task, profiles: Iterable[Profile], options: PoolOptions) -> _Source:
    sources = [_source(task, profile, options) for profile in profiles]
    ranked = {
        query_id: fuse([_found(task, source, query_id) for source in sources], task.corpus)
        for query_id in task.queries
    }
    name = f"rrf({','.join(source.resolved for source in sources)})"
    return _Source(name, "computed", ranked, tuple(sources))


def _found(task: Task, source: _Source, query_id: str) -> list[str]:
    """The document ids of a source, without a shipped safeguard: that would leak a judgement."""
    doc_ids = [doc_id for doc_id, _ in source.ranked.get(query_id, ())]
    given = _given_safeguard(task, source, query_id)
    return doc_ids if given is None else doc_ids[:-1]


def _given_safeguard(task: Task, source: _Source, query_id: str) -> str | None:
    """The safeguard that a shipped list ends in, None if it has none.

    Its maker took any grade over 0 for a positive: under a higher `min_grade` too its document was
    placed by a judgement.
    """
    if source.origin != "shipped":
        return None
    doc_ids = [doc_id for doc_id, _ in source.ranked.get(query_id, ())]
    relevant = frozenset(d for d, grade in task.qrels[query_id].items() if grade > 0)
    size = len(task.corpus)
    found = shipped_safeguard(doc_ids, task.positives(query_id), corpus_size=size)
    return found or shipped_safeguard(doc_ids, relevant, corpus_size=size)


def _computed(task: Task, call: Call, options: PoolOptions) -> _Source:
    # a query's own documents may be taken out: as many more stand by to fill their places
    own = max(map(len, own_documents(task).values()), default=0) if task.exclude_identical else 0
    depth = max(options.depth + own, SOURCE_DEPTH)
    if call.name == "run":
        path = Path(call.argument).expanduser()
        found = read_ranked(path, task=task, keep_going=options.keep_going)
        return _Source(str(call), "file", found.ranked, notes=found.notes)
    if call.name == "bm25":
        near = rank_by_bm25(task.queries, task.corpus, language=task.language, depth=depth)
        return _Source("bm25()", "computed", near)
    encoder = Encoder(call.argument or default_model(), options)
    near = rank_by_vectors(task.queries, task.corpus, encoder=encoder, depth=depth)
    return _Source(f"dense({encoder.name})", "computed", near, prompts=encoder.prompts)


def _row(
    task: Task, source: _Source, query_id: str, excluded: frozenset[str], options: PoolOptions
) -> PoolRow:
    """Cut a list to its pool: safeguard off, own document out, refill, cut, safeguard anew."""
    ranking = source.ranked.get(query_id, ())
    given = _given_safeguard(task, source, query_id)
    if given is not None:
        ranking = ranking[:-1]
    kept = [(d, s) for d, s in ranking if d in task.corpus and d not in excluded][: options.depth]
    positives = (task.positives(query_id) & task.corpus.keys()) - excluded
    doc_ids = tuple(doc_id for doc_id, _ in kept)
    safeguard = None
    if positives and positives.isdisjoint(doc_ids):
        again = given if given in positives and not excluded else None
        safeguard = again or draw(positives, split=task.split, query_id=query_id)
    scores = tuple(score for _, score in kept if score is not None)
    return PoolRow(
        query_id,
        doc_ids if safeguard is None else (*doc_ids, safeguard),
        safeguard,
        scores if kept and len(scores) == len(kept) else None,
    )


def _notes(
    task: Task, source: _Source, rows: Sequence[PoolRow], own: Mapping[str, frozenset[str]]
) -> dict[str, Note]:
    leaves = list(_leaves(source))
    lists = [leaf.ranked for leaf in leaves]
    bare = [model for model, sent in _prompts(source).items() if not any(s.source for s in sent)]
    missing = dict.fromkeys(
        d for s in lists for q in task.queries for d, _ in s.get(q, ()) if d not in task.corpus
    )
    empty = [row.query_id for row in rows if not row.natural]
    selves = [
        row.query_id
        for row in rows
        if not own.get(row.query_id, frozenset()).isdisjoint(row.doc_ids)
    ]
    unknown = dict.fromkeys(q for s in lists for q in s if q not in task.queries)
    found = {
        "candidates missing from the corpus": list(missing),
        "queries without a candidate": empty,
        "queries with their own document in the pool": selves,
        "ranked queries that the task does not have": list(unknown),
        "dense models without a known prompt, given the bare texts": bare,
    }
    counted = {name: Note(len(ids), tuple(ids[:5])) for name, ids in found.items() if ids}
    return {**counted, **{name: note for s in leaves for name, note in s.notes.items()}}


def _leaves(source: _Source) -> Iterator[_Source]:
    """Every source that was read or computed, those behind a fusion in its place."""
    if not source.parts:
        yield source
    for part in source.parts:
        yield from _leaves(part)


def _prompts(source: _Source) -> dict[str, tuple[Sent, Sent]]:
    return {leaf.resolved: leaf.prompts for leaf in _leaves(source) if leaf.prompts is not None}
