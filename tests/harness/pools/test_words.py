from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.pools.words import STEMMERS, tokenizer

SAMPLES = {
    "Latin": "Übergrößenträger", "Cyrillic": "библиотека", "Greek": "βιβλιοθήκη",
    "Arabic": "المكتبة", "Hebrew": "ספרייה", "Devanagari": "पुस्तकालय", "Bengali": "গ্রন্থাগার",
    "Tamil": "நூலகம்", "Telugu": "గ్రంథాలయం", "Thai": "ห้องสมุด", "Lao": "ຫໍສະໝຸດ",
    "Khmer": "បណ្ណាល័យ", "Myanmar": "စာကြည့်တိုက်", "Han": "图书馆", "Hiragana": "としょかん",
    "Katakana": "ライブラリー", "Hangul": "도서관", "Georgian": "ბიბლიოთეკა",
    "Armenian": "գրադարան", "Amharic": "ቤተመጻሕፍት", "Sinhala": "පුස්තකාලය", "Tibetan": "དཔེ་མཛོད་ཁང",
    "Yoruba": "ilé-ìkàwé",
}  # fmt: skip
LANGUAGES = st.sampled_from([None, *sorted(STEMMERS), "zh", "ja", "th", "ko", "sw", "bn"])
LETTERS = st.characters(categories=["Lu", "Ll", "Lt", "Lm", "Lo", "Nd"])


@given(st.text(LETTERS, min_size=1), LANGUAGES.filter(lambda language: language != "en"))
def test_no_letter_of_any_script_is_erased_in_any_language(text, language):
    terms = tokenizer(language, [])(text)
    assert all(terms)
    # a few code points called letters are vowel signs on a blank, in Arabic presentation forms
    assert terms or not any(map(str.isalnum, unicodedata.normalize("NFKC", text)))


@pytest.mark.parametrize("language", [None, "ar", "ne", "zh"])
def test_every_single_letter_is_a_term(language):
    terms = tokenizer(language, [])
    letters = (c for c in map(chr, range(0x30000)) if c.isalpha())
    erased = [c for c in letters if not any(terms(c))]
    assert not [c for c in erased if any(map(str.isalnum, unicodedata.normalize("NFKC", c)))]
    assert len(erased) < 20


@pytest.mark.parametrize("script", SAMPLES)
@pytest.mark.parametrize("language", [None, "en", "zh", "de"])
def test_a_word_of_each_script_is_found_again_in_a_mixed_text(script, language):
    terms = tokenizer(language, [])
    word = SAMPLES[script]
    assert terms(word)
    assert set(terms(word)) <= set(terms(f"see page 7 ({word}), см. 图"))


def test_a_vowel_sign_stays_with_its_consonant():
    assert tokenizer("sw", [])("कि हिन्दी") == ["कि", "हिन्दी"]


def test_scripts_without_spaces_become_pairs_of_characters():
    terms = tokenizer("zh", [])
    assert terms("图书馆 GPU 猫。") == ["图书", "书馆", "gpu", "猫"]
    assert tokenizer("ko", [])("서울에서") == ["서울", "울에", "에서"]
    assert tokenizer("th", [])("สวัสดี")[0] == "สว"


def test_words_are_stemmed_in_the_language_of_the_task():
    assert tokenizer("en", [])("Running libraries") == tokenizer("en", [])("runs library")
    assert tokenizer("de", [])("Häuser") == tokenizer("de-CH", [])("Häusern")
    assert tokenizer("sw", [])("libraries") == ["libraries"]


def test_only_english_loses_its_stop_words():
    assert tokenizer("en", [])("the house is on fire") == ["hous", "fire"]
    assert tokenizer("nl", [])("the house is on fire")[0] == "the"


def test_without_a_language_english_is_known_by_its_small_words():
    english = ["the house of the rising sun is in the city"]
    assert tokenizer(None, english)("the libraries") == ["librari"]
    german = ["das Haus der aufgehenden Sonne ist in der Stadt"]
    assert tokenizer(None, german)("the libraries") == ["the", "libraries"]


def test_without_a_language_a_script_says_how_to_stem():
    terms = tokenizer(None, [])
    assert terms("كتابها كتاب")[0] == terms("كتابها كتاب")[1]
    assert tokenizer("fa", [])("كتابها") != terms("كتابها")


def test_one_word_has_one_spelling():
    terms = tokenizer(None, [])
    for word in ("café", "Å", "가나", "ｶﾞ", "हिन्दी"):
        composed, decomposed = (unicodedata.normalize(form, word) for form in ("NFC", "NFD"))
        assert terms(composed) == terms(decomposed)
    assert terms("ＡＢＣ１２") == terms("abc12")


def test_signs_alone_are_no_words():
    assert tokenizer(None, [])("❤️ — ...!? __ \u0301") == []
    assert tokenizer("en", [])("read_csv(a.b)") == ["read", "csv", "b"]
