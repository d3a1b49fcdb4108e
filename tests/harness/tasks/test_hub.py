from __future__ import annotations

import pytest

from rerank_bench.errors import BadData, RerankBenchError, UnknownName
from rerank_bench.tasks import Source, TaskOptions, find_tasks, hub
from rerank_bench.tasks.catalog import sets

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def served(nano_folder, as_hub):
    """Serve a Nano folder of these splits as a hub data set; return the list of its calls."""

    def serve(dataset, *splits, **changed):
        folder = nano_folder(*splits, **changed)
        files = {
            config.name: {f.stem: f"{config.name}/{f.name}" for f in sorted(config.iterdir())}
            for config in sorted(folder.glob("*/"))
        }
        return as_hub(folder, dataset, files, COMMIT)

    return serve


def test_a_hub_data_set_is_read_at_one_resolved_commit(served):
    calls = served("org/Tiny", "a", "b")
    refs = find_tasks("org/Tiny")
    assert [ref.name for ref in refs] == ["org/Tiny/a", "org/Tiny/b"]
    task = refs[0].load()
    assert task.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert (task.source.kind, task.source.revision) == ("hub", COMMIT)
    assert tuple(task.shipped) == ("bm25",)
    assert task.shipped["bm25"]() == {"q1": ("d1", "d3"), "q2": ("d2",)}
    assert {call[-1] for call in calls} == {COMMIT}
    assert ("queries", "a", COMMIT) in calls
    assert ("queries", "b", COMMIT) not in calls


def test_titles_are_joined_and_unread_columns_refused_on_the_hub_too(served, load):
    texts = {"_id": ["d1", "d2"], "title": ["T", None], "text": ["one", None], "body": ["b", "b"]}
    served("org/Tiny", "a", corpus=texts)
    assert load("org/Tiny", ignore_column=["body"]).corpus == {"d1": "T one", "d2": ""}
    with pytest.raises(BadData, match="org/Tiny corpus/a: column 'body' is not read"):
        load("org/Tiny")


def test_a_pinned_revision_is_the_one_that_is_read(served, load):
    calls = served("org/Tiny", "a")
    assert load("org/Tiny/a", revision="f" * 40).source.revision == "f" * 40
    assert {call[-1] for call in calls} == {"f" * 40}


def test_a_missing_config_or_split_on_the_hub_is_named_first(served):
    served("org/Tiny", "belebele", "mlqa", qrels=None)
    with pytest.raises(BadData, match="org/Tiny has no config 'qrels'"):
        find_tasks("org/Tiny")
    with pytest.raises(UnknownName, match="unknown qrels config or file 'qrels_x'"):
        find_tasks("org/Tiny", TaskOptions(qrels="qrels_x"))


def test_an_unknown_split_on_the_hub_is_answered_with_the_nearest(served):
    served("org/Tiny", "belebele", "mlqa")
    with pytest.raises(UnknownName, match="did you mean belebele"):
        find_tasks("org/Tiny/belebel")


def test_a_catalogue_task_has_the_facts_of_the_catalogue(served, load):
    served("hakari-bench/NanoBEIR-en", *(entry.split for entry in sets()["NanoBEIR-en"]))
    assert len(find_tasks("NanoBEIR-en")) == 13
    for prefix in ("", "hakari-bench/"):
        for name in ("arguana", "NanoArguAna"):
            (ref,) = find_tasks(f"{prefix}NanoBEIR-en/{name}")
            assert ref.name == "NanoBEIR-en/arguana"
    task = ref.load()
    assert (task.name, task.split) == ("NanoBEIR-en/arguana", "NanoArguAna")
    assert task.published["bm25"]["nDCG@10"] == 0.4649518806
    assert (task.language, task.identical_by, task.dense) == ("en", "id", "harrier_oss_v1_270m")


def test_a_catalogue_set_that_lacks_a_split_is_an_error_naming_it(served):
    served("hakari-bench/NanoBEIR-en", *(entry.split for entry in sets()["NanoBEIR-en"][:-1]))
    with pytest.raises(UnknownName, match="NanoTouche2020"):
        find_tasks("NanoBEIR-en")


def no_network(dataset, revision):
    raise ConnectionError("Name or service not known\nand a long story")


@pytest.mark.parametrize("name", ["NanoMMTEB-v2", "NanoMMTEB-v2/belebele", "org/data/split"])
def test_without_a_network_the_error_is_one_line_and_names_a_cure(monkeypatch, name):
    monkeypatch.setattr(hub, "resolve", no_network)
    monkeypatch.setattr(hub, "_cached", lambda dataset, revision: None)
    with pytest.raises(RerankBenchError, match=r"cannot reach the hub .*\./FOLDER") as caught:
        find_tasks(name)
    assert "\n" not in str(caught.value)


def test_without_a_network_a_copy_in_the_hubs_cache_is_read(
    nano_folder, load, monkeypatch, tmp_path
):
    copy = tmp_path / "hub" / "datasets--org--Tiny" / "snapshots" / COMMIT
    copy.parent.mkdir(parents=True)
    nano_folder("a").rename(copy)
    refs = copy.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "resolve", no_network)
    task = load("org/Tiny")
    assert task.name == "org/Tiny/a"
    source = (task.source.kind, task.source.dataset, task.source.revision)
    assert source == ("hub", "org/Tiny", COMMIT)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("RepositoryNotFoundError", "the hub has no data set 'org/none'"),
        ("RevisionNotFoundError", "data set 'org/none' has no revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_have_is_named(monkeypatch, kind, message):
    import huggingface_hub.errors as errors

    def resolve(dataset, revision):
        raise getattr(errors, kind).__new__(getattr(errors, kind))

    monkeypatch.setattr(hub, "resolve", resolve)
    with pytest.raises(UnknownName, match=message):
        find_tasks("org/none", TaskOptions(revision="v9"))


def test_what_datasets_cannot_read_is_reported_in_one_line(tmp_path):
    reader = hub.HubReader(Source("hub", str(tmp_path / "nothing"), revision=COMMIT))
    with pytest.raises(RerankBenchError, match=r"cannot read .*nothing") as caught:
        reader.configs()
    assert "\n" not in str(caught.value)


def test_the_cause_of_an_error_of_datasets_is_reported(served, nano_folder, load):
    served("org/Tiny", "a", bm25=None)
    folder = nano_folder(bm25=None)
    rows = {
        "corpus": '{"_id": "d1", "text": "\\ud800"}',
        "queries": '{"_id": "q1", "text": "x"}',
        "qrels": '{"query-id": "q1", "corpus-id": "d1"}',
    }
    for config, row in rows.items():
        (folder / config / "a.jsonl").write_text(row + "\n")
    card = (folder / "README.md").read_text().replace("a.parquet", "a.jsonl")
    (folder / "README.md").write_text(card)
    with pytest.raises(RerankBenchError, match=r"corpus/a from the hub: \w+: ") as caught:
        load("org/Tiny")
    assert "An error occurred while generating" not in str(caught.value)
    assert "surrogate" in str(caught.value)
    assert str(caught.value).endswith("name the folder: --task ./FOLDER")
