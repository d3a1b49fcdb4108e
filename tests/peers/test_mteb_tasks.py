"""Tasks read through mteb itself, whose data come from a hub on the loopback."""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.errors import BadData, BadOption, RerankBenchError, UnknownName
from rerank_bench.evaluation import measure, positives_of
from rerank_bench.evaluation.calibration import _confidences, nauc
from rerank_bench.pools import build_pool
from rerank_bench.report.mteb import mteb_scores
from rerank_bench.tasks import TWO_LETTERS, TaskOptions, find_tasks, mteb_language
from rerank_bench.tasks.catalog import sets
from rerank_bench.tasks.mteb import (
    _BENCHMARKS,
    _TYPES,
    _main_measure,
    load_task_of,
    mteb_tasks,
)

mteb = pytest.importorskip("mteb", reason="mteb is not installed (make test-peers)")

CORPUS = {"_id": ["d1", "d2", "d3"], "title": ["T", "", ""], "text": ["one", "two", "three"]}
ASKED = {"_id": ["q1", "q2", "q3"], "text": ["first?", "second?", "third?"]}
JUDGED = {"query-id": ["q1", "q2", "q2"], "corpus-id": ["d1", "d2", "d3"], "score": [2, 1, 0]}
LISTS = {"query-id": ["q1", "q2"], "corpus-ids": [["d1", "d2", "d3"], ["d2", "d1", "d3"]]}
INSTRUCTED = {"query-id": ["q1", "q2", "q3"], "instruction": ["in verse", "in prose", ""]}


