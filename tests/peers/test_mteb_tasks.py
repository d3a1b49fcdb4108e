"""Tasks read through mteb itself, whose data come from a hub on the loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank_bench.errors import BadData, BadOption, RerankBenchError, UnknownName
from rerank_bench.tasks import TaskOptions, find_tasks
from rerank_bench.tasks.catalog import sets
from rerank_bench.tasks.mteb import load_task_of, mteb_tasks

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
    own = mteb.get_task("Core17InstructionRetrieval")
    own.load_data()
    read = _combine_queries_with_instruction_text(own.dataset["default"]["test"]["queries"])
    assert dict(zip(read["id"], read["text"], strict=True)) == task.queries


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
