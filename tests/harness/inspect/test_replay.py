from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_bench import Candidates, Document, Failure, Generation, UnknownName, errors, load_run
from rerank_bench.engines import fake, overlap
from rerank_bench.inspect.exchanges import NOT_CACHED
from rerank_bench.inspect.replay import replay
from rerank_bench.inspect.restore import find_fit
from rerank_bench.pools import PoolOptions
from rerank_bench.rerankers.listwise import Listwise
from rerank_bench.reranking import Scope
from rerank_bench.suite import run_suite

QUERIES = {f"q{i}": f"apple pear{i}" for i in range(4)}
CORPUS = {f"d{i}": f"apple number {i} pear{i % 4}" for i in range(12)} | {"lost": "nothing here"}
QRELS = {f"q{i}": {f"d{i}": 2, f"d{i + 4}": 0} for i in range(3)} | {"q3": {"lost": 1}}


@pytest.fixture
def made(suite_of, beir, tmp_path, monkeypatch):
    """Make a run of one reranker on the folder `data` and return the run's folder."""

    def make(name, *, answer=fake.overlap, corpus=CORPUS, profile="bm25", **changes):
        folder = tmp_path / "data"
        folder = folder if folder.exists() else beir(QUERIES, corpus, QRELS, name="data")
        monkeypatch.setattr(fake, "overlap", answer)
        suite = suite_of(folder, name, engine="fake", **changes)
        profiles = [(profile, PoolOptions(depth=6))]
        return run_suite(dataclasses.replace(suite, profiles=profiles))[0]

    return make


def seen(folder, query_id="q1", cache=None):
    (view,) = replay(folder, [query_id], cache=cache or folder.parents[4] / "replies")
    return view


def rewrite(folder, change):
    """Apply `change` to the settings in a run's manifest."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest["settings"])
    file.write_text(json.dumps(manifest))


def test_a_view_holds_texts_ranks_and_judgements_in_finished_order(made):
    view = seen(made("reverse"))
    assert (view.task, view.profile, view.reranker) == ("data/test", "bm25", "reverse")
    assert view.query == QUERIES["q1"]
    assert [document.after for document in view.documents] == [1, 2, 3, 4, 5, 6]
    assert [document.before for document in view.documents] == [6, 5, 4, 3, 2, 1]
    assert all(document.text == CORPUS[document.doc_id] for document in view.documents)
    graded = {document.doc_id: document.grade for document in view.documents}
    assert (graded["d1"], graded["d5"], graded["d9"]) == (2, 0, None)
    assert [document.doc_id for document in view.documents if document.positive] == ["d1"]
    assert view.natural < view.first_stage == 1.0
    assert view.exchanges == view.notes == ()


def test_a_safeguard_is_marked_and_a_note_counts_positives_that_were_not_found(made):
    view = seen(made("identity"), "q3")
    assert [d.doc_id for d in view.documents if d.safeguard] == ["lost"]
    assert view.documents[-1].before == 7
    assert view.first_stage == view.natural == 0.0
    assert view.notes == ("positives that the first stage did not find: 1",)


def test_every_request_is_shown_with_its_reply(made):
    view = seen(made("pointwise"))
    assert view.notes == ()
    assert [exchange.round for exchange in view.exchanges] == [1] * 6
    assert {exchange.request for exchange in view.exchanges} == {"NextToken"}
    first = view.exchanges[0]
    assert f"Query: {QUERIES['q1']}" in first.prompt
    assert first.prompt.startswith("user:\n")
    assert first.reply.startswith("Yes -")
    assert first.known
    assert not first.repaired


def test_a_likelihood_is_shown_with_its_continuation(made):
    first = seen(made("query-likelihood")).exchanges[0]
    assert QUERIES["q1"] in first.prompt.partition("\n\ncontinuation:\n")[2]
    assert " over 2 tokens" in first.reply


def test_a_sliding_window_is_shown_round_by_round_up_to_the_first_missing_reply(made, tmp_path):
    folder = made("listwise:window=4,stride=2")
    exchanges = seen(folder).exchanges
    assert [(e.round, e.request) for e in exchanges] == [(1, "Generate"), (2, "Generate")]
    assert exchanges[0].prompt.endswith("assistant:\n[")
    with closing(sqlite3.connect(tmp_path / "replies" / "replies.sqlite")) as cache, cache:
        cache.execute("DELETE FROM replies")
    view = seen(folder)
    assert [(e.reply, e.known) for e in view.exchanges] == [(NOT_CACHED, False)]
    assert view.notes == ("the replay ends in round 1: 1 of its replies are not in the cache",)


def test_equal_requests_of_a_round_are_all_shown(made):
    folder = made("pointwise", corpus=CORPUS | {"d5": CORPUS["d1"]})
    exchanges = seen(folder).exchanges
    assert len(exchanges) == 6
    assert len({exchange.prompt for exchange in exchanges}) == 5


def test_requests_are_shown_as_they_were_sent_after_cutting(made):
    folder = made("cross-encoder:max_doc_tokens=2", scope=Scope(depth=3, max_doc_chars=10))
    view = seen(folder)
    assert view.notes == ()
    assert len(view.exchanges) == 3
    assert all(e.prompt.endswith("document: apple numb") for e in view.exchanges)
    assert sum(document.score is None for document in view.documents) == 3


@pytest.mark.parametrize("documents", ["none", 128])
def test_pairs_are_shown_as_the_model_s_context_cut_them(made, cross_encoder, documents):
    long = {doc_id: text + " word" * 300 for doc_id, text in CORPUS.items()}
    name = f"cross-encoder:model={cross_encoder},engine=transformers,max_doc_tokens={documents}"
    folder = made(name, corpus=long)
    reranker = json.loads((folder / "manifest.json").read_text())["settings"]["reranker"]
    assert (reranker["options"]["max_pair_tokens"], reranker["pair_tokens"]) == (0, 128 - 3)
    view = seen(folder)
    assert view.notes == ()
    assert all(exchange.known for exchange in view.exchanges)


def test_a_run_of_version_0_1_is_shown_as_it_was(made):
    folder = made("cross-encoder:max_doc_tokens=600,max_pair_tokens=none")

    def remove(settings):
        del settings["reranker"]["options"]["max_pair_tokens"], settings["reranker"]["instruction"]
        del settings["max_doc_tokens"]

    rewrite(folder, remove)
    view = seen(folder)
    assert view.notes == ()
    assert all(exchange.known for exchange in view.exchanges)


def test_only_the_answers_that_were_repaired_are_marked(made):
    calls = itertools.count()

    def forgetful(request):
        reply = overlap(request)
        return dataclasses.replace(reply, text="1] > [2]") if next(calls) % 2 else reply

    folder = made("listwise:window=3,stride=2", answer=forgetful)
    views = list(replay(folder, list(QUERIES), cache=folder.parents[4] / "replies"))
    for view in views:
        assert view.counts.get("repaired", 0) == sum(e.repaired for e in view.exchanges)
        assert all(e.repaired == (e.reply == "1] > [2]") for e in view.exchanges)
    marks = {exchange.repaired for view in views for exchange in view.exchanges}
    assert marks == {True, False}


ANSWERS = {"1] > [2] > [3]": 0, "2] > [1]": 1, "I cannot say": 1, "3] > [3] > [1] > [2]": 1, "": 1}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(sorted(ANSWERS)), min_size=4, max_size=4))
def test_a_listwise_flow_reports_which_of_its_answers_it_repaired(answers):
    documents = tuple(Document(f"d{i}", f"text {i}") for i in range(9))
    flow = Listwise(window=3, stride=2).rerank(Candidates("t", "q", "query", documents))
    next(flow)
    for text in answers[:-1]:
        flow.send([Generation(text, finished=True)])
    with pytest.raises(StopIteration) as end:
        flow.send([Generation(answers[-1], finished=True)])
    assert end.value.value.repairs == [i for i, text in enumerate(answers) if ANSWERS[text]]


SILENT = """
from rerank_bench import Scored
from rerank_bench.rerankers.listwise import Listwise
class Silent(Listwise):
    def rerank(self, candidates):
        scored = yield from super().rerank(candidates)
        return Scored(scored.scores, scored.counts)
