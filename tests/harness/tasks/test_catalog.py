from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from rerank_bench.tasks import Note, Source, Task, TaskOptions, catalogue
from rerank_bench.tasks.catalog import collections, sets, with_catalogue_facts

# the group values of HAKARI-Bench: plain means over the tasks, to six digits
GROUPS = {
    ("NanoMMTEB-v2", "bm25"): (0.454986, 0.644650, 0.670412),
    ("NanoMMTEB-v2", "harrier_oss_v1_270m"): (0.530641, 0.724220, 0.794612),
    ("NanoMMTEB-v2", "reranking_hybrid"): (0.507092, 0.705916, 0.780246),
}


def test_the_sets_have_their_tasks_queries_and_safeguards():
    counts = {
        name: (len(found), sum(e.queries for e in found), sum(e.safeguards for e in found))
        for name, found in sets().items()
        if name in ("NanoMMTEB-v2", "NanoBEIR-en", "NanoCMTEB")
    }
    assert counts == {
        "NanoMMTEB-v2": (18, 3248, 564), "NanoBEIR-en": (13, 649, 14), "NanoCMTEB": (8, 1600, 108),
    }  # fmt: skip


def test_the_catalogue_holds_the_whole_registry_and_the_audit_of_it():
    hakari = [entry for entry in catalogue().values() if not entry.is_mteb]
    assert (len(hakari), len({entry.hub for entry in hakari})) == (569, 50)
    assert len(catalogue()) - len(hakari) == 15
    # the counts that docs/experimental/rerank_tasks.md gives
    verdicts = Counter(entry.suited for entry in hakari)
    assert verdicts == {"Core": 257, "Extended": 96, "Specialized": 62, "No": 136, "": 18}
    core = [entry.name for entry in collections()["hakari-core"]]
    assert core == [entry.name for entry in hakari if entry.suited == "Core"]
    nano_beir = [name for name in sets() if name.startswith("NanoBEIR-")]
    assert len(nano_beir) == 14
    assert {tuple(sorted(e.split for e in sets()[name])) for name in nano_beir} == {
        tuple(sorted(e.split for e in sets()["NanoBEIR-en"]))
    }


@pytest.mark.parametrize(("group", "means"), GROUPS.items(), ids=str)
def test_the_means_over_tasks_are_the_published_group_values(
    group: tuple[str, str], means: tuple[float, ...]
):
    entries = sets()[group[0]]
    for measure, mean in zip(("nDCG@10", "hit@10", "recall@100"), means, strict=True):
        found = sum(entry.published[group[1]][measure] for entry in entries) / len(entries)
        assert found == pytest.approx(mean, abs=6e-7)


def test_every_figure_is_a_possible_one():
    for entry in catalogue().values():
        assert "github.com" in entry.source
        if entry.is_mteb:
            continue
        # the figures of hakari.toml are rounded
        near = 1e-5 if entry.instruction else 0.01
        assert entry.convention == "binary"
        assert entry.dense in entry.published
        assert set(entry.published) == {"bm25", "harrier_oss_v1_270m", "reranking_hybrid"}
        for values in entry.published.values():
            # hits are whole queries, micro recall is made of whole judgements
            for measure, count in (("hit@10", entry.queries), ("recall@100", entry.positives)):
                if measure not in values:
                    assert entry.split == "NanoNFCorpus"
                    continue
                found = values[measure] * count
                assert found == pytest.approx(round(found), abs=near), entry.name
        if entry.positives == entry.queries:  # with one positive a query, safeguards are the misses
            found = entry.published["reranking_hybrid"]["recall@100"]
            assert round((1 - found) * entry.queries) == entry.safeguards, entry.name
    assert len({entry.split for entry in sets()["NanoBEIR-en"]}) == 13


def test_six_tasks_are_named_as_leaked_to_the_dense_profile():
    leaked = [name.partition("/")[2] for name, entry in catalogue().items() if entry.leakage]
    assert leaked == [
        *("miracl", "spart_qa", "stack_overflow_qa", "statcan_dialogue_dataset"),
        *("temp_reason_l1", "wino_grande"),
    ]


@pytest.mark.parametrize(
    ("options", "usual"),
    [
        ({}, True),
        ({"exclude_identical": True}, False),
        ({"qrels": "qrels_official"}, False),
        ({"min_grade": 2}, False),
    ],
)
def test_published_values_are_left_out_if_pools_or_judgements_are_others(options, usual):
    entry, options = catalogue()["NanoMMTEB-v2/covid"], TaskOptions(**options)
    task = with_catalogue_facts(replace(raw("q"), min_grade=options.min_grade), entry, options)
    assert (task.published == entry.published) == usual
    assert (task.published == {}) != usual
    assert task.convention == "binary"


def raw(*query_ids: str) -> Task:
    qrels = {query_id: {"d": 1} for query_id in query_ids}
    texts = dict.fromkeys(query_ids, "?")
    notes = {"empty documents": Note(1, ("d",))}
    return Task("hub/x", "x", texts, {"d": ""}, qrels, Source("hub", "hub"), notes=notes)


@pytest.mark.parametrize(
    ("name", "query_id", "language"),
    [
        ("belebele", "belebele__swe_Latn-swe_Latn::q::Q0", "swe_Latn"),
        ("belebele", "belebele__arb_Arab-eng_Latn::q::Q7", "eng_Latn"),
        ("miracl", "miracl__te::q::22870", "te"),
        ("mlqa", "mlqa__ara-deu::q::1", "deu"),
        ("mlqa", "anything", None),
        ("scidocs", "miracl__te::q::22870", None),
    ],
)
def test_the_catalogue_finds_a_querys_language_in_its_id(
    name: str, query_id: str, language: str | None
):
    entry = catalogue()[f"NanoMMTEB-v2/{name}"]
    task = with_catalogue_facts(raw(query_id), entry, TaskOptions())
    assert task.query_languages.get(query_id) == language


def test_arguana_keeps_identical_documents_by_default_and_finds_them_by_id():
    exclude = TaskOptions(exclude_identical=True)
    for name in ("NanoMMTEB-v2/argu_ana", "NanoBEIR-en/arguana"):
        task = with_catalogue_facts(raw("q"), catalogue()[name], TaskOptions())
        assert (task.name, task.exclude_identical, task.identical_by) == (name, False, "id")
        assert with_catalogue_facts(raw("q"), catalogue()[name], exclude).exclude_identical
    other = with_catalogue_facts(raw("q"), catalogue()["NanoMMTEB-v2/covid"], exclude)
    assert (other.identical_by, other.language) == ("text", "zh")
    assert other.notes["empty documents"].count == 1
