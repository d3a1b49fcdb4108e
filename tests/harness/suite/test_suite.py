from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pytest

from rerank_bench import (
    BadData,
    BadOption,
    EngineDied,
    Failure,
    FakeEngine,
    Logits,
    RunConflict,
    Statistics,
    load_run,
    load_runs,
)
from rerank_bench.engines import EngineChoice, fake
from rerank_bench.pools import PoolRow
from rerank_bench.reranking import Scope, choose, chosen_queries
from rerank_bench.runs import find_runs
from rerank_bench.suite import run_suite

QUERIES = {f"q{i}": f"apple pear{i}" for i in range(12)}
CORPUS = {f"d{i}": f"apple number {i} pear{i % 12}" for i in range(40)}
QRELS = {f"q{i}": {f"d{i}": 2, f"d{i + 12}": 1, f"d{(i + 1) % 12}": 0} for i in range(12)}


@pytest.fixture
def data(beir):
    return beir(QUERIES, CORPUS, QRELS)


@pytest.fixture
def suite(suite_of, data):
    return suite_of(data, "identity", "reverse", "cross-encoder:engine=fake")


def test_every_task_profile_and_reranker_leaves_a_run_folder(suite):
    folders = run_suite(suite)
    assert len(folders) == 3
    assert sorted(folders) == find_runs(suite.out)
    run = load_run(folders[0])
    assert [result.query_id for result in run.results] == list(QUERIES)
    assert run.qrels == QRELS
    assert run.manifest["settings"]["profile"]["resolved"] == "bm25()"


def test_identity_gains_nothing_and_no_ranking_loses_a_document(suite):
    folders = run_suite(suite)
    for folder in folders:
        for result in load_run(folder).results:
            assert sorted(result.first_stage_ranks) == list(range(1, len(result.doc_ids) + 1))
    values = load_runs(suite.out).rows.query("reranker == 'identity'")
    gains = dict(zip(values["measure"], values["gain"], strict=True))
    assert gains["nDCG@10"] == gains["MAP@100"] == 0


def test_a_finished_run_is_skipped_and_other_settings_are_refused(suite):
    run_suite(suite)
    seen = []
    run_suite(suite, on_run=seen.append)
    assert [finished.skipped for finished in seen] == [True] * 3
    with pytest.raises(RunConflict, match="queries"):
        run_suite(dataclasses.replace(suite, scope=Scope(queries=3)))


def test_a_sample_of_queries_is_nested_and_the_same_everywhere():
    ids = [f"q{i}" for i in range(100)]
    ten, twenty = (chosen_queries(ids, Scope(queries=n)) for n in (10, 20))
    assert len(ten) == 10
    assert ten < twenty
    assert chosen_queries(ids[::-1], Scope(queries=10)) == ten
    assert chosen_queries(ids, Scope(queries=10, seed=1)) != ten
    assert chosen_queries(ids, Scope()) == set(ids)


def test_depth_reranks_the_first_and_the_safeguard_and_the_rest_keeps_its_place(suite_of, data):
    (folder,) = run_suite(suite_of(data, "reverse", scope=Scope(depth=3)))
    for result in load_run(folder).results:
        moved = list(result.first_stage_ranks[:3])
        assert moved == [3, 2, 1]
        assert list(result.first_stage_ranks[3:]) == sorted(result.first_stage_ranks[3:])
        assert result.scores[3:] == (None,) * len(result.scores[3:])


def test_the_head_of_a_row_keeps_the_safeguard():
    row = PoolRow("q", ("a", "b", "c", "s"), "s", (3.0, 2.0, 1.0))
    assert row.first(2) == PoolRow("q", ("a", "b", "s"), "s", (3.0, 2.0))
    assert row.first(3) == row.first(None) == row


def test_two_rerankers_of_one_label_are_refused_before_anything_runs(suite_of, data):
    twice = suite_of(data, "identity", "identity")
    with pytest.raises(BadOption, match="as=NAME"):
        run_suite(twice)
    assert not twice.out.exists()


@pytest.mark.parametrize(
    "scope", [{"queries": 0}, {"depth": 0}, {"max_doc_chars": -1}, {"max_doc_tokens": 0}]
)
def test_a_scope_of_nothing_is_refused(scope):
    with pytest.raises(BadOption, match="must be at least 1"):
        Scope(**scope)


def test_a_task_without_positives_is_an_error(suite_of, beir):
    suite = suite_of(beir({"q": "apple"}, {"d": "apple"}, {"q": {"d": 0}}), "identity")
    with pytest.raises(BadData):
        run_suite(suite)
    assert not suite.out.exists()


