"""Any reranker as a model of mteb (https://github.com/embeddings-benchmark/mteb).

    task = mteb.get_task("CovidRetrieval").convert_to_reranking("predictions/", top_k=100)
    mteb.evaluate(Reranked("listwise", model="Qwen/Qwen3-4B", first_stage="bm25"), task)

mteb hands a cross-encoder single pairs; a model that searches is handed each query's whole list,
which listwise methods need. So this one has `search`, and no `predict`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BadData
from ..evaluation import strictly_descending
from ..report import mteb_revision
from ..reranking import open_reranker
from ..tasks import RankedLists, in_hash_order, require_mteb
from ..types import Engine, Reranker
from .task import candidates_of, rerank_task

if TYPE_CHECKING:
    from mteb.models import ModelMeta

logger = logging.getLogger(__name__)


class Reranked:
    """A reranker that `mteb.evaluate` takes as a model; see `SearchProtocol` of mteb.

    reranker: a name as on the command line, or an object with `rerank(candidates)`.
    engine: a name, or an open engine, which stays open.
    model, options: as `rerank_bench.rerank` takes them.
    first_stage: named in `experiment_kwargs`, without which mteb would take the result after
        another first stage for this one's.
    exclude_identical: leave out a candidate whose id is that of the query; None as mteb's task of
        that name says (`ignore_identical_ids`), which scores without it in any case.

    Documents of equal score keep the order of the first stage: the scores that mteb gets have no
    ties. Without `first_stage` the candidates of a task of type Reranking are those it ships, which
    are in no order and may have the answers first, so they are given in an order by a hash of query
    and document. A query without candidates counts as 0.
    """

    def __init__(
        self,
        reranker: str | Reranker,
        *,
        engine: str | Engine | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        first_stage: str | None = None,
        exclude_identical: bool | None = None,
    ) -> None:
        self.first_stage, self.exclude_identical = first_stage, exclude_identical
        self._open = open_reranker(reranker, engine, model, options)
        self._corpus: dict[str, str] = {}

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """The description under which mteb stores results; MissingExtra without mteb."""
        require_mteb("Reranked")
        from mteb.models import ModelMeta

        identity = self._open.engine.identity
        known = {"first_stage": self.first_stage} if self.first_stage else None
        return ModelMeta.create_empty(
            {
                "name": f"rerank-bench/{self._open.choice.label}",
                "revision": mteb_revision(identity),
                "adapted_from": identity.get("model"),
                "model_type": ["cross-encoder"],
                "experiment_kwargs": known,
            }
        )

    def close(self) -> None:
        """Close the engine, unless it was open before."""
        self._open.close()

    def index(self, corpus: Sequence[Mapping[str, Any]], **_: Any) -> None:
        """Keep the texts of the documents."""
        self._corpus = {row["id"]: _document(row) for row in corpus}

    def search(
        self,
        queries: Sequence[Mapping[str, Any]],
        *,
        task_metadata: Any,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **_: Any,
    ) -> dict[str, dict[str, float]]:
        """Return the scores of each query's candidates; BadData where there are none."""
        name = task_metadata.name
        if top_ranked is None:
            cure = "call task.convert_to_reranking(predictions, top_k=100) first"
            raise BadData(f"mteb's task {name} has no candidates to rerank; {cure}")
        texts = {row["id"]: _query(name, row) for row in queries}
        lists = self._candidates(task_metadata, {q: top_ranked.get(q, ()) for q in texts})
        asked = {query_id: texts[query_id] for query_id, doc_ids in lists.items() if doc_ids}
        if len(asked) < len(texts):
            left = [query_id for query_id in texts if query_id not in asked]
            text = "mteb's task %s: %d of %d queries have no candidates and count as 0, such as %s"
            logger.warning(text, name, len(left), len(texts), left[0])
        task, pool = candidates_of(name, asked, self._corpus, lists)
        found: dict[str, dict[str, float]] = {query_id: {} for query_id in texts}
        for result in rerank_task(task, pool, self._open.choice, self._open.engine):
            scores = strictly_descending(result.scores)
            found[result.query_id] = dict(zip(result.doc_ids, scores, strict=True))
        return found

    def _candidates(self, about: Any, given: Mapping[str, Sequence[str]]) -> RankedLists:
        """Return the candidates to be reranked in the order they are given in."""
        lists = {query_id: tuple(doc_ids) for query_id, doc_ids in given.items()}
        if lists and not any(lists.values()):
            raise BadData(
                f"mteb's task {about.name} has no candidates for query {next(iter(lists))}"
            )
        own = any(query_id in doc_ids for query_id, doc_ids in lists.items())
        if own and self._excludes(about.name):
            lists = {q: tuple(d for d in doc_ids if d != q) for q, doc_ids in lists.items()}
        is_shipped = "Reranking" in about.type and self.first_stage is None
        return in_hash_order(lists) if is_shipped else lists

    def _excludes(self, task: str) -> bool:
        if self.exclude_identical is not None:
            return self.exclude_identical
        import mteb

        try:
            return bool(mteb.get_task(task).ignore_identical_ids)
        except KeyError:  # a task of the user's own
            return False


def _document(row: Mapping[str, Any]) -> str:
    """Return title and text, joined as mteb does."""
    title = row.get("title") or ""
    return f"{title} {row['text']}".strip() if title else str(row["text"])


def _query(task: str, row: Mapping[str, Any]) -> str:
    """Return a query with its instruction, joined as mteb does; BadData for a conversation."""
    if not isinstance(row["text"], str):
        raise BadData(f"mteb's task {task}: query {row['id']} is no text but a conversation")
    instruction = row.get("instruction")
    return row["text"] if instruction is None else f"{row['text']} {instruction}"
