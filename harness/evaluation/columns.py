"""Every column of a report, declared once.

Tables, Markdown, LaTeX, JSON, CSV, the page, `docs/columns.md` and the means of data sets read this
list. To add a column, add it here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ..reranking import label_probability
from . import facts, parts, rules
from .gains import wins_ties_losses

if TYPE_CHECKING:
    from .rules import Rule

RUNS: Final = "runs"
VALUES: Final = "values"


@dataclass(frozen=True)
class Column:
    """One column of the frames `runs` or `values`, and how reports show it.

    name: in the frames, in JSON and in CSV.
    label: the heading in tables.
    help: one sentence that says what it is.
    frame: `runs` for what a run has once, `values` for what it has for each measure.
    kind: str, int, float or bool; object for what is not written.
    of: computes it from `Facts`, and for a column of values from the measure's name too; None for
        what needs other runs, and is filled in later.
    mean: how the mean over tasks is taken; None for what is computed again from other means.
    unit: `s`, `tokens`, `queries`, …; empty for a share or a measure.
    format: the name of a function of `report/text.py` that writes it.
    fields: the columns whose values one cell shows together; itself alone if empty.
    show: `always`; `filled`, where any row has a value; `more`, in no table
        of a terminal, but offered by the page; `never`, in neither.
    absent: the value where it does not apply, as in a first stage's row, which has no reranker.
    is_written: whether JSON and CSV have it.
    of_pool: whether a first stage has it too.
    """

    name: str
    label: str
    help: str
    frame: Literal["runs", "values"] = RUNS
    kind: type = float
    of: Callable[..., Any] | None = None
    mean: Rule | None = None
    unit: str = ""
    format: str = "count"
    fields: tuple[str, ...] = ()
    show: Literal["always", "filled", "more", "never"] = "never"
    absent: Any = None
    is_written: bool = True
    of_pool: bool = False


def _setting(*path: str) -> Callable[[facts.Facts], Any]:
    """Return the function that reads one of a run's settings."""

    def of(own: facts.Facts) -> Any:
        found: Any = own.settings
        for name in path:
            found = found.get(name)
        return found

    return of


def _text(name: str, label: str, help_: str, of: Any = None, **more: Any) -> Column:
    """Return a column of texts about a run."""
    return Column(name, label, help_, kind=str, of=of, format="text", **{"absent": "", **more})


def _count(name: str, label: str, help_: str, of: Any = None, **more: Any) -> Column:
    """Return a column of whole numbers, which are summed over tasks."""
    return Column(name, label, help_, kind=int, of=of, **{"mean": rules.total, **more})


def _stage(name: str, label: str, help_: str, **more: Any) -> Column:
    """Return a column of a measure's mean at one stage."""
    return Column(
        name, label, help_, VALUES, of=lambda own, m: own.mean(name, m), mean=rules.mean,
        **{"format": "number", **more},
    )  # fmt: skip


def _binary(stage: str) -> Column:
    """Return a stage's mean under the convention BINARY, with which claims are compared."""
    return Column(
        f"{stage}_binary", "", "", VALUES, of=lambda own, m: own.binary_mean(stage, m),
        mean=rules.mean, is_written=False,
    )  # fmt: skip


