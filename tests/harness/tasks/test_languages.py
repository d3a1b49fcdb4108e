from __future__ import annotations

import pytest

from rerank_bench.errors import BadOption
from rerank_bench.tasks import TaskOptions, mteb_language
from rerank_bench.tasks.catalog import catalogue
from rerank_bench.tasks.languages import languages_and_bases
from rerank_bench.tasks.table import Table


def found(ids: list[str], pattern: str | None = None, **columns: list[object]):
    return languages_and_bases(Table("queries", {"_id": ids, **columns}), ids, pattern)


def test_languages_and_questions_are_read_from_ids_that_end_in_languages():
    languages, bases = found(["q1-de", "q1-en", "q2-en"])
    assert languages == {"q1-de": "de", "q1-en": "en", "q2-en": "en"}
    assert bases == {"q1-de": "q1", "q1-en": "q1", "q2-en": "q2"}


def test_questions_that_occur_once_are_not_versions():
    languages, bases = found(["q1_swe_Latn", "q2_deu_Latn"])
    assert (sorted(languages.values()), bases) == (["deu_Latn", "swe_Latn"], {})


@pytest.mark.parametrize("ids", [["q1-de", "q2-de"], ["q1-de", "q2-xx"], ["con01a", "con02b"]])
def test_ids_are_not_used_unless_all_end_in_one_of_several_languages(ids: list[str]):
    assert found(ids) == ({}, {})


def test_columns_come_before_ids_and_a_pattern_before_the_usual_form():
    ids = ["q1-de", "q1-en"]
    assert found(ids, language=["fr", None])[0] == {"q1-de": "fr"}
    assert found(ids, base=["same", "same"])[1] == {"q1-de": "same", "q1-en": "same"}
    assert found(ids, "^(?P<language>q.)")[0] == {"q1-de": "q1", "q1-en": "q1"}


@pytest.mark.parametrize("pattern", ["(", "-de$", "(?P<lang>..)$"])
def test_a_pattern_without_a_known_group_is_refused(pattern: str):
    with pytest.raises(BadOption, match="--query-id"):
        TaskOptions(query_id=pattern)


def test_a_null_or_nan_in_the_language_column_is_no_language():
    ids = ["q1", "q2", "q3", "q4"]
    languages, _ = found(ids, language=["de", None, float("nan"), " "])
    assert languages == {"q1": "de"}
    languages, _ = found(["a-de", "b-en"], language=[None, float("nan")])
    assert languages == {"a-de": "de", "b-en": "en"}


def test_every_language_of_the_catalogue_has_mteb_s_code():
    languages = {entry.language for entry in catalogue().values()} - {None}
    assert "or" in languages
    assert {code for code in languages if "-" not in mteb_language(code)} == set()
