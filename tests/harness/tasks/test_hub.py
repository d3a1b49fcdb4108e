"""Data sets on a hub, read with the real clients from a hub on the loopback."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time

import pytest

from rerank_bench.errors import BadData, MissingExtra, RerankBenchError, UnknownName
from rerank_bench.tasks import TaskOptions, find_tasks
from rerank_bench.tasks.catalog import sets
from rerank_bench.tasks.folder import LocalFiles
from rerank_bench.tasks.hub import HUBS, HubFiles, Listing, _kept, _record

GATED = r"data set org/Tiny is gated; accept its conditions at https://\S+/org/Tiny, then `hf auth"


def test_a_hub_data_set_is_read_at_one_resolved_commit(nano_on_hub, hub):
    old = nano_on_hub("org/Tiny", "a")
    new = nano_on_hub("org/Tiny", "a", "b")
    refs = find_tasks("org/Tiny")
    assert [ref.name for ref in refs] == ["org/Tiny/a", "org/Tiny/b"]
    task = refs[0].load()
    assert task.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert (task.source.kind, task.source.revision) == ("hub", new)
    assert task.shipped["bm25"]() == {"q1": ("d1", "d3"), "q2": ("d2",)}
    (pinned,) = find_tasks("org/Tiny", TaskOptions(revision=old))
    assert pinned.load().source.revision == old


def test_only_the_files_of_one_task_are_fetched(nano_on_hub, hub, load):
    nano_on_hub("org/Tiny", "a", "b")
    task = load("org/Tiny/a")
    texts = {f"{config}/a.parquet" for config in ("corpus", "queries", "qrels")}
    assert set(hub.fetched()) == {"README.md", *texts}
    task.shipped["bm25"]()
    assert set(hub.fetched()) == {"README.md", "bm25/a.parquet", *texts}


def test_what_was_fetched_once_is_read_without_a_network(nano_on_hub, hub, load, monkeypatch):
    commit = nano_on_hub("org/Tiny", "a", "b")
    before = load("org/Tiny/a")
    hub.close()
    for name, revision in (("org/Tiny/a", None), ("org/Tiny/a", commit)):
        again = load(name, revision=revision)
        assert (again.source, again.queries) == (before.source, before.queries)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RerankBenchError, match=r"cannot fetch queries/b.parquet of org/Tiny: \w+"):
        load("org/Tiny/b")
    with pytest.raises(RerankBenchError, match=r"cannot reach the hub for org/Other: .*./FOLDER"):
        load("org/Other/b")


def test_a_commit_is_read_without_a_network_only_when_its_rows_were_fetched(nano_on_hub, hub, load):
    old = nano_on_hub("org/Tiny", "a")
    assert load("org/Tiny/a").source.revision == old
    new = nano_on_hub("org/Tiny", "a", corpus={"_id": ["d1", "d2"], "text": ["new", "newer"]})
    find_tasks("org/Tiny/a")  # nothing but the list and the card is fetched
    hub.close()
    for revision in (None, old, old[:7]):
        assert load("org/Tiny/a", revision=revision).source.revision == old
    with pytest.raises(RerankBenchError, match="cannot reach the hub for org/Tiny"):
        load("org/Tiny/a", revision=new)


def test_the_beginning_of_two_commits_names_neither(hub, monkeypatch):
    site = ListedElsewhere("x.jsonl")
    for commit in ("0123456a", "0123456b"):
        Listing(commit, ["README.md"]).keep(_record(site, "org/Two", commit))
    assert _kept(site, "org/Two", "0123456") is None
    assert _kept(site, "org/Two", "0123456b").commit == "0123456b"


TREE = ["README.md", "c/a.jsonl", "c/b.jsonl", "c/z[1].jsonl", "c/!.jsonl", "c/d/a.jsonl", "e/.x"]


@pytest.mark.parametrize(
    "pattern",
    ["c/*.jsonl", "c/[!a]*", "c/[^a]*", "**/a.jsonl", "c/**/?.jsonl", "./c/a*", "c/z[[]1].jsonl",
     "c/z[1].jsonl", "[z-a].jsonl", "c/[ab].jsonl", "*", "c/[", "**/*", "e/*", "c/**x", "*/*"],
)  # fmt: skip
def test_patterns_are_read_on_a_hub_as_in_a_folder(pattern, tmp_path):
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    site = ListedElsewhere("x")
    on_hub = HubFiles(site, "org/Tree", Listing("c1", TREE))
    try:
        found = [path for path in LocalFiles(tmp_path).glob(pattern) if path.is_file()]
    except ValueError:
        with pytest.raises(ValueError, match="entire part"):
            on_hub.glob(pattern)
        return
    assert on_hub.glob(pattern) == [path.relative_to(tmp_path) for path in found]


def test_a_complete_copy_in_the_hubs_cache_is_read_without_a_network(nano_on_hub, hub, load):
    from huggingface_hub import snapshot_download

    commit = nano_on_hub("org/Tiny", "a")
    snapshot_download("org/Tiny", repo_type="dataset")
    hub.close()
    task = load("org/Tiny")
    source = (task.name, task.source.kind, task.source.dataset, task.source.revision)
    assert source == ("org/Tiny/a", "hub", "org/Tiny", commit)


def test_half_a_download_is_resumed_where_it_broke_off(nano_on_hub, hub, load, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    texts = {"_id": [f"d{n}" for n in range(4000)], "text": [f"text {n * n}" for n in range(4000)]}
    nano_on_hub("org/Tiny", "a", corpus=texts)
    hub.cut["corpus/a.parquet"] = 1
    assert len(load("org/Tiny").corpus) == 4000
    assert hub.fetched().count("corpus/a.parquet") == 2
    (file,) = (files["corpus/a.parquet"] for files in hub.revisions["org/Tiny"].values())
    kept = int(hub.ranges[-1].removeprefix("bytes=").removesuffix("-"))
    assert len(file) // 2 - 1000 <= kept <= len(file) // 2


def test_files_that_are_complete_are_kept_when_another_cannot_be_fetched(nano_on_hub, hub):
    nano_on_hub("org/Tiny", "a")
    (ref,) = find_tasks("org/Tiny")
    hub.gone.add("qrels/a.parquet")
    with pytest.raises(RerankBenchError, match=r"cannot fetch qrels/a.parquet of org/Tiny"):
        ref.load()
    hub.gone.clear()
    hub.requests.clear()
    assert ref.load().qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert hub.fetched() == ["qrels/a.parquet"]


def test_datasets_reads_the_same_rows(nano_on_hub, hub, load, monkeypatch, tmp_path):
    import datasets

    nano_on_hub("org/Tiny", "a", "b")
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    task = load("org/Tiny/b")
    for config, found in (("corpus", task.corpus), ("queries", task.queries)):
        rows = datasets.load_dataset("org/Tiny", config, split="b", revision=task.source.revision)
        assert dict(zip(rows["_id"], rows["text"], strict=True)) == found


def test_titles_are_joined_and_unread_columns_refused_on_the_hub_too(nano_on_hub, load):
    texts = {"_id": ["d1", "d2"], "title": ["T", None], "text": ["one", None], "body": ["b", "b"]}
    nano_on_hub("org/Tiny", "a", corpus=texts)
    assert load("org/Tiny", ignore_column=["body"]).corpus == {"d1": "T one", "d2": ""}
    with pytest.raises(BadData, match=r"corpus/a.parquet: column 'body' is not read"):
        load("org/Tiny")


def test_a_missing_config_or_split_on_the_hub_is_named_first(nano_on_hub):
    nano_on_hub("org/Tiny", "belebele", "mlqa", qrels=None)
    with pytest.raises(BadData, match="org/Tiny has no config 'qrels'"):
        find_tasks("org/Tiny")
    with pytest.raises(UnknownName, match="unknown qrels config or file 'qrels_x'"):
        find_tasks("org/Tiny", TaskOptions(qrels="qrels_x"))


def test_an_unknown_split_on_the_hub_is_answered_with_the_nearest(nano_on_hub):
    nano_on_hub("org/Tiny", "belebele", "mlqa")
    with pytest.raises(UnknownName, match="did you mean belebele"):
        find_tasks("org/Tiny/belebel")


def test_a_catalogue_task_has_the_facts_of_the_catalogue(nano_on_hub):
    nano_on_hub("hakari-bench/NanoBEIR-en", *(e.split for e in sets()["NanoBEIR-en"]))
    assert len(find_tasks("NanoBEIR-en")) == 13
    for prefix in ("", "hakari-bench/"):
        for name in ("arguana", "NanoArguAna"):
            (ref,) = find_tasks(f"{prefix}NanoBEIR-en/{name}")
            assert ref.name == "NanoBEIR-en/arguana"
    task = ref.load()
    assert (task.name, task.split) == ("NanoBEIR-en/arguana", "NanoArguAna")
    assert task.published["bm25"]["nDCG@10"] == 0.4649518806
    assert (task.language, task.identical_by, task.dense) == ("en", "id", "harrier_oss_v1_270m")


def test_a_catalogue_set_that_lacks_a_split_is_an_error_naming_it(nano_on_hub):
    nano_on_hub("hakari-bench/NanoBEIR-en", *(e.split for e in sets()["NanoBEIR-en"][:-1]))
    with pytest.raises(UnknownName, match="NanoTouche2020"):
        find_tasks("NanoBEIR-en")


@pytest.mark.parametrize("name", ["NanoMMTEB-v2", "NanoMMTEB-v2/belebele", "org/data/split"])
def test_without_a_network_the_error_is_one_line_and_names_a_cure(hub, name):
    hub.close()
    with pytest.raises(RerankBenchError, match=r"cannot reach the hub .*\./FOLDER") as caught:
        find_tasks(name)
    assert "\n" not in str(caught.value)


def test_what_the_hub_does_not_have_is_named(nano_on_hub, hub):
    nano_on_hub("org/Tiny", "a")
    with pytest.raises(UnknownName, match=r"the hub has no data set 'org/none' .*hf auth login"):
        find_tasks("org/none")
    with pytest.raises(UnknownName, match=r"'org/Tiny' has no revision 'v9'; .* --revision main"):
        find_tasks("org/Tiny", TaskOptions(revision="v9"))
    hub.private.add("org/Tiny")
    with pytest.raises(UnknownName, match=r"'org/Tiny' .*a private one needs `hf auth login`"):
        find_tasks("org/Tiny")


def test_a_gated_data_set_says_how_to_get_access(nano_on_hub, hub):
    nano_on_hub("org/Tiny", "a")
    hub.gated.add("org/Tiny")
    with pytest.raises(RerankBenchError, match=GATED):
        find_tasks("org/Tiny")


def test_a_data_set_made_by_a_script_is_refused_with_the_reason(hub):
    hub.publish("org/Old", {"Old.py": b"import datasets", "README.md": b"# Old"})
    with pytest.raises(
        BadData, match=r"org/Old is made by a script \(Old.py\), which is never run"
    ):
        find_tasks("org/Old")


def test_a_card_that_cannot_be_read_is_refused_and_named(hub):
    hub.publish("org/Odd", {"README.md": b"---\nconfigs: 1\n---\n"})
    with pytest.raises(BadData, match=r"org/Odd/README.md: the `configs` of its header cannot"):
        find_tasks("org/Odd")


class ListedElsewhere:
    """A hub that lists a file under any name, and may not be asked for it."""

    name = "huggingface"

    def __init__(self, name: str, commit: str = "c1") -> None:
        self.listed = commit, ["README.md", name]

    def listing(self, dataset, revision):
        if self.listed is None:
            raise OSError("no network")
        return self.listed

    def fetch(self, dataset, commit, name):
        raise AssertionError(name)

    def copy(self, dataset, revision):
        return None


@pytest.mark.parametrize("hub", ["huggingface", "modelscope"])
@pytest.mark.parametrize(
    "outside",
    [("../../x.jsonl",), ("/x.jsonl",), ("a/..\\x",), ("C:\\x",), ("x.jsonl", "../c")],
)
def test_a_listed_file_that_would_be_written_outside_the_cache_is_refused(
    hub, outside, monkeypatch
):
    monkeypatch.setitem(HUBS, hub, ListedElsewhere(*outside))
    with pytest.raises(BadData, match=r"org/Bad: '.*' is outside the data set, so none of its"):
        find_tasks("org/Bad", TaskOptions(hub=hub))


def test_a_kept_list_of_files_is_checked_as_a_new_one_is(monkeypatch, tmp_path):
    site = ListedElsewhere("../../x.jsonl")
    Listing(*site.listed).keep(_record(site, "org/Bad", None))
    site.listed = None
    monkeypatch.setitem(HUBS, "huggingface", site)
    with pytest.raises(BadData, match=r"org/Bad: '../../x.jsonl' is outside the data set"):
        find_tasks("org/Bad")


def test_an_unknown_hub_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean modelscope"):
        TaskOptions(hub="modelscop")


has_modelscope = importlib.util.find_spec("modelscope_hub") is not None


@pytest.mark.skipif(has_modelscope, reason="the extra modelscope is installed")
def test_modelscope_without_its_extra_is_refused_and_named():
    with pytest.raises(MissingExtra, match=r"pip install 'rerank-bench\[modelscope\]'"):
        find_tasks("org/Tiny", TaskOptions(hub="modelscope"))


@pytest.mark.skipif(not has_modelscope, reason="the extra modelscope is not installed")
def test_modelscope_is_read_in_the_same_layout_and_without_a_network_again(
    nano_on_hub, hub, load, capfd
):
    commit = nano_on_hub("org/Tiny", "a", "b")
    task = load("org/Tiny/a", hub="modelscope")
    assert task.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert (task.source.kind, task.source.revision) == ("modelscope", commit)
    with pytest.raises(UnknownName, match="ModelScope has no data set 'org/none'"):
        load("org/none", hub="modelscope")
    hub.gated.add("org/Tiny")
    with pytest.raises(RerankBenchError, match="refuses access to org/Tiny; set MODELSCOPE_API_T"):
        load("org/Tiny/a", hub="modelscope")
    hub.close()
    assert load("org/Tiny/a", hub="modelscope").queries == task.queries
    assert capfd.readouterr().err == ""


TINY = {name: f"{name}/a.jsonl" for name in ("corpus", "queries", "qrels")}


def tiny(corpus: str = "one", query: str = "first?") -> dict[str, bytes]:
    rows = {
        "corpus": f'{{"_id": "d1", "text": "{corpus}"}}',
        "queries": f'{{"_id": "q1", "text": "{query}"}}',
        "qrels": '{"query-id": "q1", "corpus-id": "d1", "score": 1}',
    }
    return {TINY[name]: row.encode() for name, row in rows.items()}


@pytest.mark.skipif(not has_modelscope, reason="the extra modelscope is not installed")
def test_the_commit_of_a_modelscope_branch_is_one_that_has_all_its_files(hub, load):
    old = hub.publish("org/Tiny", tiny(), "1" * 40)
    new = hub.publish("org/Tiny", tiny(corpus="two"), "2" * 40)
    task = load("org/Tiny", hub="modelscope")
    assert (task.source.revision, task.corpus) == (new, {"d1": "two"})
    again = load("org/Tiny", hub="modelscope", revision=old)
    assert (again.source.revision, again.corpus) == (old, {"d1": "one"})
    hub.publish("org/Tiny", tiny(query="another?"), "3" * 40)  # made beside the second
    merged = hub.publish("org/Tiny", tiny(corpus="two", query="another?"), "4" * 40)
    told = "not tell the commit of org/Tiny's revision 'master'; name .*: --revision COMMIT"
    with pytest.raises(RerankBenchError, match=told):
        load("org/Tiny", hub="modelscope")
    named = load("org/Tiny", hub="modelscope", revision=merged)
    assert (named.corpus, named.queries) == ({"d1": "two"}, {"q1": "another?"})


@pytest.mark.skipif(not has_modelscope, reason="the extra modelscope is not installed")
def test_files_of_modelscope_without_a_commit_are_refused(hub, load, monkeypatch):
    from modelscope_hub import HubApi

    rows = [{"Path": name, "Type": "blob"} for name in TINY.values()]
    hub.publish("org/Tiny", tiny())
    monkeypatch.setattr(type(HubApi().legacy), "list_repo_files", lambda *_, **__: rows)
    with pytest.raises(RerankBenchError, match="--revision COMMIT"):
        load("org/Tiny", hub="modelscope")


SITES = [
    "huggingface",
    pytest.param(
        "modelscope",
        marks=pytest.mark.skipif(not has_modelscope, reason="the extra modelscope is missing"),
    ),
]


@pytest.mark.parametrize("site", SITES)
def test_after_a_killed_process_only_what_was_not_complete_is_fetched(site, hub, load, tmp_path):
    """huggingface_hub begins the file again that was on its way; ModelScope's client goes on."""
    lines = (f'{{"_id": "d{n}", "text": "{"text " * 20}{n}"}}\n' for n in range(4000))
    files = {**tiny(), TINY["corpus"]: "".join(lines).encode()}
    hub.publish("org/Tiny", files)
    hub.halted.add(TINY["corpus"])
    kept = killed_with_half_a_file(site, hub, tmp_path)
    assert 0 < kept <= len(files[TINY["corpus"]]) // 2 or site == "huggingface"
    hub.halted.clear()
    hub.go_on.set()
    hub.sent.clear()
    assert len(load("org/Tiny", hub=site).corpus) == 4000
    assert hub.sent == {
        TINY["corpus"]: len(files[TINY["corpus"]]) - kept,
        TINY["qrels"]: len(files[TINY["qrels"]]),
    }


def killed_with_half_a_file(site, hub, tmp_path) -> int:
    """Load the data set in a process that is killed meanwhile; return the bytes that it kept."""
    from huggingface_hub import constants

    options = f"TaskOptions(hub={site!r})"
    code = f"from rerank_bench import TaskOptions, load_task; load_task('org/Tiny', {options})"
    there = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(constants.HF_HUB_CACHE)}
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **there}) as process:
        assert hub.half_sent.wait(60)
        for _ in range(100):
            halves = [
                file.stat().st_size for file in (tmp_path / "modelscope").rglob("*.incomplete")
            ]
            if site == "huggingface" or any(halves):
                break
            time.sleep(0.1)
        process.kill()
    return sum(file.stat().st_size for file in (tmp_path / "modelscope").rglob("*.incomplete"))