@pytest.fixture
def publish(tmp_path, hub, monkeypatch):
    """Publish tables as `CONFIG/SPLIT` of a data set at a commit; `datasets` reads from there."""
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))

    def write(dataset: str, tables: dict[str, dict], commit: str) -> None:
        folder = tmp_path / dataset.replace("/", "--")
        lines = ["---", "configs:"]
        for name, columns in tables.items():
            config, split = name.split("/")
            file = folder / config / f"{split}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), file)
            lines += [f"- config_name: {config}", "  data_files:"]
            lines += [f"  - split: {split}", f"    path: {config}/{split}.parquet"]
        (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
        hub.publish(dataset, Path(folder), commit)

    return write


def test_the_catalogue_reads_what_mteb_reads(publish):
    (entry,) = sets()["mteb:T2Reranking"]
    tables = {"corpus/dev": CORPUS, "queries/dev": ASKED, "default/dev": JUDGED}
    publish(entry.hub, {**tables, "top_ranked/dev": LISTS}, entry.revision)
    ours = find_tasks("mteb:T2Reranking")[0].load()
    task = mteb.get_task("T2Reranking")
    theirs = load_task_of(task, "default", "dev", "mteb:T2Reranking/dev", TaskOptions())
    for name in ("name", "split", "queries", "corpus", "qrels", "instruction", "main_measure",
                 "language", "identical_by", "exclude_identical"):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.source.revision == theirs.source.revision
    assert ours.shipped["candidates"]() == theirs.shipped["candidates"]()


def test_the_catalogue_has_the_facts_of_mteb():
    for name, (entry, *_) in sets().items():
        if name.startswith("mteb:"):
            task = mteb.get_task(name.removeprefix("mteb:"))
            about = task.metadata
            assert (entry.hub, entry.revision) == tuple(about.dataset.values()), name
            assert entry.exclude_identical == task.ignore_identical_ids, name
            assert [entry.split] == list(task.eval_splits), name


def test_a_task_outside_the_catalogue_is_read_through_mteb(publish):
    about = mteb.get_task("NanoArguAnaRetrieval").metadata
    tables = {"corpus/train": CORPUS, "queries/train": ASKED, "qrels/train": JUDGED}
    publish(about.dataset["path"], tables, about.dataset["revision"])
    (ref,) = find_tasks("mteb:NanoArguAnaRetrieval")
    assert ref.name == "mteb:NanoArguAnaRetrieval/train"
    task = ref.load()
    assert (task.queries, task.corpus["d1"]) == ({"q1": "first?", "q2": "second?"}, "T one")
    assert (task.source.kind, task.source.dataset) == ("mteb", about.dataset["path"])
    assert (task.language, task.main_measure, task.shipped) == ("en", "nDCG@10", {})


def test_what_mteb_cannot_fetch_is_refused_with_the_cure(publish, hub):
    about = mteb.get_task("NFCorpus").metadata
    tables = {"corpus/test": CORPUS, "queries/test": ASKED, "default/test": JUDGED}
    publish(about.dataset["path"], tables, about.dataset["revision"])
    (ref,) = find_tasks("mteb:NFCorpus")
    hub.gated.add(about.dataset["path"])
    conditions = rf"accept its conditions at \S+{about.dataset['path']}, then `hf auth login`"
    with pytest.raises(RerankBenchError, match=rf"cannot load NFCorpus .*; {conditions}"):
        ref.load()
    hub.gated.clear()
    hub.close()
    with pytest.raises(RerankBenchError, match=r"cannot load NFCorpus .*; run it again with a net"):
        ref.load()


def test_languages_are_written_as_mteb_does():
    known = {
        code
        for task in mteb.get_tasks()
        for codes in ([task.metadata.eval_langs] if isinstance(task.metadata.eval_langs, list)
                      else task.metadata.eval_langs.values())
        for code in codes
    }  # fmt: skip
    listed = {entry.language for entries in sets().values() for entry in entries} - {None}
    assert {mteb_language(code) for code in [*TWO_LETTERS.values(), *listed]} <= known
    assert {mteb_language(code) for code in ("de", "deu", "deu_Latn")} == {"deu-Latn"}


def test_halves_are_rounded_as_in_mteb():
    """801 relevant documents of 200 queries are a precision of 0.004005 at 1000."""
    from mteb._evaluators.retrieval_metrics import parse_metrics_from_scores

    for seed in range(5):  # numpy's mean is on the other side of the half in all of these
        rng = random.Random(seed)
        found = [rng.randint(0, 8) for _ in range(200)]
        while (more := 801 - sum(found)) != 0:
            at = rng.randrange(200)
            found[at] = max(0, found[at] + (1 if more > 0 else -1))
        ids = [[f"d{n}" for n in range(1000)] for _ in found]
        grades = [{f"d{n}": 1 for n in range(count)} for count in found]
        scores = {
            str(q): defaultdict(float, {"P_1000": count / 1000}) for q, count in enumerate(found)
        }
        precision = parse_metrics_from_scores(scores, [1000])[3]["P@1000"]
        assert mteb_scores(ids, grades)["precision_at_1000"] == precision


def test_each_subset_is_a_task_and_only_the_one_that_is_asked_for_is_loaded(publish, hub):
    about = mteb.get_task("MIRACLRetrievalHardNegatives").metadata
    tables = {
        f"{language}-{name}/dev": columns
        for language in ("ar", "bn")
        for name, columns in (("corpus", CORPUS), ("queries", ASKED), ("qrels", JUDGED))
    }
    publish(about.dataset["path"], tables, about.dataset["revision"])
    refs = find_tasks("mteb:MIRACLRetrievalHardNegatives")
    assert {ref.name for ref in refs} >= {f"mteb:{about.name}/{code}-dev" for code in ("ar", "bn")}
    (ref,) = find_tasks(f"mteb:{about.name}/ar-dev")
    task = ref.load()
    assert (task.split, task.language, len(task.queries)) == ("ar-dev", "ar", 2)
    assert not [name for name in hub.fetched() if name.startswith("bn-")]


def test_instructions_stand_behind_queries_as_mteb_reads_them(publish):
    from mteb._create_dataloaders import _combine_queries_with_instruction_text

    about = mteb.get_task("Core17InstructionRetrieval").metadata
    tables = {"corpus/test": CORPUS, "queries/test": ASKED, "default/test": JUDGED,
              "instruction/test": INSTRUCTED}  # fmt: skip
    publish(about.dataset["path"], tables, about.dataset["revision"])
    (ref,) = find_tasks("mteb:Core17InstructionRetrieval")
    task = ref.load()
    assert task.queries == {"q1": "first? in verse", "q2": "second? in prose"}
    assert (task.main_measure, task.main_score) == (None, "p-MRR")
    own = mteb.get_task("Core17InstructionRetrieval")
    own.load_data()
    read = _combine_queries_with_instruction_text(own.dataset["default"]["test"]["queries"])
    assert dict(zip(read["id"], read["text"], strict=True)) == task.queries


def test_the_main_score_of_every_task_is_a_measure_here_or_known_as_not_computed():
    tasks = mteb.get_tasks(task_types=list(_TYPES), modalities=["text"])
    scores = {task.metadata.main_score for task in tasks}
    assert {score for score in scores if _main_measure(score) is None} == {
        "p-MRR", "robustness_at_10", "paired_accuracy", "max_over_subqueries_map_at_1000"
    }  # fmt: skip
    found = [_main_measure(name) for name in ("accuracy", "hit_rate_at_5", "map_at_1000")]
    assert found == ["recall@1", "hit@5", "MAP@1000"]


def test_data_in_the_old_form_are_converted():
    task = mteb.get_task("NanoArguAnaRetrieval")
    task.queries = {"train": {"q1": "first?"}}
    task.corpus = {"train": {"d1": {"title": "T", "text": "one"}, "d2": "two"}}
    task.relevant_docs = {"train": {"q1": {"d1": 1}}}
    task.data_loaded = True
    found = load_task_of(task, "default", "train", "mteb:x/train", TaskOptions())
    assert (found.queries, found.corpus) == ({"q1": "first?"}, {"d1": "T one", "d2": "two"})


def test_a_benchmark_is_its_retrieval_and_reranking_tasks():
    names = [ref.name for ref in mteb_tasks("mteb:MTEB(cmn, v1)", TaskOptions())]
    wanted = {f"{name}/{entry.split}" for name, (entry, *_) in sets().items()
              if name.startswith("mteb:") and entry.language == "zh"}  # fmt: skip
    assert set(names) == wanted
    assert len(names) == 12


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("MTEB(Chinese)", 12), ("CMTEB", 12), ("MTEB(cmn, v1)/dev", 10), ("MTEB(cmn, v1)/test", 2),
        ("CQADupstackRetrieval/test", 12),
    ],
)  # fmt: skip
def test_a_benchmark_has_its_other_names_and_a_split_names_its_tasks(name, count):
    names = [ref.name for ref in mteb_tasks(f"mteb:{name}", TaskOptions())]
    part = name.partition("/")[2]
    assert len(names) == count
    assert all(own.partition("/")[2] == part for own in names if part)


