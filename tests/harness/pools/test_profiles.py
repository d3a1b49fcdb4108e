from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadOption, RerankBenchError, UnknownName
from rerank_bench.pools import check_profile
from rerank_bench.pools.profiles import Call, Fused, Named, parse_profile

NAMES = st.from_regex(r"[A-Za-z0-9_.\-]+", fullmatch=True)
MODELS = st.from_regex(r"[A-Za-z0-9_./\-]*", fullmatch=True)
SIMPLE = st.one_of(
    NAMES.map(Named),
    st.just(Call("bm25")),
    MODELS.map(lambda model: Call("dense", model)),
    MODELS.filter(bool).map(lambda file: Call("run", file)),
)
PROFILES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, min_size=2, max_size=4).map(lambda x: Fused(tuple(x)))
)


@given(PROFILES)
def test_a_profile_is_read_back_as_it_is_written(profile):
    assert parse_profile(str(profile)) == profile


@given(st.text(min_size=1).filter(lambda text: text == text.strip()))
def test_a_file_may_have_any_name(file):
    assert parse_profile(f"run({file})") == Call("run", file)


@given(st.text())
def test_any_text_is_a_profile_or_a_clear_error(text):
    with contextlib.suppress(RerankBenchError):
        assert parse_profile(str(parse_profile(text))) == parse_profile(text)


def test_what_stands_in_brackets_is_no_place_to_split():
    parsed = parse_profile("rrf(run(a,b.jsonl),rrf(bm25(),dense(org/model)),bm25)")
    inner = Fused((Call("bm25"), Call("dense", "org/model")))
    assert parsed == Fused((Call("run", "a,b.jsonl"), inner, Named("bm25")))


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("", "is not a name"),
        ("rrf(bm25", "closing bracket"),
        ("rrf(bm25)", "two profiles or more"),
        ("rrf()", "is not a name"),
        ("rrf(bm25,)", "is not a name"),
        ("bm25(k1=2)", "takes no argument"),
        ("run()", "needs a file"),
        ("a,b", "is not a name"),
    ],
)
def test_what_cannot_be_a_profile_is_told_before_any_data_are_read(profile, message):
    with pytest.raises(BadOption, match=message):
        check_profile(profile)


def test_a_misspelt_call_is_answered_with_near_names():
    with pytest.raises(UnknownName, match=r"did you mean dense\(\)"):
        check_profile("rrf(bm25,dens(org/model))")


def test_a_bare_name_is_held_against_the_lists_of_a_task_where_they_are_known():
    check_profile("harier")
    check_profile("rrf(bm25,harrier)", shipped=("harrier",))
    with pytest.raises(UnknownName, match=r"'harier'; did you mean harrier"):
        check_profile("rrf(bm25,harier)", shipped=("harrier",))
    with pytest.raises(UnknownName, match="did you mean bm25"):
        check_profile("bm52", shipped=())