COLUMNS: list[Column] = [
    _text("task", "task", "The task, or the data set of which this is the mean.",
          _setting("task"), mean=rules.same, of_pool=True),
    _text("profile", "profile", "The first stage, as it was asked for.",
          _setting("profile", "asked"), mean=rules.same, of_pool=True),
    _text("origin", "origin", "Where the first stage's lists come from: shipped, computed, a "
          "file; or that they have no order.", _setting("profile", "origin"), mean=rules.joined,
          show="more", of_pool=True),
    _text("reranker", "reranker", "The reranker's label; none for a first stage alone.",
          _setting("reranker", "label"), mean=rules.same, show="always", absent=None),
    _text("measure", "measure", "nDCG@10, hit@10, MRR@10, MAP@100, the tasks' main scores, what "
          "--measure names; of first stages recall@100.",
          frame=VALUES, of=lambda own, m: m, mean=rules.same, of_pool=True),
    _count("queries", "queries", "The queries that all means are over.",
           lambda own: own.queries, unit="queries", show="always", format="whole", of_pool=True),
    _stage("first_stage", "first stage", "The measure of the pool as it came.",
           show="always", of_pool=True),
    _stage("natural", "natural", "After reranking, without the appended positives (safeguards).",
           show="always"),
    _stage("safeguarded", "safeguarded", "After reranking, with the appended positives.",
           show="always"),
    _stage("ceiling", "ceiling", "The best order of the same pool.", show="always"),
    _stage("ceiling_safeguarded", "ceiling, safeguarded", "The same with appended positives."),
    Column("gain", "gain", "Natural minus first stage, over the same queries; * if significant "
           "after Holm's correction in its family.", VALUES,
           of=lambda own, m: own.estimates[m].mean, mean=rules.mean, format="gain",
           fields=("gain", "starred"), show="always"),
    Column("gain_low", "95 % interval", "Confidence interval of the mean gain (Student's t); none "
           "where all gains are equal.", VALUES, format="bounds", show="always",
           fields=("gain_low", "gain_high")),
    Column("gain_high", "upper bound", "Upper bound of that interval.", VALUES, format="signed"),
    Column("gain_safeguarded", "gain, safeguarded", "Safeguarded minus first stage.", VALUES,
           of=lambda own, m: own.mean("safeguarded", m) - own.mean("first_stage", m),
           mean=rules.mean, format="signed"),
    _count("safeguards", "safeguards / decided", "Queries with an appended positive, and how many "
           "of them it changes.",
           lambda own: sum(r.safeguard is not None for r in own.run.results),
           unit="queries", show="always", format="ratio", fields=("safeguards", "decided"),
           of_pool=True),
    _count("decided", "decided", "Queries whose value the appended positive changes.",
           lambda own, m: own.values.decided(m), frame=VALUES, unit="queries"),
    _count("failed", "failed", "Queries that failed; they count as 0 after reranking.",
           lambda own: sum(r.failed is not None for r in own.run.results),
           unit="queries", show="always"),
    Column("calls_per_query", "calls", "Requests per query, before merging and cache.",
           of=lambda own: own.per_query(own.spent.calls), mean=rules.per_query, show="always"),
    Column("rounds", "rounds", "Requests per query that had to wait for one another.",
           of=lambda own: own.per_query(own.spent.rounds), mean=rules.per_query, show="always"),
    _count("prompt_tokens", "tokens", "Tokens read / written, over all queries.",
           lambda own: own.spent.prompt_tokens, unit="tokens", show="always", format="ratio",
           fields=("prompt_tokens", "output_tokens")),
    _count("output_tokens", "output tokens", "Tokens written, over all queries.",
           lambda own: own.spent.output_tokens, unit="tokens"),
    Column("seconds", "engine seconds", "Engine time of the run.", unit="s",
           of=lambda own: own.spent.seconds, mean=rules.total),
    _count("from_cache", "from cache", "Replies that came from the cache, over all queries.",
           lambda own: own.spent.from_cache, show="always"),
    Column("p", "p", "Two-sided p-value of a true mean gain of 0 (paired t-test).", VALUES,
           format="probability"),
    Column("p_holm", "p (Holm)", "That p-value after Holm's correction within its family.", VALUES,
           format="probability", show="more"),
    Column("starred", "significant", "Whether the corrected p-value is at most 5 %.", VALUES, bool,
           format="flag", absent=False),
    _text("family", "family", "The gains among which the p-value was corrected.", frame=VALUES),
    Column("detectable", "detectable", "The smallest true gain that is significant 4 times out of "
           "5, before Holm.", VALUES, format="number", show="more"),
    Column("noise", "noise", "How far repeats of the same run lie apart.", VALUES,
           mean=rules.noise, format="number", show="filled"),
    _count("repeats", "repeats", "How often the run was made.", lambda own: 1, mean=rules.least,
           absent=1),
    _count("clusters", "questions", "Questions, where queries are versions of one another.",
           lambda own: None if own.bases is None else len(set(own.bases)), mean=rules.clusters,
           of_pool=True),
    _count("wins", "wins / ties / losses", "Queries that gained, stayed the same, lost.",
           lambda own, m: wins_ties_losses(own.values.gain(m))[0], frame=VALUES, unit="queries",
           show="filled", format="ratio", fields=("wins", "ties", "losses")),
    _count("ties", "ties", "Queries that stayed the same.",
           lambda own, m: wins_ties_losses(own.values.gain(m))[1], frame=VALUES, unit="queries"),
    _count("losses", "losses", "Queries that lost.",
           lambda own, m: wins_ties_losses(own.values.gain(m))[2], frame=VALUES, unit="queries"),
    Column("headroom_captured", "headroom", "The part of ceiling minus first stage that was "
           "gained.", VALUES, of=facts.captured, mean=rules.captured, format="share",
           show="filled"),
    _count("rerankable", "rerankable", "Queries whose order can change nDCG.", facts.rerankable,
           unit="queries", show="more"),
    Column("judged", "judged@10", "The share of the reranked top ten that was judged.",
           of=facts.judged, mean=rules.mean, format="share", show="filled"),
    Column("judged_first_stage", "judged@10 before", "The same of the first stage's top ten.",
           of=facts.judged_first_stage, mean=rules.mean, format="share"),
    _count("cached_tokens", "cached tokens", "Prompt tokens that were not computed again: a prefix "
           "cache held them, or an earlier request begins with them.",
           lambda own: own.spent.cached_tokens, unit="tokens", show="filled", format="some"),
    Column("seconds_per_query", "seconds", "Engine time per query; none where any reply came from "
           "the cache.", of=facts.seconds_per_query, mean=rules.on_one_machine, unit="s",
           show="always"),
    Column("gpu_seconds", "GPU seconds", "That time multiplied by the GPUs in use, per query.",
           of=facts.gpu_seconds, mean=rules.on_one_machine, unit="s", show="filled"),
    Column("startup_seconds", "loading", "Time to load the model, not in the seconds.",
           of=lambda own: own.run.manifest.get("startup_seconds"), mean=rules.total, unit="s",
           show="more"),
    Column("ideal_flops", "GFLOP", "Operations per query that the method needs of its model.",
           of=lambda own: own.run.manifest.get("ideal_flops"), mean=rules.per_query,
           unit="FLOP", format="giga", show="filled"),
    Column("queries_per_pflop", "queries / PFLOP", "Queries for 1e15 operations.",
           of=lambda own: 1e15 / flops if (flops := own.run.manifest.get("ideal_flops")) else None,
           mean=lambda rows, name: 1e15 / rules.per_query(rows, "ideal_flops"),
           show="filled", is_written=False),
    Column("price", "price per 1000", "Price of the tokens of a query, by --price; tables show "
           "that of 1000 queries.",
           mean=rules.per_query, format="cost", show="filled"),
    _text("model", "model", "The model.", lambda own: str(own.engine.get("model", "")),
          mean=rules.same, show="more"),
    _text("engine", "engine", "The engine that answered the requests.",
          lambda own: own.engine.get("name", ""), mean=rules.joined, show="more"),
    _text("hardware", "hardware", "What the engine ran on.",
          lambda own: parts.hardware(own.run.manifest), mean=rules.joined, show="more"),
    _count("repaired", "repaired", "Answers that had to be repaired.",
           lambda own: own.counts["repaired"], show="more"),
    _count("unparsable", "unusable", "Answers that could not be used.",
           lambda own: own.counts["unparsable"], show="more"),
    _count("truncated", "truncated", "Texts that were cut to the reranker's budget.",
           lambda own: own.counts["truncated"], show="more"),
    _text("invalid", "invalid", "Why the method did not work as it is meant to, so that the "
          "numbers mean nothing.", lambda own: parts.invalid(own.run.manifest, own.counts),
          mean=rules.invalid, absent=None),
    _text("resolved", "resolved", "What the profile's name stood for.",
          _setting("profile", "resolved"), mean=rules.joined, of_pool=True),
    _text("judgements", "judgements", "The judgements, where they are not the usual ones.",
          facts.judgements, mean=rules.judgements, of_pool=True),
    _text("main_measure", "main score", "The measure that the task's makers report.",
          facts.main_measure, mean=rules.joined, show="more"),
    Column("main_score", "main score's value", "The value of that measure after reranking; of a "
           "benchmark of MTEB the mean over its tasks.", of=facts.main_score, mean=rules.mean,
           format="number", show="more"),
    Column("apart", "not comparable", "Whether queries, pool or judgements are other than those of "
           "most results of the task.", kind=bool, format="flag", absent=False),
    _count("tasks", "tasks", "The tasks that this is the mean of.", lambda own: 1, absent=1),
    _count("depth", "depth", "How many candidates were reranked; all if none.", _setting("depth"),
           mean=rules.same, of_pool=True),
    _count("max_doc_chars", "cut at characters", "The length to which all documents were cut.",
           _setting("max_doc_chars"), mean=rules.same, of_pool=True),
    Column("published", "published", "The published value of the first stage.", VALUES,
           of=facts.published, mean=rules.mean, format="number", of_pool=True),
    Column("as_published", "as published", "The first stage's value under the convention of the "
           "published one.", VALUES, of=facts.as_published, mean=rules.mean, format="number",
           of_pool=True),
    Column("floor", "floor", "Whether the reranker only serves for comparison.", kind=bool,
           of=lambda own: own.settings["reranker"].get("method") in facts.FLOORS,
           mean=rules.same, format="flag", absent=False),
    _text("budget", "doc tokens", "How many tokens of a document the reranker reads.",
          facts.budget, mean=rules.same, show="filled", absent=None),
    _count("max_doc_tokens", "cut at tokens", "The tokens to which all documents were cut.",
           _setting("max_doc_tokens"), mean=rules.same),
    _count("documents", "documents", "Documents given to the reranker, over all queries.",
           facts.documents),
    Column("cut", "cut", "The share of those documents that were truncated.", of=facts.cut,
           mean=rules.cut, format="share", show="filled"),
    _text("instruction", "instruction", "Whose instruction it was: the model's default, the task's,"
          " the user's own, or none.", facts.instruction, mean=rules.joined_or_none,
          show="filled", absent=None),
    Column("tied_at_10", "tied@10", "The share of queries whose top ten is decided by equal scores,"
           " which keep first-stage order.", of=facts.tied_at_10, mean=rules.per_query,
           format="some_share", show="filled"),
    Column("label_probability", "p(labels)", "The mean probability of all labels together.",
           of=lambda own: label_probability(own.counts), mean=rules.per_query, format="share",
           show="filled"),
    Column("is_real", "", "", kind=bool, of=lambda own: own.run.manifest["is_real"],
           mean=rules.least, absent=True, is_written=False),
    Column("pool", "", "", kind=object, of=_setting("profile", "sha256"), mean=rules.same,
           is_written=False),
    Column("ground", "", "", kind=object, of=facts.ground, mean=rules.combined, is_written=False,
           of_pool=True),
    Column("counts", "", "", kind=object, of=lambda own: dict(own.counts), mean=rules.added,
           is_written=False),
    Column("tested", "", "", kind=bool, mean=rules.least, is_written=False),
    Column("repeated", "", "", VALUES, object, of=lambda own, m: (), mean=rules.repeated,
           absent=(), is_written=False),
    Column("standard_error", "", "", VALUES, of=lambda own, m: own.estimates[m].standard_error,
           mean=rules.standard_error, is_written=False),
    Column("degrees_of_freedom", "", "", VALUES,
           of=lambda own, m: own.estimates[m].degrees_of_freedom, mean=rules.degrees_of_freedom,
           is_written=False),
    Column("units", "", "", VALUES, int, of=lambda own, m: own.estimates[m].units,
           mean=rules.total, is_written=False),
    *map(_binary, ("first_stage", "natural", "safeguarded")),
]  # fmt: skip