def test_plain_names_of_benchmarks_are_known_without_mteb():
    from mteb.benchmarks.get_benchmark import _build_aliases_registry

    every = [benchmark.name for benchmark in mteb.get_benchmarks()] + [*_build_aliases_registry()]
    assert {name for name in every if re.fullmatch(r"[\w.-]+", name)} == _BENCHMARKS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mteb:T2Rerankin", "did you mean mteb:T2Reranking"),
        ("mteb:MTEB(cmn, v9)", r"did you mean mteb:MTEB\(cmn, v1\)"),
        ("mteb:NanoNQRetrieval/test", "did you mean mteb:NanoNQRetrieval/train"),
    ],
)
def test_an_unknown_task_or_benchmark_is_answered_with_near_names(name, message):
    with pytest.raises(UnknownName, match=message):
        find_tasks(name)


def test_what_cannot_be_had_through_mteb_is_refused(publish, hub):
    with pytest.raises(BadData, match=r"mteb:TNews has no retrieval or reranking .*Classification"):
        find_tasks("mteb:TNews")
    with pytest.raises(BadOption, match="read at the revision and hub that mteb pins"):
        find_tasks("mteb:NanoNQRetrieval", TaskOptions(revision="main"))
    (ref,) = find_tasks("mteb:NanoNQRetrieval")
    with pytest.raises(RerankBenchError, match=r"mteb cannot load NanoNQRetrieval \(mteb/Nano"):
        ref.load()


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=4), st.floats(0, 1)),
        min_size=2,
        max_size=30,
    )
)
def test_calibration_is_computed_as_mteb_does(queries):
    from mteb._evaluators.retrieval_metrics import confidence_scores
    from mteb._evaluators.retrieval_metrics import nauc as theirs

    values = np.array([value for _, value in queries])
    ours = np.array([_confidences(scores) for scores, _ in queries])
    other = [confidence_scores(scores) for scores, _ in queries]
    for place, name in enumerate(("max", "std", "diff1")):
        wanted = np.array([own[name] for own in other])
        assert ours[:, place] == pytest.approx(wanted)
        found = nauc(wanted, values)
        expected = theirs(wanted, values)
        if found is not None and np.ptp(values) > 1e-3:
            assert found == pytest.approx(expected, abs=1e-6)


