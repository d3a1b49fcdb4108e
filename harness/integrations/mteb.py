"""Any reranker as a model of mteb (https://github.com/embeddings-benchmark/mteb).

    task = mteb.get_task("CovidRetrieval").convert_to_reranking("predictions/", top_k=100)
    mteb.evaluate(Reranked("listwise", model="Qwen/Qwen3-4B", first_stage="bm25"), task)

mteb hands a cross-encoder single pairs; a model that searches is handed each query's whole list,
which listwise methods need. So this one has `search`, and no `predict`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BadData
from ..evaluation import falling
from ..report import mteb_revision
from ..reranking import open_reranker
from ..tasks import RankedLists, require_mteb, shuffled
from ..types import Engine, Reranker
from .task import candidates_of, rerank_task

if TYPE_CHECKING:
    from mteb.models import ModelMeta


class Reranked:
    """A reranker that `mteb.evaluate` takes as a model; see `SearchProtocol` of mteb.

    reranker: a name as on the command line, or an object with `rerank(candidates)`.
    engine: a name, or an open engine, which stays open.
    model, options: as `rerank_bench.rerank` takes them.
    first_stage: named in `experiment_kwargs`, without which mteb would take the result after
        another first stage for this one's.

    Documents of equal score keep the order of the first stage: the scores that mteb gets have no
    ties. The candidates of a task of type Reranking are in no order and may have the answers first,
    so they are given in an order by a hash of query and document.
    """

    def __init__(
        self,
        reranker: str | Reranker,
        *,
        engine: str | Engine | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        first_stage: str | None = None,
    ) -> None:
        self.first_stage = first_stage
        self._choice, self._engine = open_reranker(reranker, engine, model, options)
        self._is_own = self._engine is not engine
        self._corpus: dict[str, str] = {}

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """The description under which mteb stores results; MissingExtra without mteb."""
        require_mteb("the model of a reranker")
        from mteb.models import ModelMeta

        identity = self._engine.identity
        known = {"first_stage": self.first_stage} if self.first_stage else None
        return ModelMeta.create_empty(
            {
                "name": f"rerank-bench/{self._choice.label}",
                "revision": mteb_revision(identity),
                "adapted_from": identity.get("model"),
                "model_type": ["cross-encoder"],
                "experiment_kwargs": known,
            }
        )

    def close(self) -> None:
        """Close the engine, unless it was open before."""
        if self._is_own:
            self._engine.close()

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
        missing = [query_id for query_id in texts if query_id not in top_ranked]
        if missing:
            raise BadData(f"mteb's task {name} has no candidates for query {missing[0]}")
        lists: RankedLists = {query_id: tuple(top_ranked[query_id]) for query_id in texts}
        if "Reranking" in task_metadata.type:
            lists = shuffled(lists)
        task, pool = candidates_of(name, texts, self._corpus, lists)
        results = rerank_task(task, pool, self._choice, self._engine)
        return {r.query_id: dict(zip(r.doc_ids, falling(r.scores), strict=True)) for r in results}


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
