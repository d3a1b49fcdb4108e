"""Run folders as pandas frames, for a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runs import Run, Variant, find_all_runs, read_run
from .queries import QueryRow, StratumRow
from .results import written
from .sensitivity import LatencyRow, OrderRow

if TYPE_CHECKING:
    import pandas as pd

    from . import Evaluation

_RANKING = (
    "task", "profile", "reranker", "query_id", "doc_id", "rank", "score", "first_stage_rank",
    "is_safeguard", "grade",
)  # fmt: skip
_CLAIM = (
    "task", "profile", "reranker", "measure", "published", "measured", "within", "source",
)  # fmt: skip


@dataclass(frozen=True)
class Runs:
    """The runs of `folders` as tidy frames, each made when it is first asked for.

    Variants of a run (other input orders, repeats, one query at a time) are in `orders` and
    `latencies` alone. measures: as in `load_runs`. A frame is made once: change a copy.
    """

    folders: tuple[Path, ...]
    measures: tuple[str, ...]

    @cached_property
    def evaluation(self) -> Evaluation:
        """All that a report shows of these runs, with every query of every run."""
        from . import evaluate

        return evaluate(self.folders, detail=self.folders, measures=self.measures)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row per task, profile, reranker and measure, as `report --csv` writes them.

        The rows of a profile's recall have no reranker.
        """
        return _written(self.evaluation.rows())

    @cached_property
    def strata(self) -> pd.DataFrame:
        """One row per run and language, length of the query, or rank of its best positive."""
        return _frame(StratumRow, self.evaluation.strata)

    @cached_property
    def means(self) -> pd.DataFrame:
        """The means over the tasks of each data set that has several, in the columns of `rows`."""
        return _written(self.evaluation.means.rows())

    @cached_property
    def queries(self) -> pd.DataFrame:
        """One row per query of each run: nDCG@10 before and after, and the best positive's rank."""
        return _frame(QueryRow, self.evaluation.queries)

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row per run that was also given its candidates in other orders."""
        return _frame(OrderRow, self.evaluation.orders)

    @cached_property
    def latencies(self) -> pd.DataFrame:
        """One row per run that also served one query at a time."""
        return _frame(LatencyRow, self.evaluation.latencies)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """One row per published figure and the run that compares with it."""
        import pandas as pd

        rows = [
            (r.task, r.profile, r.reranker, r.claim.measure, r.claim.value, r.measured,
             r.within, r.claim.source)
            for r in self.evaluation.claims
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(_CLAIM))

    @cached_property
    def rankings(self) -> pd.DataFrame:
        """One row per document of each finished ranking, the safeguard among them.

        rank and first_stage_rank: from 1. score: missing where a document was not reranked. grade:
        missing where it was not judged.
        """
        import pandas as pd

        runs = (read_run(folder) for folder in self.folders)
        mains = (run for run in runs if Variant.of(run.manifest["settings"]).is_main)
        records = [record for run in mains for record in _ranked(run)]
        return pd.DataFrame(records, columns=list(_RANKING))


def load_runs(*roots: str | Path, measures: Sequence[str] = ()) -> Runs:
    """Find all runs in and below `roots`; nothing is read before a frame is asked for.

    measures: such as `MAP@1000`, besides the usual ones.

    Raises BadData where there is no run.
    """
    return Runs(tuple(find_all_runs([Path(root) for root in roots])), tuple(measures))


def _written(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that JSON and CSV have."""
    import pandas as pd

    return pd.DataFrame(written(rows))


def _frame(kind: type, records: Iterable[Any]) -> pd.DataFrame:
    """Return a frame of dataclasses of one kind, with their fields as columns."""
    import pandas as pd

    columns = [field.name for field in fields(kind)]
    rows = [[getattr(record, name) for name in columns] for record in records]
    return pd.DataFrame(rows, columns=columns)


def _ranked(run: Run) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `Runs.rankings` of one run."""
    settings = run.manifest["settings"]
    where = (settings["task"], settings["profile"]["asked"], settings["reranker"]["label"])
    for result in run.results:
        judged = run.qrels.get(result.query_id, {})
        documents = zip(result.doc_ids, result.scores, result.first_stage_ranks, strict=True)
        for rank, (doc_id, score, before) in enumerate(documents, 1):
            own = (result.query_id, doc_id, rank, score, before, doc_id == result.safeguard)
            yield *where, *own, judged.get(doc_id)