def score(query: str, text: str) -> float:
    """No two documents of a query have one score."""
    digest = hashlib.sha256(f"{query}|{text}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


class HashCrossEncoder:
    """A model of mteb's that scores pairs by `score`."""

    mteb_model_meta = None

    def __init__(self) -> None:
        from mteb.models.model_meta import ModelMeta

        self.mteb_model_meta = ModelMeta.create_empty({"name": "test/hash", "revision": "1"})

    def predict(self, inputs1, inputs2, **kwargs):
        queries = [text for batch in inputs1 for text in batch["text"]]
        texts = [text for batch in inputs2 for text in batch["text"]]
        return np.array([score(q, t) for q, t in zip(queries, texts, strict=True)])


def test_measures_of_reranked_candidates_are_those_of_mteb(publish):
    (entry,) = sets()["mteb:T2Reranking"]
    ids = [f"d{n}" for n in range(60)]
    asked = [f"q{n}" for n in range(8)]
    pairs = [(q, ids[(7 * i + 3 * j) % 60], 1) for i, q in enumerate(asked) for j in range(1 + i)]
    judged = dict(zip(JUDGED, zip(*pairs, strict=True), strict=True))
    publish(
        entry.hub,
        {
            "corpus/dev": {"_id": ids, "text": [f"text {d}" for d in ids]},
            "queries/dev": {"_id": asked, "text": [f"question {q}" for q in asked]},
            "default/dev": {name: list(values) for name, values in judged.items()},
            "top_ranked/dev": {
                "query-id": asked,
                "corpus-ids": [ids[i : i + 50] for i in range(8)],
            },
        },
        entry.revision,
    )
    result = mteb.evaluate(HashCrossEncoder(), mteb.get_task("T2Reranking"), cache=None)
    (theirs,) = result.task_results[0].scores["dev"]
    task = find_tasks("mteb:T2Reranking")[0].load()
    rows = build_pool(task, "candidates").rows
    rankings = [
        sorted(row.natural, key=lambda d: -score(task.queries[row.query_id], task.corpus[d]))
        for row in rows
    ]
    names = {
        f"{kind}@{k}": f"{kind.lower()}_at_{k}"
        for kind in ("nDCG", "MAP", "MRR", "recall", "precision")
        for k in (1, 3, 5, 10, 20, 100, 1000)
    }
    grades = [positives_of(task.qrels[row.query_id]) for row in rows]
    ours = measure(rankings, grades, [*names])
    for name, key in names.items():
        # mteb rounds to five decimals
        assert ours[name].mean() == pytest.approx(theirs[key], abs=6e-6), name
    assert theirs["main_score"] == theirs[names[task.main_measure]]
