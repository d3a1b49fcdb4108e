"""Cascades: `A then B at K`."""

from __future__ import annotations

import json

import pytest

from rerank_bench import (
    BadOption,
    EngineDied,
    Failure,
    FakeEngine,
    Logits,
    PairScore,
    load_run,
    load_runs,
)
from rerank_bench.engines import EngineChoice, fake
from rerank_bench.inspect.plan import plan_suite
from rerank_bench.reranking import Defaults, Scope, choose, find_gpu, with_stages
from rerank_bench.runs import variants
from rerank_bench.suite import run_suite
from rerank_bench.suite.engine_order import by_engine
from tests.comparator import oracle, text_of

QUERIES = {f"q{i}": f"apple pear{i}" for i in range(6)}
CORPUS = {f"d{i}": f"apple number {i} pear{i % 6}" for i in range(30)}
QRELS = {f"q{i}": {f"d{i}": 2, f"d{i + 6}": 1} for i in range(6)}

PAIRS = "cross-encoder:engine=fake"
LIST = "listwise:engine=fake,window=4,stride=2"


@pytest.fixture
def data(beir):
    return beir(QUERIES, CORPUS, QRELS)


def runs_of(folders):
    found = [load_run(folder) for folder in folders]
    return {run.manifest["settings"]["reranker"]["label"]: run for run in found}


@pytest.mark.parametrize(
    ("text", "label", "stages"),
    [
        ("identity then reverse at 20", "identity+reverse@20", ["identity"]),
        ("identity  then reverse:as=r  at  20", "identity+r@20", ["identity"]),
        (
            "identity then reverse at 20 then random at 5",
            "identity+reverse@20+random@5",
            ["identity", "identity+reverse@20"],
        ),
    ],
)
def test_a_cascade_is_labelled_by_its_stages(text, label, stages):
    choice = choose(text)
    assert choice.label == label
    assert [own.label for own in with_stages([choice])] == [*stages, label]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("identity then reverse at 1", "K must be at least 2, not 1"),
        ("identity then reverse at -3", "K must be at least 2, not -3"),
        ("identity then reverse", "reverse at 20"),
        ("identity then reverse at many", "say how many documents"),
        ("identity then reverse at 20 then random", "random at 20"),
        ("cross-encoder:engine=fake then reverse", "reverse at 20"),
        ("identity then nothing at 20", "nothing"),
    ],
)
def test_a_cascade_that_cannot_be_is_refused(text, why):
    with pytest.raises(Exception, match=why):
        choose(text)


def test_the_word_then_may_stand_in_an_option():
    text = "Qwen3-Reranker-0.6B:engine=fake,instruction=read first then judge"
    choice = choose(text)
    assert choice.after is None
    assert choice.options["instruction"] == "read first then judge"


def test_a_stage_keeps_its_own_option_and_a_cascade_has_no_option_but_its_name(call, refused, data):
    file = data / "suite.toml"
    row = f'[[task]]\ntask = {json.dumps(str(data))}\n[[reranker]]\nreranker = "{PAIRS} then '
    file.write_text(row + 'reverse at 3"\nwindow = 3\n')
    assert "window belongs to one stage" in refused("run", file)
    file.write_text(row + 'reverse at 3"\nas = "both"\n')
    call("run", file, "--out", data / "runs", "--no-cache")
    assert {p.parent.name for p in data.rglob("manifest.json")} == {"both", "cross-encoder"}


def test_the_last_stage_reorders_the_head_and_leaves_the_rest(suite_of, data):
    folders = run_suite(suite_of(data, f"{PAIRS} then reverse at 3"))
    found = runs_of(folders)
    first, both = found["cross-encoder"], found["cross-encoder+reverse@3"]
    for before, after in zip(first.results, both.results, strict=True):
        assert after.doc_ids == (*before.doc_ids[:3][::-1], *before.doc_ids[3:])
        assert after.scores[3:] == (None,) * (len(after.doc_ids) - 3)
        place = dict(zip(before.doc_ids, before.first_stage_ranks, strict=True))
        assert [place[doc_id] for doc_id in after.doc_ids] == list(after.first_stage_ranks)
        assert after.safeguard == before.safeguard


def test_identity_leaves_the_order_of_the_stage_before_and_its_values(suite_of, data):
    suite = suite_of(data, f"{PAIRS} then identity at 1000")
    first, both = (load_run(folder) for folder in run_suite(suite))
    assert [r.doc_ids for r in first.results] == [r.doc_ids for r in both.results]
    assert [r.usage.calls for r in first.results] == [r.usage.calls for r in both.results]
    rows = load_runs(suite.out).rows.set_index(["reranker", "measure"])
    for name in ("gain", "first_stage", "natural", "calls_per_query", "cut", "budget", "model"):
        one, other = (rows.loc[(label, "nDCG@10"), name] for label in
                      ("cross-encoder", "cross-encoder+identity@1000"))  # fmt: skip
        assert one == other or one != one, name


