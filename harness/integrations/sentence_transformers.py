"""Gains of a CrossEncoder in training, as an evaluator of sentence-transformers (docs/training.md).

A CrossEncoder is scored as it is, by its own `predict`, on the pools that a run would rerank; the
values are those of a run with its `cross-encoder` reranker and no budget for texts.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
except ImportError:  # before version 6
    from sentence_transformers.evaluation import SentenceEvaluator

from ..errors import BadData, RerankerFault
from ..evaluation import MAIN, MEASURES, measure, natural, positives_of
from ..pools import Pool, PoolOptions, build_pool, release_encoder, without_own_documents
from ..reranking import Scope, chosen_queries, order
from ..tasks import Task, load_task

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

logger = logging.getLogger(__name__)


class RerankEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """Measures a CrossEncoder by its gains over first stages.

    task: a task, or the name of one.
    profile: a first stage by name, or several.
    name: stands before every metric and in the file's name; empty for the task's.
    depth: candidates of each query.
    queries: rerank this many queries, the same ones each time; None for all.
    batch_size, show_progress_bar: as `CrossEncoder.predict` takes them.
    write_csv: append a line to `RerankEvaluator_NAME_results.csv` at each call.

    Metrics are, for each profile and measure, such as `bm25_ndcg@10`, the value, the value before
    reranking (`bm25_base_ndcg@10`) and the gain (`bm25_gain_ndcg@10`); `gain_ndcg@10` is the mean
    gain over the profiles, and the primary metric.
    """

    def __init__(
        self,
        task: Task | str,
        profile: str | Sequence[str] = "bm25",
        *,
        name: str = "",
        depth: int = 100,
        queries: int | None = None,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        write_csv: bool = True,
    ) -> None:
        super().__init__()
        task = without_own_documents(load_task(task) if isinstance(task, str) else task)
        profiles = [profile] if isinstance(profile, str) else list(profile)
        options = PoolOptions(depth=depth)
        self.pools = {own: build_pool(task, own, options) for own in profiles}
        release_encoder()
        self.task, self.name = task, (name or task.name).replace("/", "_")
        self.queries = chosen_queries(list(task.queries), Scope(queries=queries))
        self.batch_size, self.show_progress_bar = batch_size, show_progress_bar
        self.write_csv, self.csv_file = write_csv, f"RerankEvaluator_{self.name}_results.csv"
        self.primary_metric = f"{self.name}_gain_{MAIN.lower()}"

    def __call__(
        self, model: CrossEncoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return all metrics.

        Raises RerankerFault where a score is not one finite number, BadData where the CSV file is
        there with other columns.
        """
        metrics: dict[str, float] = {}
        for profile, pool in self.pools.items():
            metrics |= {f"{profile}_{key}": v for key, v in self._metrics(model, pool).items()}
        gains = [metrics[f"{profile}_gain_{MAIN.lower()}"] for profile in self.pools]
        metrics[f"gain_{MAIN.lower()}"] = sum(gains) / len(gains)
        self._log(metrics, epoch, steps)
        if output_path is not None and self.write_csv:
            _append(Path(output_path, self.csv_file), {"epoch": epoch, "steps": steps, **metrics})
        named: dict[str, float] = self.prefix_name_to_metrics(metrics, self.name)
        self.store_metrics_in_model_card_data(model, named, epoch, steps)
        return named

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the card of a trained model says of this evaluator."""
        pools = {profile: pool.resolved for profile, pool in self.pools.items()}
        return {"task": self.task.name, "first_stages": pools, "queries": len(self.queries)}

    def _metrics(self, model: CrossEncoder, pool: Pool) -> dict[str, float]:
        """Return the values after and before reranking, and the gains, by measure."""
        rows = [row for row in pool.rows if row.query_id in self.queries]
        pairs = [
            (self.task.queries[r.query_id], self.task.corpus[d]) for r in rows for d in r.doc_ids
        ]
        scores = iter(self._scores(model, pairs))
        after = []
        for row in rows:
            own = [next(scores) for _ in row.doc_ids]
            after.append(natural([row.doc_ids[place] for place in order(own)], row.safeguard))
        least = self.task.min_grade
        grades = [positives_of(self.task.qrels[row.query_id], min_grade=least) for row in rows]
        values, base = measure(after, grades), measure([row.natural for row in rows], grades)
        found: dict[str, float] = {}
        for name in MEASURES:
            reranked, first = float(values[name].mean()), float(base[name].mean())
            key = name.lower()
            found |= {key: reranked, f"base_{key}": first, f"gain_{key}": reranked - first}
        return found

    def _scores(self, model: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> list[float]:
        import numpy as np

        shown, size = self.show_progress_bar, self.batch_size
        scores = np.asarray(model.predict(pairs, batch_size=size, show_progress_bar=shown))
        if scores.shape != (len(pairs),):
            raise RerankerFault(
                f"the model has {scores.shape[-1]} labels; RerankEvaluator needs one"
            )
        if not np.isfinite(scores).all():
            raise RerankerFault("the model's score of a pair is not finite: its training diverged")
        found: list[float] = scores.tolist()
        return found

    def _log(self, metrics: Mapping[str, float], epoch: int, steps: int) -> None:
        logger.info("RerankEvaluator on %s, epoch %s, steps %s:", self.name, epoch, steps)
        logger.info("%s     first stage -> reranked", MAIN)
        for profile in self.pools:
            both = (metrics[f"{profile}_{kind}{MAIN.lower()}"] for kind in ("base_", ""))
            logger.info("%s: %s", profile, " -> ".join(f"{value:.4f}" for value in both))


def _append(file: Path, row: Mapping[str, float]) -> None:
    """Add a line to a CSV file, which gets a header first where it is new.

    Raises BadData where it has other columns.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", newline="", encoding="utf-8") as lines:
        lines.seek(0)
        header = next(csv.reader(lines), [])
        if header and header != list(row):
            cure = "remove it, or give RerankEvaluator another name"
            raise BadData(f"{file} has the columns of other first stages; {cure}")
        writer = csv.writer(lines)
        if not header:
            writer.writerow(row)
        writer.writerow(row.values())
