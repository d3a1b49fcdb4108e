"""Adapter: frames from rows, until evaluation returns frames."""
from dataclasses import dataclass
from ...evaluation import Evaluation, Row, mean_rows
from .adapter_columns import COLUMNS


@dataclass
class Results:
    runs: object
    values: object


def results(rows):
    import pandas as pd
    runs, values, numbers = [], [], {}
    for row in rows:
        if row.key + ((row.measure,) if row.reranker is None else ()) not in numbers:
            numbers[row.key + ((row.measure,) if row.reranker is None else ())] = len(runs)
            runs.append({c.name: getattr(row, c.name, None) for c in COLUMNS if c.frame == "runs"})
        values.append({"run": numbers[row.key + ((row.measure,) if row.reranker is None else ())], **{c.name: getattr(row, c.name, None) for c in COLUMNS if c.frame == "values"}})
    return Results(pd.DataFrame(runs, columns=[c.name for c in COLUMNS if c.frame == "runs"]), pd.DataFrame(values, columns=["run", *[c.name for c in COLUMNS if c.frame == "values"]]))


def split(found: Evaluation):
    return (results(mean_rows(found.groups)), results([r for r in found.rows if r.reranker is not None]), results([r for r in found.rows if r.reranker is None]))
