"""Build a pool from a profile's name: find or compute ranked lists, cut them, add safeguards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..tasks import Note, Task
from .bm25 import rank_by_bm25
from .dense import Encoder, default_model, rank_by_vectors
from .fusion import SOURCE_DEPTH, fuse
from .identical import own_documents
from .pool import EncoderPrompt, Pool, PoolOptions, PoolRow, fingerprint
from .poolfile import SHIPPED_LIMITS, check_ids, read_ranked
from .profiles import Profile, check_profile, parse_profile
from .runfile import Ranked
from .safeguard import draw, shipped_safeguard

HYBRID = "reranking_hybrid"
_NOT_DENSE = ("bm25", "splade", "rrf", "hybrid", "reranking")


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
    check_profile(profile, task.shipped, kind=f"profile of task {task.name}")
    source = _source(task, parse_profile(profile), options)
    own = own_documents(task)
    excluded: Mapping[str, frozenset[str]] = own if task.exclude_identical else {}
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


def _source(task: Task, profile: Profile, options: PoolOptions) -> _Source:
    if profile.sources:
        return _fused(task, profile.sources, options)
    if profile.argument is None:
        return _named(task, profile.name, options)
    return _computed(task, profile, options)


def _named(task: Task, name: str, options: PoolOptions) -> _Source:
    """Return a shipped list by its config's name, or what an alias means for this task."""
    if name in task.shipped:
        return _shipped(task, name, options)
    if name == "hybrid":
        if HYBRID in task.shipped:
            return _shipped(task, HYBRID, options)
        return _fused(task, (Profile("bm25"), Profile("dense")), options)
    if name == "dense":
        dense = [name for name in task.shipped if not name.lower().startswith(_NOT_DENSE)]
        if task.dense is not None and task.dense in task.shipped:
            dense = [task.dense]
        if len(dense) == 1:
            return _shipped(task, dense[0], options)
    return _computed(task, Profile(name, ""), options)


def _shipped(task: Task, name: str, options: PoolOptions) -> _Source:
    lists = {q: [(d, None) for d in found] for q, found in task.shipped[name]().items()}
    if not options.keep_going:
        check_ids(f"shipped list {name}", lists, task, limits=SHIPPED_LIMITS)
    return _Source(name, "shipped", {q: lists.get(q, ()) for q in task.queries})


def _fused(task: Task, profiles: Iterable[Profile], options: PoolOptions) -> _Source:
    sources = tuple(_source(task, profile, options) for profile in profiles)
    ranked = {}
    for query_id in task.queries:
        # without their safeguards, which would leak a judgement into the fusion
        lists = [_without_safeguard(task, source, query_id)[0] for source in sources]
        ranked[query_id] = fuse([[d for d, _ in found] for found in lists], task.corpus)
    name = f"rrf({','.join(source.resolved for source in sources)})"
    return _Source(name, "computed", ranked, sources)


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


def _computed(task: Task, profile: Profile, options: PoolOptions) -> _Source:
    if profile.name == "run":
        path = Path(profile.argument or "").expanduser()
        found = read_ranked(path, task=task, keep_going=options.keep_going)
        return _Source(str(profile), "file", found.ranked, notes=found.notes)
    # a query's own documents may be removed: rank as many more to take their places
    own = max(map(len, own_documents(task).values()), default=0) if task.exclude_identical else 0
    depth = max(options.depth + own, SOURCE_DEPTH)
    if profile.name == "bm25":
        ranked = rank_by_bm25(task.queries, task.corpus, language=task.language, depth=depth)
        return _Source("bm25()", "computed", ranked)
    encoder = Encoder(profile.argument or default_model(), options)
    ranked = rank_by_vectors(task.queries, task.corpus, encoder=encoder, depth=depth)
    return _Source(f"dense({encoder.name})", "computed", ranked, prompts=encoder.prompts)


def _row(
    task: Task, source: _Source, query_id: str, excluded: frozenset[str], options: PoolOptions
) -> PoolRow:
    """Cut a list to its pool: remove the safeguard and own documents, cut, add a safeguard."""
    ranking, given = _without_safeguard(task, source, query_id)
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
    task: Task,
    leaves: Sequence[_Source],
    rows: Sequence[PoolRow],
    own: Mapping[str, frozenset[str]],
    bare: list[str],
) -> dict[str, Note]:
    ranked = [(q, d) for leaf in leaves for q in task.queries for d, _ in leaf.ranked.get(q, ())]
    found: dict[str, Iterable[str]] = {
        "candidates missing from the corpus": (d for _, d in ranked if d not in task.corpus),
        "queries without a candidate": (row.query_id for row in rows if not row.natural),
        "queries with their own document in the pool": (
            row.query_id for row in rows if not own.get(row.query_id, set()).isdisjoint(row.doc_ids)
        ),
        "ranked queries that the task does not have": (
            q for leaf in leaves for q in leaf.ranked if q not in task.queries
        ),
        "dense models without a known prompt, given the bare texts": bare,
    }
    notes = {}
    for name, ids in found.items():
        unique = tuple(dict.fromkeys(ids))
        if unique:
            notes[name] = Note(len(unique), unique[:5])
    return {**notes, **{name: note for leaf in leaves for name, note in leaf.notes.items()}}
