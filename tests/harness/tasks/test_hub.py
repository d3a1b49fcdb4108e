from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_bench.errors import BadData, RerankBenchError, UnknownName
from rerank_bench.tasks import Source, TaskOptions, find_tasks, hub
from rerank_bench.tasks.catalog import sets

Writer = Callable[..., Path]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def header(folder: Path) -> str:
    """The data set card without which `datasets` would see one config."""
    configs = [
        {
            "config_name": config.name,
            "data_files": [
                {"split": file.stem, "path": f"{config.name}/{file.name}"}
                for file in sorted(config.glob("*.parquet"))
            ],
        }
        for config in sorted(folder.glob("*/"))
    ]
    return f"---\n{json.dumps({'configs': configs})}\n---\n"


@pytest.fixture
def served(
    nano_folder: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Any]]:
    """Serve a folder as a hub data set through the real `datasets`; what it was asked is listed."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    asked: list[Any] = []

    def serve(dataset: str, *splits: str, **changed: Any) -> list[Any]:
        folder = nano_folder(*splits, **changed)
        (folder / "README.md").write_text(header(folder))
        for name in (
            "get_dataset_config_names",
            "get_dataset_split_names",
            "get_dataset_config_info",
            "load_dataset",
        ):
            real = getattr(datasets, name)

            def call(path: str, *rest: str, _real: Any = real, revision: str, **kind: Any) -> Any:
                assert path == dataset
                asked.append((*rest, *kind.values(), revision))
                return _real(str(folder), *rest, **kind)

            monkeypatch.setattr(datasets, name, call)
        monkeypatch.setattr(hub, "resolve", lambda dataset, revision: revision or COMMIT)
        hub._configs.cache_clear()
        hub._splits.cache_clear()
        hub._columns.cache_clear()
        return asked

    return serve


def test_a_hub_data_set_is_read_at_one_resolved_commit(served: Callable[..., list[Any]]) -> None:
    asked = served("org/Tiny", "a", "b")
    refs = find_tasks("org/Tiny")
    assert [ref.name for ref in refs] == ["org/Tiny/a", "org/Tiny/b"]
    task = refs[0].load()
    assert task.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert (task.source.kind, task.source.revision) == ("hub", COMMIT)
    assert task.shipped.load("bm25") == {"q1": ("d1", "d3"), "q2": ("d2",)}
    assert task.shipped.names() == ("bm25",)
    assert {call[-1] for call in asked} == {COMMIT}
    assert ("queries", "a", COMMIT) in asked
    assert ("queries", "b", COMMIT) not in asked


def test_a_title_on_the_hub_is_joined_before_its_text(
    served: Callable[..., list[Any]],
) -> None:
    texts = {"_id": ["d1", "d2"], "title": ["T", None], "text": ["one", None]}
    served("org/Tiny", "a", corpus=texts)
    assert find_tasks("org/Tiny")[0].load().corpus == {"d1": "T one", "d2": ""}


def test_a_column_of_text_on_the_hub_that_is_not_read_is_refused(
    served: Callable[..., list[Any]],
) -> None:
    served("org/Tiny", "a", corpus={"_id": ["d1", "d2"], "text": ["x", "y"], "body": ["b", "b"]})
    with pytest.raises(BadData, match="org/Tiny corpus/a: column 'body' is not read"):
        find_tasks("org/Tiny")[0].load()
    assert find_tasks("org/Tiny", TaskOptions(ignore_column=["body"]))[0].load().corpus


def test_a_pinned_revision_is_the_one_that_is_read(served: Callable[..., list[Any]]) -> None:
    asked = served("org/Tiny", "a")
    (ref,) = find_tasks("org/Tiny/a", TaskOptions(revision="f" * 40))
    assert ref.load().source.revision == "f" * 40
    assert {call[-1] for call in asked} == {"f" * 40}


def test_a_missing_config_or_split_on_the_hub_is_named_first(
    served: Callable[..., list[Any]],
) -> None:
    served("org/Tiny", "a", "b", qrels=None)
    with pytest.raises(BadData, match="org/Tiny has no config 'qrels'"):
        find_tasks("org/Tiny")
    with pytest.raises(UnknownName, match="unknown qrels config or file 'qrels_x'"):
        find_tasks("org/Tiny", TaskOptions(qrels="qrels_x"))


def test_an_unknown_split_on_the_hub_is_answered_with_the_nearest(
    served: Callable[..., list[Any]],
) -> None:
    served("org/Tiny", "belebele", "mlqa")
    with pytest.raises(UnknownName, match="did you mean belebele"):
        find_tasks("org/Tiny/belebel")


def test_a_catalogue_task_carries_what_the_catalogue_knows(
    served: Callable[..., list[Any]],
) -> None:
    splits = [entry.split for entry in sets()["NanoBEIR-en"]]
    served("hakari-bench/NanoBEIR-en", *splits)
    assert len(find_tasks("NanoBEIR-en")) == 13
    for name in (
        "NanoBEIR-en/arguana",
        "NanoBEIR-en/NanoArguAna",
        "hakari-bench/NanoBEIR-en/arguana",
    ):
        (ref,) = find_tasks(name)
        assert ref.name == "NanoBEIR-en/arguana"
    task = ref.load()
    assert (task.name, task.split) == ("NanoBEIR-en/arguana", "NanoArguAna")
    assert task.published["bm25"]["nDCG@10"] == 0.4649518806
    assert (task.language, task.identical_by, task.dense) == ("en", "id", "harrier_oss_v1_270m")


def test_a_catalogue_set_that_lacks_a_split_is_an_error_naming_it(
    served: Callable[..., list[Any]],
) -> None:
    splits = [entry.split for entry in sets()["NanoBEIR-en"]]
    served("hakari-bench/NanoBEIR-en", *splits[:-1])
    with pytest.raises(UnknownName, match="NanoTouche2020"):
        find_tasks("NanoBEIR-en")


def no_network(dataset: str, revision: str | None) -> str:
    raise ConnectionError("Name or service not known\nand a long story")


def test_without_a_network_the_error_is_one_line_and_names_a_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "resolve", no_network)
    monkeypatch.setattr(hub, "_cached", lambda dataset, revision: None)
    for name in ("NanoMMTEB-v2", "NanoMMTEB-v2/belebele", "org/data/split"):
        with pytest.raises(RerankBenchError, match="cannot reach the hub") as caught:
            find_tasks(name)
        assert "\n" not in str(caught.value)
        assert "./FOLDER" in str(caught.value)


def test_without_a_network_a_copy_in_the_hubs_cache_is_read(
    nano_folder: Writer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "hub" / "datasets--org--Tiny" / "snapshots" / COMMIT
    copy.parent.mkdir(parents=True)
    nano_folder("a").rename(copy)
    refs = copy.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "resolve", no_network)
    (ref,) = find_tasks("org/Tiny")
    task = ref.load()
    assert task.name == "org/Tiny/a"
    assert (task.source.kind, task.source.dataset) == ("hub", "org/Tiny")
    assert task.source.revision == COMMIT


def refused(kind: str) -> Exception:
    import huggingface_hub.errors as errors

    made = getattr(errors, kind)
    error: Exception = made.__new__(made)
    return error


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("RepositoryNotFoundError", "the hub has no data set 'org/none'"),
        ("RevisionNotFoundError", "data set 'org/none' has no revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_know_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    def resolve(dataset: str, revision: str | None) -> str:
        raise refused(kind)

    monkeypatch.setattr(hub, "resolve", resolve)
    with pytest.raises(UnknownName, match=said):
        find_tasks("org/none", TaskOptions(revision="v9"))


def test_what_datasets_cannot_read_is_told_in_one_line(
    tmp_path: Path,
) -> None:
    reader = hub.HubReader(Source("hub", str(tmp_path / "nothing"), revision=COMMIT))
    with pytest.raises(RerankBenchError, match=r"cannot read .*nothing") as caught:
        reader.configs()
    assert "\n" not in str(caught.value)


def test_the_reason_and_not_its_wrapping_is_said_of_a_file_that_datasets_cannot_read(
    served: Callable[..., list[Any]], nano_folder: Writer
) -> None:
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
    with pytest.raises(RerankBenchError, match=r"corpus/a from the hub \(\w+: ") as caught:
        find_tasks("org/Tiny")[0].load()
    assert "An error occurred while generating" not in str(caught.value)
    assert "surrogate" in str(caught.value)
    assert str(caught.value).endswith("name the folder: --task ./FOLDER")