"""


def test_repairs_that_a_reranker_only_counts_are_not_attributed_to_a_reply(made, tmp_path):
    (tmp_path / "silent.py").write_text(SILENT)
    folder = made(
        f"{tmp_path}/silent.py:Silent:engine=fake", answer=lambda request: Generation("", True)
    )
    view = seen(folder)
    assert not any(exchange.repaired for exchange in view.exchanges)
    assert view.notes == ("1 replies were repaired or unusable; which ones is not known",)


def test_replies_of_another_run_are_noted(made):
    folder = made("cross-encoder")
    other = made("cross-encoder:as=other", answer=lambda r: Failure("no"), cache=None,
                 scope=Scope(keep_going=True))  # fmt: skip
    assert seen(folder).notes == ()
    view = seen(other)
    assert view.failed == "no"
    assert view.natural == 0.0
    assert any("it had other replies" in note for note in view.notes)


def test_no_cache_is_created_where_there_is_none(made, tmp_path):
    view = seen(made("cross-encoder"), cache=tmp_path / "elsewhere")
    assert view.exchanges == ()
    assert "no reply cache in" in view.notes[0]
    assert not (tmp_path / "elsewhere").exists()


def test_a_variant_does_not_use_the_cache(made):
    folder = made("cross-encoder")
    rewrite(folder, lambda settings: settings.update(variant={"order": "reverse"}))
    view = seen(folder)
    assert view.reranker == "cross-encoder~order-reverse"
    assert view.exchanges == ()
    assert "do not use the cache" in view.notes[0]


def test_data_that_have_changed_are_not_shown_as_those_of_the_run(made, beir, tmp_path):
    folder = made("pointwise")
    before = seen(folder)
    corpus = tmp_path / "data" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("number 1 ", "number one "))
    view = seen(folder)
    assert {document.text for document in view.documents} == {""}
    assert [d.doc_id for d in view.documents] == [d.doc_id for d in before.documents]
    assert view.exchanges == ()
    assert len(view.notes) == 1
    assert "have changed since the run" in view.notes[0]
    shutil.rmtree(tmp_path / "data")
    assert "ids without texts" in seen(folder).notes[0]


def test_an_unknown_query_is_answered_with_near_ones(made):
    with pytest.raises(UnknownName, match="did you mean q1"):
        replay(made("identity"), ["q11"])


MINE = """
from pathlib import Path
from rerank_bench import PairScore, ask
Path({mark!r}).touch()
class Mine:
    def rerank(self, candidates):
        pairs = [PairScore(candidates.query, d.text) for d in candidates.documents]
        replies = yield from ask(pairs)
        return [reply.logits[0] for reply in replies]
