"""How BM25 sees a text: words, stemmed where the language has a stemmer, and never nothing.

A text is cut into runs of one kind. Scripts that write no spaces between words become overlapping
character pairs (as Lucene's CJK analysis does); all others become words of letters, combining marks
and digits, so that a Devanagari vowel sign stays with its consonant. Of English texts alone the
stop words are dropped; no one-letter word is, and no script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import regex

_SPACELESS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
_ENGLISH = frozenset(
    {"the", "of", "and", "to", "in", "is", "that", "it", "for", "with", "as", "are", "was", "be"}
)
_ENGLISH_SHARE = 0.1  # of all words; prose in other languages stays under 0.05

STEMMERS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fi": "finnish",
    "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch",
    "no": "norwegian", "nb": "norwegian", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""ISO 639-1 code -> Snowball algorithm, by PyStemmer."""

_BY_SCRIPT = {"Arabic": "arabic", "Devanagari": "hindi", "Greek": "greek", "Armenian": "armenian"}
"""Scripts whose texts one stemmer serves, where a task's language is not known."""


def tokenizer(language: str | None, sample: Iterable[str]) -> Callable[[str], list[str]]:
    """Return the function that cuts texts of a task into terms.

    `language` is an ISO 639-1 code (a region or script behind it is ignored). Where it is None,
    `sample` is looked at for English, and otherwise each word is stemmed by its script.
    """
    code = _code(language) or ("en" if language is None and _is_english(sample) else "")
    stem = _stemmer(STEMMERS.get(code, ""))
    stop = _stop_words() if code == "en" else frozenset()

    def terms(text: str) -> list[str]:
        found: list[str] = []
        for match in _runs().finditer(text.casefold()):
            run = match.group()
            if match.lastgroup == "spaceless":
                found += _pairs(run)
            elif run not in stop:
                found.append(stem(run) if stem else _by_script(run))
        return found

    return terms


def _code(language: str | None) -> str:
    return (language or "").replace("_", "-").partition("-")[0].lower()


@cache
def _runs() -> regex.Pattern[str]:
    import regex

    spaceless = "".join(rf"\p{{{name}}}" for name in _SPACELESS) + "ー"  # common to both kana
    word = rf"[\p{{L}}\p{{M}}\p{{N}}]--[{spaceless}]"
    return regex.compile(rf"(?P<spaceless>[{spaceless}]+)|(?P<word>[{word}]+)", regex.V1)


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
    if not algorithm:
        return None
    import Stemmer

    stem: Callable[[str], str] = Stemmer.Stemmer(algorithm).stemWord
    return lru_cache(maxsize=1 << 17)(stem)


@lru_cache(maxsize=1 << 16)
def _by_script(word: str) -> str:
    for script, algorithm in _BY_SCRIPT.items():
        if _script(script).match(word):
            stem = _stemmer(algorithm)
            return stem(word) if stem else word
    return word


@cache
def _script(name: str) -> Any:
    import regex

    return regex.compile(rf"\p{{{name}}}")
