from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import ir_measures
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG

from rerank_bench.errors import BadOption, UnknownName
from rerank_bench.evaluation import (
    MACRO,
    MEASURES,
    MICRO,
    RECALL,
    measure,
    measures,
    pool_values,
    positives_of,
)
from rerank_bench.evaluation.measures import BINARY, is_binary, parse_measure

DOCUMENTS = [f"d{i}" for i in range(130)]


def oracle(
    rankings: Sequence[Sequence[str]], judgements: Sequence[Mapping[str, int]], min_grade: int
) -> dict[str, list[float]]:
    """The same measures by pytrec_eval, through ir_measures."""
    names = {
        nDCG @ 10: "nDCG@10",
        Success @ 10: "hit@10",
        RR @ 10: "MRR@10",
        AP @ 100: "MAP@100",
        R @ 100: RECALL,
    }
    run = {
        str(i): {doc_id: float(-place) for place, doc_id in enumerate(ranking)}
        for i, ranking in enumerate(rankings)
    }
    qrels = {
        str(i): {doc_id: grade if grade >= min_grade else 0 for doc_id, grade in judged.items()}
        for i, judged in enumerate(judgements)
    }
    found = {name: [0.0] * len(rankings) for name in names.values()}
    for value in ir_measures.iter_calc(names, qrels, run):
        found[names[value.measure]][int(value.query_id)] = value.value
    return found


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(DOCUMENTS), unique=True, max_size=130),
            st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 3),
    st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_all_measures_agree_with_ir_measures_however_many_rankings_are_measured_together(
    queries: list[tuple[list[str], dict[str, int]]], min_grade: int, together: int
) -> None:
    rankings = [ranking for ranking, _ in queries]
    judgements = [judged for _, judged in queries]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "_AT_ONCE", together)
        found = measure(rankings, [positives_of(j, min_grade=min_grade) for j in judgements])
    for name, values in oracle(rankings, judgements, min_grade).items():
        assert found[name].tolist() == pytest.approx(values, abs=1e-9), name


def test_the_values_are_those_worked_out_by_hand() -> None:
    grades = positives_of({"a": 2, "b": 1, "outside": 1, "x": 0})
    found = measure([["x", "a", "b"]], [grades])
    gained = 2 / math.log2(3) + 1 / math.log2(4)
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["nDCG@10"][0] == pytest.approx(gained / ideal)
    assert found["hit@10"][0] == 1.0
    assert found["MRR@10"][0] == 0.5
    assert found["MAP@100"][0] == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert found[RECALL][0] == pytest.approx(2 / 3)


def test_map_divides_by_all_positives_also_beyond_a_hundred() -> None:
    grades = positives_of({f"d{i}": 1 for i in range(200)})
    found = measure([[f"d{i}" for i in range(200)]], [grades])
    assert found["MAP@100"][0] == pytest.approx(0.5)


def test_a_query_without_ranking_or_without_positive_has_0_and_keeps_its_place() -> None:
    found = measure([[], ["a"], ["a"]], [{"a": 1}, {}, {"a": 1}])
    for name in (*MEASURES, RECALL):
        assert found[name].tolist() == [0.0, 0.0, 1.0]


def test_where_all_rankings_are_empty_all_is_0_and_of_nothing_comes_nothing() -> None:
    assert measure([[], []], [{"a": 1}, {}])["nDCG@10"].tolist() == [0.0, 0.0]
    assert measure([], [])["nDCG@10"].shape == (0,)


def test_a_grade_under_the_least_is_no_positive_and_gains_nothing() -> None:
    assert positives_of({"a": 1, "b": 3, "c": 0, "d": 2, "e": -2}, min_grade=2) == {"b": 3, "d": 2}
    assert list(positives_of({"a": 1, "b": 3})) == ["b", "a"]
    assert positives_of({"a": 0, "b": -1}, min_grade=0) == {}


def test_a_first_stage_has_its_means_and_recall_both_ways() -> None:
    found = pool_values([["a", "b"], ["x"]], [{"a": 1, "b": 1, "c": 1}, {"d": 1}])
    assert list(found) == [*MEASURES, MICRO, MACRO]
    assert found["hit@10"] == 0.5
    assert found[MICRO] == pytest.approx(2 / 4)
    assert found[MACRO] == pytest.approx((2 / 3 + 0) / 2)


def binary(ranking: Sequence[str], positives: Sequence[str]) -> tuple[float, float]:
    """nDCG@10 and MAP@100 by HAKARI-Bench's definitions."""
    hits = [doc_id in positives for doc_id in ranking[:100]]
    gained = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits[:10]))
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(len(positives), 10)))
    precisions = [sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]
    return gained / ideal, sum(precisions) / min(len(positives), 100)


def test_the_binary_convention_gives_every_positive_one_and_divides_by_what_can_be_found() -> None:
    pool, grades = [["x", "b", "a"]], [positives_of({"a": 3, "b": 1, "x": 0})]
    ours, theirs = (pool_values(pool, grades, convention=name) for name in ("", BINARY))
    assert ours["nDCG@10"] == pytest.approx(
        (1 / math.log2(3) + 3 / 2) / (3 + 1 / math.log2(3)), abs=1e-12
    )
    assert theirs["nDCG@10"] == pytest.approx((1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3)))
    many = [positives_of({f"d{i}": 1 for i in range(200)})]
    ranking = [[f"d{i}" for i in range(200)]]
    assert pool_values(ranking, many)["MAP@100"] == pytest.approx(0.5)
    assert pool_values(ranking, many, convention=BINARY)["MAP@100"] == pytest.approx(1.0)