"""


def test_a_file_of_code_that_has_changed_is_not_run(made, tmp_path):
    mine, mark = tmp_path / "mine.py", tmp_path / "mark"
    mine.write_text(MINE.format(mark=str(mark)))
    folder = made(f"{mine}:Mine:engine=fake")
    assert len(seen(folder).exchanges) == 6
    mark.unlink()
    mine.write_text(mine.read_text() + "# changed\n")
    assert "is no longer that of the run" in seen(folder).notes[0]
    mine.unlink()
    assert "cannot be read" in seen(folder).notes[0]
    assert not mark.exists()


def test_without_the_tokenizer_the_texts_are_uncut_and_a_note_says_so(made):
    folder = made("pointwise:max_doc_tokens=2")
    gone = {"engine": "transformers", "model": "./gone", "files": "0" * 64}
    rewrite(folder, lambda settings: settings.update(engine=gone))
    view = seen(folder)
    assert "model ./gone is not on this machine" in view.notes[0]
    assert "number" in view.exchanges[0].prompt
    assert not view.exchanges[0].known


def test_a_tokenizer_is_taken_only_from_the_model_that_ran(llama, tmp_path):
    from rerank_bench.engines.models import fingerprint

    ran = {"engine": "transformers", "model": str(llama), "files": fingerprint(llama)}
    (fitted,) = find_fit(ran, {})(["one two three four five six"], 2)
    assert fitted.truncated
    server = {"http://a": {"tokenizer": str(llama)}}
    served = {"engine": "http", "model": "m", "tokenizer": fingerprint(llama)}
    assert find_fit(served, server)(["one two three four five six"], 2) == [fitted]
    with pytest.raises(errors.EngineFault, match="have changed since the run"):
        find_fit({**ran, "files": "0" * 64}, {})
    with pytest.raises(errors.EngineFault, match="not on this machine at aaaaaaaaaaaa"):
        find_fit({"engine": "vllm", "model": "org/gone", "revision": "a" * 40}, {})
    with pytest.raises(errors.EngineFault, match="the server cut the texts"):
        find_fit({"engine": "http", "model": "m"}, {})


def test_a_changed_prompt_is_noted(made):
    folder = made("pointwise")
    changed = {"prompt": "0" * 64, "code": "rerank-bench 0.0.1"}
    rewrite(folder, lambda settings: settings["reranker"].update(changed))
    notes = seen(folder).notes
    assert any("ran as rerank-bench 0.0.1" in note for note in notes)
    assert any("prompt has changed" in note for note in notes)


def test_the_stages_of_a_cascade_are_shown_one_after_the_other(made):
    first = made("cross-encoder then listwise:window=3,stride=1,as=list at 4")
    folder = first.parent / "cross-encoder+list@4"
    view, result = seen(folder), load_run(folder).results[1]
    assert view.notes == ("a cascade: cross-encoder then list at 4",)
    asked = [(exchange.stage, exchange.request) for exchange in view.exchanges]
    pairs = [("cross-encoder", "PairScore")] * len(result.doc_ids)
    assert asked[: len(pairs)] == pairs
    assert set(asked[len(pairs) :]) == {("list", "Generate")}
    assert len(asked) == result.usage.calls
    rounds = [exchange.round for exchange in view.exchanges]
    assert rounds == sorted(rounds)
    assert rounds[-1] == result.usage.rounds
    assert all(exchange.known for exchange in view.exchanges)


def test_a_fusion_names_its_runs_and_has_no_requests(made, call):
    first = made("cross-encoder then reverse at 4")
    root = first.parents[3]
    call("fuse", "cross-encoder", "cross-encoder+reverse@4", "--runs", root, "--as", "both")
    view = seen(first.parent / "both")
    assert view.exchanges == ()
    assert "a fusion of cross-encoder, cross-encoder+reverse@4; show these runs too" in view.notes
    assert "no requests and replies: they are those of the runs that were fused" in view.notes


def test_the_first_stages_scores_are_those_of_the_run(made):
    view = seen(made("insertrank:scores=first_stage", profile="bm25()"))
    assert view.notes == ()
    assert view.exchanges
    assert all(exchange.known for exchange in view.exchanges)
