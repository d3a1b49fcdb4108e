from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadOption, RerankBenchError, UnknownName
from rerank_bench.pools import check_profile
from rerank_bench.pools.profiles import Profile, parse_profile


def fused(*sources):
    return Profile("rrf", ",".join(map(str, sources)), sources)


NAMES = st.text("Az09_.-", min_size=1)
MODELS = st.text("Az09_./-")
SIMPLE = st.one_of(
    NAMES.map(Profile),
    st.just(Profile("bm25", "")),
    MODELS.map(lambda model: Profile("dense", model)),
    MODELS.filter(bool).map(lambda file: Profile("run", file)),
)
PROFILES = st.recursive(
    SIMPLE,
    lambda inner: st.lists(inner, min_size=2, max_size=4).map(lambda x: fused(*x)),
    max_leaves=8,
)


@given(PROFILES)
def test_a_profile_is_parsed_as_it_is_written(profile):
    assert parse_profile(str(profile)) == profile


@given(st.text(min_size=1).filter(lambda text: text == text.strip()))
def test_a_file_may_have_any_name(file):
    assert parse_profile(f"run({file})") == Profile("run", file)


@given(st.text())
def test_any_text_is_a_profile_or_a_clear_error(text):
    with contextlib.suppress(RerankBenchError):
        assert parse_profile(str(parse_profile(text))) == parse_profile(text)


def test_commas_in_brackets_do_not_separate_profiles():
    parsed = parse_profile("rrf(run(a,b.jsonl), rrf(bm25(),dense(org/model)),bm25)")
    inner = fused(Profile("bm25", ""), Profile("dense", "org/model"))
    assert parsed == fused(Profile("run", "a,b.jsonl"), inner, Profile("bm25"))


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
def test_a_wrong_profile_is_refused_before_any_data_are_read(profile, message):
    with pytest.raises(BadOption, match=message):
        check_profile(profile)


@pytest.mark.parametrize(
    ("profile", "shipped", "message"),
    [
        ("rrf(bm25,dens(org/model))", None, r"did you mean dense\(\)"),
        ("rrf(bm25,harier)", ("harrier",), "'harier'; did you mean harrier"),
        ("bm52", (), "did you mean bm25"),
    ],
)
def test_a_misspelt_name_is_answered_with_near_names(profile, shipped, message):
    check_profile("harier")
    check_profile("rrf(bm25,harrier)", shipped=("harrier",))
    with pytest.raises(UnknownName, match=message):
        check_profile(profile, shipped=shipped)