def test_calls_tokens_and_rounds_of_the_stages_add_up(suite_of, data):
    text = f"{PAIRS} then {LIST},as=list at 8 then {PAIRS},max_doc_tokens=2,as=again at 5"
    found = runs_of(run_suite(suite_of(data, text)))
    one, two, three = (found[f"cross-encoder{rest}"] for rest in ("", "+list@8", "+list@8+again@5"))
    for a, b, c in zip(one.results, two.results, three.results, strict=True):
        assert a.usage.calls == len(a.doc_ids)
        assert b.usage.calls == a.usage.calls + 3  # windows of 4 by 2 over 8
        assert c.usage.calls == b.usage.calls + 5
        assert b.usage.rounds == a.usage.rounds + 3
        assert c.usage.prompt_tokens > b.usage.prompt_tokens > a.usage.prompt_tokens
        assert c.usage.seconds >= b.usage.seconds >= a.usage.seconds
    stages = three.manifest["stages"]
    assert [stage["label"] for stage in stages] == ["cross-encoder", "list", "again"]
    assert [stage["calls"] for stage in stages] == [
        sum(r.usage.calls for r in one.results), 3 * len(QUERIES), 5 * len(QUERIES),
    ]  # fmt: skip
    assert sum(stage["documents"] for stage in stages) == sum(
        len(r.doc_ids) + 8 + 5 for r in three.results
    )
    described = three.manifest["settings"]["reranker"]["stages"]
    assert [described[n].get("at") for n in "123"] == [None, 8, 5]


def test_a_failed_query_stays_failed_and_a_failure_keeps_first_stage_order(
    suite_of, data, monkeypatch
):
    def answer(request):
        """Fail all that is not a pair, and the pairs of one query."""
        if not isinstance(request, PairScore) or "pear1" in request.query.split():
            return Failure("no")
        return Logits((float(len(request.document)),), prompt_tokens=1)

    monkeypatch.setattr(fake, "overlap", answer)
    cascades = (f"{PAIRS} then {LIST},as=list at 5", f"reverse then {PAIRS} at 5")
    suite = suite_of(data, *cascades, scope=Scope(keep_going=True))
    found = runs_of(run_suite(suite))
    for label in ("cross-encoder", "reverse+cross-encoder@5"):
        failed = {r.query_id: r.failed for r in found[label].results if r.failed}
        assert failed == {"q1": "no"}
    both = found["cross-encoder+list@5"]
    assert all(r.failed == "no" for r in both.results)
    assert [r.usage.calls for r in both.results if r.query_id == "q1"] == [
        r.usage.calls for r in found["cross-encoder"].results if r.query_id == "q1"
    ]
    for result in found["reverse+cross-encoder@5"].results:
        ranks = list(result.first_stage_ranks)
        assert (ranks == sorted(ranks)) == (result.query_id == "q1")
    assert both.manifest["failed"] == len(QUERIES)


def test_a_stage_that_runs_alone_too_runs_once(suite_of, data, monkeypatch):
    asked = []
    monkeypatch.setattr(fake, "overlap", lambda r: asked.append(r) or Logits((0.0,)))
    suite = suite_of(data, f"{PAIRS} then identity at 5", PAIRS, cache=None)
    found = runs_of(run_suite(suite))
    assert sorted(found) == ["cross-encoder", "cross-encoder+identity@5"]
    assert len(asked) == sum(len(r.doc_ids) for r in found["cross-encoder"].results)
    del asked[:]
    other = suite_of(data, f"{PAIRS} then reverse at 5", cache=None)
    run_suite(other)
    assert not asked  # the finished run was read


def test_another_reranker_under_a_stages_label_is_refused(suite_of, data):
    suite = suite_of(data, "reverse:as=identity", "identity then reverse at 5")
    with pytest.raises(BadOption, match="stage of identity"):
        run_suite(suite)


def test_a_cascade_of_another_stage_is_refused_where_one_is_stored(suite_of, data):
    run_suite(suite_of(data, "random:seed=1,as=a then reverse:as=b at 5"))
    with pytest.raises(Exception, match="seed"):
        run_suite(suite_of(data, "random:seed=2,as=a then reverse:as=b at 5"))


def test_each_engine_is_open_alone_and_as_seldom_as_can_be(suite_of, data, monkeypatch):
    turns = by_engine(with_stages([
        choose(text, Defaults()) for text in (
            "cross-encoder:engine=fake,as=b",
            "reverse then cross-encoder:engine=fake,as=c at 5 then identity at 4",
        )
    ]))  # fmt: skip
    found = [(engine.name, [choice.label for choice in choices]) for engine, choices in turns]
    assert found == [
        ("none", ["reverse"]),
        ("fake", ["b", "reverse+c@5"]),
        ("none", ["reverse+c@5+identity@4"]),
    ]