def test_documents_are_cut_and_counted_before_a_reranker_sees_them(suite_of, data, monkeypatch):
    seen = []

    def watch(request):
        seen.append(request.document)
        return Logits((0.0,))

    monkeypatch.setattr(fake, "overlap", watch)
    name, scope = "cross-encoder:max_doc_tokens=2,engine=fake", Scope(max_doc_chars=12)
    (folder,) = run_suite(suite_of(data, name, scope=scope))
    assert seen
    assert all(len(text.split()) <= 2 and len(text) <= 12 for text in seen)
    results = load_run(folder).results
    assert all(result.counts["truncated"] == len(result.doc_ids) for result in results)


def test_one_limit_in_tokens_is_part_of_the_settings_and_lowers_every_budget(
    suite_of, data, monkeypatch
):
    seen = []

    def watch(request):
        seen.append(len(request.document.split()))
        return Logits((0.0,))

    monkeypatch.setattr(fake, "overlap", watch)
    names = ["cross-encoder:engine=fake", "cross-encoder:engine=fake,max_doc_tokens=2,as=short"]
    cut = suite_of(data, *names, scope=Scope(max_doc_tokens=3))
    run_suite(cut)
    assert set(seen) == {2, 3}
    runs = load_runs(cut.out).evaluation.runs
    assert {row.reranker: (row.budget, row.cut) for row in runs.itertuples()} == {
        "cross-encoder": ("3", 1.0),
        "short": ("2", 1.0),
    }
    with pytest.raises(RunConflict, match="max_doc_tokens 3, now null"):
        run_suite(dataclasses.replace(cut, scope=Scope()))


def test_a_failed_query_keeps_first_stage_order_and_is_counted(suite_of, data, monkeypatch):
    def fragile(request):
        if request.query.endswith("pear3"):
            return Failure("no room")
        return Logits((-float(request.document.split()[2]),))

    monkeypatch.setattr(fake, "overlap", fragile)
    kept = suite_of(data, "cross-encoder:engine=fake", scope=Scope(keep_going=True))
    (folder,) = run_suite(kept)
    failed = [result for result in load_run(folder).results if result.failed]
    assert [(result.query_id, result.failed) for result in failed] == [("q3", "no room")]
    assert list(failed[0].first_stage_ranks) == sorted(failed[0].first_stage_ranks)
    assert set(load_runs(kept.out).evaluation.runs["failed"]) == {1}


def test_a_run_with_failed_queries_is_not_taken_for_a_finished_one(suite_of, data, monkeypatch):
    monkeypatch.setattr(fake, "overlap", lambda r: Failure("no"))
    failing = suite_of(data, "cross-encoder:engine=fake", scope=Scope(keep_going=True))
    run_suite(failing)
    run_suite(failing)
    with pytest.raises(RunConflict, match="12 of its queries failed"):
        run_suite(dataclasses.replace(failing, scope=Scope()))


def test_a_safeguard_has_a_first_stage_score_below_all_others(suite):
    seen = {}

    class Watch:
        def rerank(self, candidates):
            seen[candidates.query_id] = candidates.signals["first_stage"]
            return [0.0] * len(candidates.documents)

    watching = dataclasses.replace(choose("identity"), reranker=Watch(), label="watch")
    (folder,) = run_suite(dataclasses.replace(suite, rerankers=[watching]))
    for result in load_run(folder).results:
        scores = seen[result.query_id]
        assert len(scores) == len(result.doc_ids)
        assert list(scores) == sorted(scores, reverse=True)


def test_runs_lie_where_their_names_say(suite):
    folders = run_suite(suite)
    assert folders[0].relative_to(suite.out) == Path("data/test/bm25/identity")


def test_an_engine_that_dies_takes_its_own_reranker_with_it_and_the_suite_goes_on(
    suite_of, data, monkeypatch
):
    class Dying(FakeEngine):
        def answer(self, requests):
            yield 0, fake.overlap(requests[0])
            raise EngineDied("the engine's process ended (SIGKILL)")

    opened = EngineChoice.open

    def open_some(chosen):
        return Dying(fake.overlap) if chosen.model == "dying" else opened(chosen)

    monkeypatch.setattr(EngineChoice, "open", open_some)
    names = ["pointwise:engine=fake,model=dying", "cross-encoder:engine=fake", "identity"]
    dying = suite_of(data, *names)
    with pytest.raises(EngineDied, match=r"^pointwise-dying: the engine's process ended"):
        run_suite(dying)
    labels = {folder.name for folder in find_runs(dying.out)}
    assert labels == {"cross-encoder", "identity"}


