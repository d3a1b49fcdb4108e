"""Tokenise texts for BM25: words, stemmed if their language has a stemmer, or character pairs.

Scripts without spaces between words, and Hangul, whose particles are joined to their nouns, become
overlapping character pairs, as in Lucene's CJK analysis. All others become words of letters,
combining marks and digits, so that a Devanagari vowel sign stays with its consonant. Stop words are
removed from English texts only; no script is removed.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache, lru_cache

_PAIRED = (
    "\u0e01-\u0e3a\u0e40-\u0e5b\u0e80-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff\u19e0-\u19ff"  # Khmer
    "\u3005-\u3007\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff"  # kana, Bopomofo
    "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
)
_ENGLISH = frozenset({"the", "of", "and", "to", "that", "with", "are", "this", "from", "by"})
_ENGLISH_SHARE = 0.05  # of all words: English prose has 0.10 to 0.25, code 0.08, others under 0.02

STEMMERS = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali",
    "nl": "dutch", "no": "norwegian", "nb": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil",
    "tr": "turkish",
}  # fmt: skip
"""ISO 639-1 code -> Snowball algorithm, by PyStemmer."""

_BY_SCRIPT = {"ARABIC": "arabic", "DEVANAGARI": "hindi", "GREEK": "greek", "ARMENIAN": "armenian"}
"""First word of a letter's Unicode name -> stemmer for its script, if no language is known."""


def tokenizer(language: str | None, sample: Iterable[str]) -> Callable[[str], list[str]]:
    """Return the function that splits texts of a task into terms.

    language: ISO 639-1 code, whose region or script is ignored; without a stemmer for it, words are
        not stemmed. None means English if `sample` is, or else a stemmer by each word's script.
    sample: texts of the corpus.
    """
    code = _code(language) or ("en" if _is_english(sample) else "")
    stem = (_stemmer(STEMMERS.get(code, "")) or str) if code else _by_script
    stop = _stop_words() if code == "en" else frozenset()

    def terms(text: str) -> list[str]:
        found: list[str] = []
        for match in _runs().finditer(_folded(text)):
            run = match.group()
            if match.lastgroup == "paired":
                found += _pairs(run)
            elif run not in stop:
                found.append(stem(run) or run)  # some stemmers return nothing for a short word
        return found

    return terms


def _folded(text: str) -> str:
    # one spelling for composed and decomposed accents, full and half width
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _code(language: str | None) -> str:
    return (language or "").replace("_", "-").partition("-")[0].lower()


@cache
def _runs() -> re.Pattern[str]:
    # `\w` matches no combining marks, so a word would end at every vowel sign
    characters = map(chr, range(sys.maxunicode + 1))
    marks = "".join(c for c in characters if unicodedata.category(c).startswith("M"))
    # pairs are made of letters and marks too, without the punctuation of these blocks; a run begins
    # with a letter or digit, because an emoji's variation selector alone is not a word
    paired = f"(?=\\w)[{_PAIRED}](?:(?=[\\w{marks}])[{_PAIRED}])*"
    word = f"(?![_{_PAIRED}])\\w(?:(?![_{_PAIRED}])[\\w{marks}])*"
    return re.compile(f"(?P<paired>{paired})|(?P<word>{word})")


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def _is_english(sample: Iterable[str]) -> bool:
    words = [word for text in sample for word in text.lower().split()]
    return bool(words) and sum(w in _ENGLISH for w in words) / len(words) > _ENGLISH_SHARE


@cache
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN_PLUS)


@cache
def _stemmer(algorithm: str) -> Callable[[str], str] | None:
    import Stemmer

    if algorithm not in Stemmer.algorithms():  # PyStemmer adds a few with each release
        return None
    stem: Callable[[str], str] = Stemmer.Stemmer(algorithm).stemWord
    return lru_cache(maxsize=1 << 17)(stem)


@lru_cache(maxsize=1 << 16)
def _by_script(word: str) -> str:
    name = unicodedata.name(word[0], "").partition(" ")[0]
    stem = _stemmer(_BY_SCRIPT.get(name, ""))
    return stem(word) if stem else word
