"""MTEB's tasks without its package: from the catalogue, at the commits that MTEB pins."""

from __future__ import annotations

import importlib.util
from importlib import metadata

import pytest

from rerank_bench.errors import MissingExtra, UnknownName
from rerank_bench.tasks import TaskOptions, find_tasks
from rerank_bench.tasks.catalog import sets

CORPUS = {"_id": ["d1", "d2", "d3"], "title": ["T", "", ""], "text": ["one", "two", "three"]}
ASKED = {"_id": ["q1", "q2"], "text": ["first?", "second?"], "context": ["not read", "by MTEB"]}
JUDGED = {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"], "score": [1, 1]}
LISTS = {"query-id": ["q1", "q2"], "corpus-ids": [["d1", "d2", "d3"], ["d2", "d1", "d3"]]}


@pytest.fixture
def t2_reranking(tmp_path, write_table, hub):
    (entry,) = sets()["mteb:T2Reranking"]
    tables = {"corpus": CORPUS, "queries": ASKED, "default": JUDGED, "top_ranked": LISTS}
    for config, columns in tables.items():
        write_table(tmp_path / "set" / config / "dev-00000-of-00001.parquet", columns)
    hub.publish(entry.hub, tmp_path / "set", entry.revision)
    hub.publish(entry.hub, {"README.md": b"# a later commit, with nothing in it"})
    return entry


@pytest.mark.parametrize("name", ["mteb:T2Reranking", "mteb:T2Reranking/dev"])
def test_a_task_of_mteb_is_read_at_the_commit_that_mteb_pins(t2_reranking, hub, name):
    (ref,) = find_tasks(name)
    task = ref.load()
    assert (ref.name, task.name, task.split) == ("mteb:T2Reranking/dev",) * 2 + ("dev",)
    assert task.source.revision == t2_reranking.revision
    assert (task.corpus["d1"], task.queries["q1"]) == ("T one", "first?")
    assert (task.main_measure, task.language, task.identical_by) == ("MAP@1000", "zh", "id")
    assert task.main_score == "map_at_1000"
    assert task.instruction.startswith("Given a Chinese search query")
    assert sorted(task.shipped["candidates"]()["q1"]) == ["d1", "d2", "d3"]
    assert task.notes == {}


def test_a_pinned_commit_that_a_mirror_lacks_is_told_with_the_way_to_the_newest(t2_reranking, hub):
    files = hub.revisions.pop(t2_reranking.hub)[t2_reranking.revision]
    commit = hub.publish(t2_reranking.hub, files)
    with pytest.raises(UnknownName, match=r"--revision main .*\(the catalogue pins \w{12}\)$"):
        find_tasks("mteb:T2Reranking")
    (ref,) = find_tasks("mteb:T2Reranking", TaskOptions(revision="main"))
    assert ref.load().source.revision == commit


def test_another_revision_and_another_split_are_those_of_the_data_set(t2_reranking, hub):
    with pytest.raises(UnknownName, match=r"no revision 'v9'"):
        find_tasks("mteb:T2Reranking", TaskOptions(revision="v9"))
    with pytest.raises(UnknownName, match="did you mean mteb:T2Reranking/dev"):
        find_tasks("mteb:T2Reranking/test")


def test_the_catalogue_knows_which_tasks_leave_out_a_querys_own_document():
    excluding = [name for name, (entry, *_) in sets().items() if entry.exclude_identical]
    assert excluding == [
        f"mteb:{name}Retrieval" for name in ("T2", "MMarco", "Ecom", "Medical", "Video")
    ]


@pytest.mark.skipif(importlib.util.find_spec("mteb") is not None, reason="mteb is installed")
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mteb:NanoArguAnaRetrieval", "or name its repository: --task mteb/NanoArguAnaRetrieval"),
        ("mteb:NanoNQRetrieval/x", "or name its repository: --task mteb/NanoNQRetrieval/x$"),
        ("mteb:T2Rerankin", r"did you mean mteb:T2Reranking\?"),
    ],
)
def test_other_tasks_need_the_extra_which_is_named(name, hint):
    message = rf"{name} needs the extra mteb: pip install 'rerank-bench\[mteb\]'; {hint}"
    with pytest.raises(MissingExtra, match=message):
        find_tasks(name)


@pytest.mark.skipif(importlib.util.find_spec("mteb") is not None, reason="mteb is installed")
@pytest.mark.parametrize("name", ["mteb:MTEB(cmn, v1)", "mteb:BEIR", "mteb:CMTEB"])
def test_a_benchmark_is_not_taken_for_a_repository(name):
    with pytest.raises(MissingExtra, match=r"pip install 'rerank-bench\[mteb\]'$"):
        find_tasks(name)


def test_an_mteb_that_is_too_old_is_refused(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "1.39.7" if n == "mteb" else real(n))
    message = r"mteb 1.39.7 is too old for mteb:NanoNQ \(mteb>=2.26\): pip install"
    with pytest.raises(MissingExtra, match=message):
        find_tasks("mteb:NanoNQ")