@given(
    st.lists(st.sampled_from(DOCUMENTS), unique=True, max_size=130),
    st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(1, 3), min_size=1),
)
@settings(max_examples=60, deadline=None)
def test_the_binary_convention_is_hakari_benchs(ranking: list[str], judged: dict[str, int]) -> None:
    grades = positives_of(judged)
    found = pool_values([ranking], [grades], convention=BINARY)
    ours = pool_values([ranking], [grades])
    wanted = binary(ranking, list(grades))
    assert (found["nDCG@10"], found["MAP@100"]) == pytest.approx(wanted, abs=1e-9)
    for name in ("hit@10", "MRR@10", MICRO, MACRO):
        assert found[name] == ours[name]
    if is_binary([grades]):
        assert found == pytest.approx(ours, abs=1e-12)


def test_on_graded_judgements_the_conventions_differ(nano: Path) -> None:
    folder = nano / "NanoGraded"
    judged: dict[str, dict[str, int]] = {}
    for row in pq.read_table(folder / "qrels" / "cranfield.parquet").to_pylist():
        judged.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
    pools = pq.read_table(folder / "bm25" / "cranfield.parquet").to_pylist()
    rankings = [row["corpus-ids"] for row in pools]
    grades = [positives_of(judged[row["query-id"]]) for row in pools]
    wanted = [binary(r, list(own)) for r, own in zip(rankings, grades, strict=True)]
    ours, theirs = (pool_values(rankings, grades, convention=name) for name in ("", BINARY))
    assert theirs["nDCG@10"] == pytest.approx(sum(n for n, _ in wanted) / len(wanted))
    assert theirs["MAP@100"] == pytest.approx(sum(m for _, m in wanted) / len(wanted))
    assert abs(theirs["nDCG@10"] - ours["nDCG@10"]) > 0.001


@pytest.mark.parametrize(
    ("profile", "published"), [("bm25_anserini", 0.5058), ("splade_pp_ed", 0.7308)]
)
def test_dl19_has_its_published_value(nano: Path, profile: str, published: float) -> None:
    folder = nano / "NanoGraded"
    judged: dict[str, dict[str, int]] = {}
    for row in pq.read_table(folder / "qrels_official" / "trec_dl19.parquet").to_pylist():
        judged.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
    pools = pq.read_table(folder / profile / "trec_dl19.parquet").to_pylist()
    rankings = [row["corpus-ids"] for row in pools]
    found = measure(rankings, [positives_of(judged[row["query-id"]]) for row in pools])
    assert round(float(found["nDCG@10"].mean()), 4) == published


CUTS = (1, 3, 5, 10, 20, 100, 1000)
KINDS = {"nDCG": nDCG, "MAP": AP, "recall": R, "precision": P, "MRR": RR, "hit": Success}


@given(
    st.lists(st.sampled_from(DOCUMENTS), unique=True, max_size=130),
    st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1),
)
@settings(max_examples=30, deadline=None)
def test_further_measures_agree_with_ir_measures_at_every_cut_off(
    ranking: list[str], judged: dict[str, int]
) -> None:
    names = [f"{kind}@{cut}" for kind in KINDS for cut in CUTS]
    found = measure([ranking], [positives_of(judged)], names)
    wanted = {kind @ cut: f"{name}@{cut}" for name, kind in KINDS.items() for cut in CUTS}
    run = {"0": {doc_id: float(-place) for place, doc_id in enumerate(ranking)}}
    oracles = ir_measures.calc_aggregate(wanted, {"0": judged}, run) if ranking else {}
    for theirs, ours in wanted.items():
        assert found[ours][0] == pytest.approx(oracles.get(theirs, 0.0), abs=1e-9), ours


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nDCG@10", "nDCG@10"), ("AP@1000", "MAP@1000"), ("P@3", "precision@3"),
        ("RR@10", "MRR@10"), ("R@100", "recall@100"), ("Success@1", "hit@1"),
    ],
)  # fmt: skip
def test_measures_have_the_names_that_they_have_in_ir_measures(text: str, name: str) -> None:
    assert parse_measure(str(ir_measures.parse_measure(text))) == name
    assert parse_measure(name) == parse_measure(name.lower()) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("map_at_1000", "MAP@1000"), ("ndcg_cut_10", "nDCG@10"), ("P_5", "precision@5"),
        ("hit_rate@5", "hit@5"), ("hit_rate_at_5", "hit@5"), (" nDCG @ 10 ", "nDCG@10"),
    ],
)  # fmt: skip
def test_the_forms_of_mteb_and_trec_eval_are_read(text: str, name: str) -> None:
    assert parse_measure(text) == name


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("nDGC@10", UnknownName, "did you mean nDCG@10"),
        ("ERR@20", UnknownName, "unknown measure 'ERR@20'"),
        ("AP", BadOption, "needs a cut-off: AP@1000"),
        ("MAP@", BadOption, "needs a cut-off: MAP@1000"),
        ("RR", BadOption, "needs a cut-off: RR@10"),
        ("R", BadOption, "needs a cut-off: R@100"),
        ("recall@\u0663", BadOption, "needs a cut-off"),
        ("nDCG@10,MAP@5", BadOption, "more than one measure; repeat --measure"),
        ("nDCG@0", BadOption, "needs a cut-off: nDCG@10"),
        ("nDCG@ten", BadOption, "needs a cut-off"),
    ],
)
def test_an_unknown_measure_is_refused(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_measure(text)