def test_a_manifest_has_the_checks_of_the_mechanism(suite_of, data):
    (folder,) = run_suite(suite_of(data, "pointwise:engine=fake"))
    manifest = load_run(folder).manifest
    names = {check["name"]: check for check in manifest["mechanism"]}
    assert names["labels found"]["found"] == names["labels found"]["expected"] > 0
    assert manifest["invalid"] is None
    assert manifest["startup_seconds"] == 0.0


class Loading(FakeEngine):
    """Takes ten seconds to load at its first request, and one more for another kind."""

    def __init__(self):
        super().__init__(fake.overlap)
        self._kinds = set()

    def answer(self, requests):
        kind = type(requests[0])
        if kind not in self._kinds:
            self._kinds.add(kind)
            self.statistics = Statistics(loading_seconds=9.0 + len(self._kinds))
        yield from super().answer(requests)


def test_a_start_is_charged_once_and_every_run_says_who_shared_it(suite_of, data, monkeypatch):
    opened = EngineChoice.open
    loading = lambda chosen: Loading() if chosen.name == "fake" else opened(chosen)  # noqa: E731
    monkeypatch.setattr(EngineChoice, "open", loading)
    names = ["pointwise:engine=fake", "cross-encoder:engine=fake", "identity"]
    several = suite_of(data, *names, profiles=("bm25", "rrf(bm25,bm25)"), cache=None)
    found = {
        f.relative_to(several.out).as_posix(): load_run(f).manifest for f in run_suite(several)
    }
    charged = {name: each["startup_seconds"] for name, each in found.items()}
    shared = sorted(name for name in found if not name.endswith("identity"))
    assert sorted(charged.values()) == [0.0, 0.0, 0.0, 0.0, 1.0, 10.0]
    assert {name.rpartition("/")[2] for name, paid in charged.items() if paid} == {
        "pointwise", "cross-encoder",
    }  # fmt: skip
    for name in shared:
        assert sorted(found[name]["startup_shared_by"]) == shared
        assert found[name]["seconds"] < 10


def test_candidates_have_no_order_and_main_scores_are_shown_in_every_table(
    tmp_path, suite_of, monkeypatch
):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from click.testing import CliRunner

    from rerank_bench.cli import main

    texts = {name: {"_id": list(own), "text": list(own.values())} for name, own in
             (("corpus", CORPUS), ("queries", QUERIES))}  # fmt: skip
    pairs = [(q, d, grade) for q, own in QRELS.items() for d, grade in own.items()]
    judged = dict(zip(("query-id", "corpus-id", "score"), zip(*pairs, strict=True), strict=True))
    lists = {"query-id": list(QUERIES), "corpus-ids": [list(CORPUS)] * len(QUERIES)}
    tables = {**texts, "default": judged, "top_ranked": lists}
    for config, columns in tables.items():
        (tmp_path / "set" / config).mkdir(parents=True)
        columns = {name: list(values) for name, values in columns.items()}
        pq.write_table(pa.table(columns), tmp_path / "set" / config / "test.parquet")
    monkeypatch.chdir(tmp_path)
    asked = ["run", "--task", "./set", "--profile", "candidates", "--reranker", "identity"]
    refused = CliRunner().invoke(main, [*asked, "--depth", "10"])
    assert "the candidates of set/test are in no order, so its first ones" in refused.output
    assert refused.exit_code == 1
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    manifest = next(tmp_path.glob("runs/**/manifest.json"))
    main_score = manifest.read_text().replace(
        '"main_measure": "nDCG@10"', '"main_measure": "MAP@20"'
    )
    manifest.write_text(main_score)
    report = partial(CliRunner().invoke, main)
    shown = report(["report", "runs"]).output
    assert "main score MAP@20" in shown
    assert "set/test, gain in MAP@20 · " in shown
    written = report(["report", "runs", "--md", "--measure", "P@5"]).output
    assert "| MAP@20 (main score) and gain |" in written
    assert "| precision@5 and gain |" in written
    wide = report(["report", "runs", "--measure", "nAUC(P@5)"]).output
    assert "Calibration" in wide
    assert "precision@5" in wide
    for form, measure in (("--latex", "P@5"), ("--json", "nAUC(P@5)")):
        assert report(["report", "runs", form, "--measure", measure]).exit_code == 2
    rows = load_runs("runs", measures=["P@5"]).rows.dropna(subset=["reranker"])
    measures = ["nDCG@10", "hit@10", "MRR@10", "MAP@100", "precision@5", "MAP@20"]
    assert list(rows["measure"]) == measures
    assert (rows["gain"] == 0).all()
    for flags in ([], ["--wide"], ["--latex"], ["--csv"]):
        assert "no order" in CliRunner().invoke(main, ["report", "runs", *flags]).output, flags