def test_a_cascade_is_left_out_where_its_stage_lost_its_engine(suite_of, data, monkeypatch):
    class Dying(FakeEngine):
        def stream(self, requests):
            raise EngineDied("it died")

    opened = EngineChoice.open
    monkeypatch.setattr(
        EngineChoice,
        "open",
        lambda self: Dying(fake.overlap) if self.name == "fake" else opened(self),
    )
    suite = suite_of(data, f"{PAIRS} then reverse at 5", "identity")
    with pytest.raises(EngineDied, match="its stage cross-encoder was not finished"):
        run_suite(suite)
    assert [p.parent.name for p in suite.out.rglob("manifest.json")] == ["identity"]


def test_variants_of_a_cascade_follow_those_of_its_stages(suite_of, data):
    found = variants(["reverse"], repeat=2, alone=True)
    suite = suite_of(data, f"reverse then {PAIRS} at 5", variants=found)
    folders = {folder.name: load_run(folder) for folder in run_suite(suite)}
    assert len(folders) == 8
    other = folders["reverse~order-reverse"].results[0]
    both = folders["reverse+cross-encoder@5~order-reverse"].results[0]
    assert set(both.doc_ids[:5]) == set(other.doc_ids[:5])
    assert both.doc_ids[5:] == other.doc_ids[5:]
    assert load_runs(suite.out).orders is not None


def test_the_signal_previous_holds_the_scores_of_the_stage_before(suite_of, data, tmp_path):
    code = (
        "import json\n"
        "class Keep:\n"
        "    asks = frozenset()\n"
        "    def rerank(self, candidates):\n"
        "        signals = candidates.signals\n"
        "        ids = [d.doc_id for d in candidates.documents]\n"
        "        told = {n: list(v) for n, v in signals.items()} | {'ids': ids}\n"
        f"        with open({str(tmp_path / 'seen')!r}, 'a') as file:\n"
        "            file.write(json.dumps(told) + '\\n')\n"
        "        return signals['previous']\n"
    )
    (tmp_path / "keep.py").write_text(code)
    suite = suite_of(data, f"{PAIRS} then {tmp_path}/keep.py:Keep at 4", profiles=("bm25()",))
    first, _ = run_suite(suite)
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    for told, result in zip(seen, load_run(first).results, strict=True):
        assert told["ids"] == list(result.doc_ids[:4])
        assert told["previous"] == list(result.scores[:4])
        assert told["first_stage"] == list(result.first_stage_scores[:4])


def test_a_plan_counts_each_stage_once_and_says_so(suite_of, data):
    plan = plan_suite(suite_of(data, "reverse then random at 5"), find_gpu("h200"))
    assert [row.reranker for row in plan.rows] == ["reverse", "reverse+random@5"]
    assert any("what its last stage adds" in line for line in plan.assumptions)


def test_a_report_is_of_the_original_profile_and_no_cascade_is_a_floor(call, data):
    arguments = ["--task", data, "--out", data / "runs", "--no-cache"]
    done = call("run", *arguments, "--reranker", f"{PAIRS} then random at 5", "--json")
    rows = [row for row in json.loads(done.stdout) if row["measure"] == "nDCG@10"]
    both, first = (next(r for r in rows if r["reranker"] == label) for label in
                   ("cross-encoder+random@5", "cross-encoder"))  # fmt: skip
    assert both["first_stage"] == first["first_stage"]
    assert both["calls_per_query"] == first["calls_per_query"]
    found = load_runs(data / "runs").evaluation.runs.set_index("reranker")
    assert not found.loc["cross-encoder+random@5", "floor"]
    assert found.loc["cross-encoder+random@5", "engine"] == "fake"


def test_an_exact_last_stage_orders_what_a_noisy_one_hands_on(call, beir, monkeypatch):
    """The first stage's model errs, the second one's does not: its first documents are ideal."""
    names = [f"d{i}" for i in range(30)]
    relevance = {text_of(name): float(place * 7 % 30) for place, name in enumerate(names)}
    corpus = {name: f"apple {text_of(name)}" for name in names}
    data = beir({"q": "apple"}, corpus, {"q": {"d1": 1}})
    opened = EngineChoice.open

    def open_oracle(chosen):
        if chosen.name != "fake":
            return opened(chosen)
        return oracle(relevance, noise=9.0 if chosen.options.model == "noisy" else 0.0)

    monkeypatch.setattr(EngineChoice, "open", open_oracle)
    spec = (
        "cross-encoder:engine=fake,model=noisy,as=noisy then "
        "cross-encoder:engine=fake,model=exact,as=exact at 10"
    )
    flags = ["--task", data, "--profile", "bm25()", "--out", data / "runs", "--no-cache"]
    call("run", *flags, "--reranker", spec)
    found = runs_of(file.parent for file in (data / "runs").rglob("manifest.json"))
    (first,), (both,) = (found[label].results for label in ("noisy", "noisy+exact@10"))

    def ideal(doc_ids):
        return sorted(doc_ids, key=lambda d: -relevance[text_of(d)])

    assert list(first.doc_ids) != ideal(first.doc_ids)
    assert list(both.doc_ids[:10]) == ideal(first.doc_ids[:10])
    assert both.doc_ids[10:] == first.doc_ids[10:]
    assert both.usage.calls == len(first.doc_ids) + 10
