"""Any reranker in a pipeline of PyTerrier (https://github.com/terrier-org/pyterrier); no Java.

bm25 = pt.terrier.Retriever(index, metadata=["docno", "text"]) % 100
pipeline = bm25 >> Rerank("listwise", model="Qwen/Qwen3-4B")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import BadData, MissingExtra
from ..evaluation import strictly_descending
from ..reranking import open_reranker
from ..types import Engine, Reranker
from .task import candidates_of, rerank_task

try:
    import pyterrier as pt
except ModuleNotFoundError as error:
    install = "pip install 'rerank-bench[pyterrier]'"
    raise MissingExtra(f"Rerank needs the extra pyterrier: {install}") from error

if TYPE_CHECKING:
    import pandas as pd


class Rerank(pt.Transformer):  # type: ignore[misc]
    """A transformer of frames with `qid`, `query`, `docno`, `text` and `score`.

    reranker: a name as on the command line, or an object with `rerank(candidates)`.
    engine: a name, or an open engine, which stays open.
    model, options: as `rerank_bench.rerank` takes them.

    All queries of a frame are reranked together, in the order of `rank`, which without such a
    column is that of `score`. Documents of equal score keep their rank.
    """

    def __init__(
        self,
        reranker: str | Reranker,
        *,
        engine: str | Engine | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._open = open_reranker(reranker, engine, model, options)

    def close(self) -> None:
        """Close the engine, unless it was open before."""
        self._open.close()

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with new scores and ranks; its other columns are kept.

        Raises BadData for a row without a text, and for one document twice in a query's list.
        """
        pt.validate.result_frame(inp, extra_columns=["query", "text"], context=self)
        inp = inp if "rank" in inp else pt.model.add_ranks(inp)
        _check(inp)
        frame = inp.sort_values(["qid", "rank"], kind="stable").reset_index(drop=True)
        # A document has a text of its own for each query where passages are made of it.
        rows = {qid: [str(row) for row in own.index] for qid, own in frame.groupby("qid")}
        queries = dict(zip(frame["qid"], frame["query"], strict=True))
        texts = {str(row): text for row, text in frame["text"].items()}
        task, pool = candidates_of("pyterrier", queries, texts, rows)
        found: dict[str, float] = {}
        for result in rerank_task(task, pool, self._open.choice, self._open.engine):
            found.update(zip(result.doc_ids, strictly_descending(result.scores), strict=True))
        scored = frame.assign(score=[found[str(row)] for row in frame.index])
        return pt.model.add_ranks(scored)


def _check(frame: pd.DataFrame) -> None:
    """Raise BadData where a row has no text, or a query has one document twice."""
    problems = {
        "has no text": ~frame["text"].map(lambda text: isinstance(text, str)).astype(bool),
        "is there twice": frame.duplicated(["qid", "docno"]),
    }
    for problem, rows in problems.items():
        for qid, docno in frame.loc[rows, ["qid", "docno"]].head(1).itertuples(index=False):
            raise BadData(f"document {docno} of query {qid} {problem} in the frame of Rerank")
