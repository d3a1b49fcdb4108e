"""Find the language of each query, and the question it is a version of, in columns or in ids."""

from __future__ import annotations

import re
from collections.abc import Collection

from ..errors import BadOption
from .table import Table, replace_unreadable

_ISO_639_1 = (
    "af|am|ar|as|az|be|bg|bn|bo|br|bs|ca|cs|cy|da|de|el|en|eo|es|et|eu|fa|fi|fr|ga|gl|gu|ha|he|hi|"
    "hr|hu|hy|id|ig|is|it|ja|jv|ka|kk|km|kn|ko|ku|ky|la|lb|lo|lt|lv|mg|mi|mk|ml|mn|mr|ms|mt|my|nb|"
    "ne|nl|nn|no|or|pa|pl|ps|pt|qu|rm|ro|ru|rw|sa|sd|se|si|sk|sl|sn|so|sq|sr|st|su|sv|sw|ta|te|tg|"
    "th|ti|tk|tl|tn|tr|ts|tt|ug|uk|ur|uz|vi|wo|xh|yi|yo|zh|zu"
)
_ISO_639_3 = (
    "afr|amh|ara|arb|asm|azj|bel|ben|bul|cat|ces|cmn|cym|dan|deu|ell|eng|est|eus|fas|fin|fra|gle|"
    "glg|guj|hau|heb|hin|hrv|hun|hye|ibo|ind|isl|ita|jav|jpn|kan|kat|kaz|khm|kor|lao|lav|lit|mal|"
    "mar|mkd|mya|nld|nob|npi|pan|pes|pol|por|ron|rus|sin|slk|slv|som|spa|sqi|srp|swe|swh|tam|tel|"
    "tha|tur|ukr|urd|uzb|vie|xho|yor|zho|zsm|zul"
)
_SUFFIX = re.compile(
    rf"^(?P<base>.+)[-_.](?P<language>{_ISO_639_1}|{_ISO_639_3}|[a-z]{{3}}_[A-Z][a-z]{{3}})$"
)
"""An id that ends in its language: `QUESTION-de`, `QUESTION-deu`, `QUESTION_deu_Latn`."""


TWO_LETTERS = {
    "afr": "af", "als": "sq", "amh": "am", "ara": "ar", "arb": "ar", "asm": "as", "aze": "az",
    "azj": "az", "bel": "be", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "cmn": "zh",
    "cym": "cy", "dan": "da", "deu": "de", "ell": "el", "eng": "en", "epo": "eo", "est": "et",
    "eus": "eu", "fas": "fa", "fil": "tl", "fin": "fi", "fra": "fr", "gla": "gd", "gle": "ga",
    "glg": "gl", "guj": "gu", "hau": "ha", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu",
    "hye": "hy", "ibo": "ig", "ind": "id", "isl": "is", "ita": "it", "jav": "jv", "jpn": "ja",
    "kan": "kn", "kat": "ka", "kaz": "kk", "khk": "mn", "khm": "km", "kmr": "ku", "kor": "ko",
    "kur": "ku", "lao": "lo", "lat": "la", "lav": "lv", "lit": "lt", "lvs": "lv", "mal": "ml",
    "mar": "mr", "mkd": "mk", "mon": "mn", "msa": "ms", "mya": "my", "nep": "ne", "nld": "nl",
    "nno": "nn", "nob": "nb", "nor": "no", "npi": "ne", "pan": "pa", "pes": "fa", "pol": "pl",
    "por": "pt", "ron": "ro", "rus": "ru", "san": "sa", "sin": "si", "slk": "sk", "slv": "sl",
    "som": "so", "spa": "es", "sqi": "sq", "srp": "sr", "swa": "sw", "swe": "sv", "swh": "sw",
    "tam": "ta", "tel": "te", "tgl": "tl", "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur",
    "uzb": "uz", "uzn": "uz", "vie": "vi", "yor": "yo", "zho": "zh", "zsm": "ms", "zul": "zu",
}  # fmt: skip
"""ISO 639-3, and other codes of three letters, -> ISO 639-1."""


_MTEB = {
    "af": "afr-Latn", "am": "amh-Ethi", "ar": "ara-Arab", "as": "asm-Beng", "az": "aze-Latn",
    "be": "bel-Cyrl", "bg": "bul-Cyrl", "bn": "ben-Beng", "ca": "cat-Latn", "cs": "ces-Latn",
    "cy": "cym-Latn", "da": "dan-Latn", "de": "deu-Latn", "el": "ell-Grek", "en": "eng-Latn",
    "eo": "epo-Latn", "es": "spa-Latn", "et": "est-Latn", "eu": "eus-Latn", "fa": "fas-Arab",
    "fi": "fin-Latn", "fr": "fra-Latn", "ga": "gle-Latn", "gd": "gla-Latn", "gl": "glg-Latn",
    "gu": "guj-Gujr", "ha": "hau-Latn", "he": "heb-Hebr", "hi": "hin-Deva", "hr": "hrv-Latn",
    "hu": "hun-Latn", "hy": "hye-Armn", "id": "ind-Latn", "ig": "ibo-Latn", "is": "isl-Latn",
    "it": "ita-Latn", "ja": "jpn-Jpan", "jv": "jav-Latn", "ka": "kat-Geor", "kk": "kaz-Cyrl",
    "km": "khm-Khmr", "kn": "kan-Knda", "ko": "kor-Hang", "ku": "kmr-Latn", "la": "lat-Latn",
    "lo": "lao-Laoo", "lt": "lit-Latn", "lv": "lav-Latn", "mk": "mkd-Cyrl", "ml": "mal-Mlym",
    "mn": "mon-Cyrl", "mr": "mar-Deva", "ms": "msa-Latn", "my": "mya-Mymr", "nb": "nob-Latn",
    "ne": "npi-Deva", "nl": "nld-Latn", "nn": "nno-Latn", "no": "nor-Latn", "or": "ory-Orya",
    "pa": "pan-Guru", "pl": "pol-Latn", "pt": "por-Latn", "ro": "ron-Latn", "ru": "rus-Cyrl",
    "sa": "san-Deva", "si": "sin-Sinh", "sk": "slk-Latn", "sl": "slv-Latn", "so": "som-Latn",
    "sq": "sqi-Latn", "sr": "srp-Cyrl", "sv": "swe-Latn", "sw": "swa-Latn", "ta": "tam-Taml",
    "te": "tel-Telu", "th": "tha-Thai", "tl": "tgl-Latn", "tr": "tur-Latn", "uk": "ukr-Cyrl",
    "ur": "urd-Arab", "uz": "uzn-Latn", "vi": "vie-Latn", "yo": "yor-Latn", "zh": "cmn-Hans",
    "zu": "zul-Latn",
}  # fmt: skip
"""ISO 639-1 -> the code that most of MTEB's tasks (2.26) use."""


def mteb_language(code: str) -> str:
    """Return MTEB's code of a language, such as `deu-Latn` of `de`, `deu` and `deu_Latn`.

    A code that is not known here is returned as it is.
    """
    if "_" in code or "-" in code:
        return code.replace("_", "-")
    return _MTEB.get(TWO_LETTERS.get(code, code), code)


def check_pattern(pattern: str | None) -> None:
    """Raise BadOption unless `pattern` is a regular expression with groups that are read."""
    if pattern is None:
        return
    try:
        groups = set(re.compile(pattern).groupindex)
    except re.error as error:
        raise BadOption(f"--query-id is not a regular expression: {error}") from error
    if not groups or groups - {"language", "base"}:
        raise BadOption("--query-id needs a group (?P<language>…) or (?P<base>…), and no other")


def languages_and_bases(
    queries: Table, kept: Collection[str], pattern: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return query id -> language, and query id -> the question it is a version of.

    They are read from the columns `language` and `base`, or else from ids by `pattern`, or else, if
    every id ends in a language and there are several languages, from these. Bases are returned only
    if some question has more than one version.
    """
    found = {name: _column(queries, name) for name in ("language", "base")}
    if not any(found.values()):
        found = _in_ids(kept, pattern)
    languages, bases = ({q: found[k][q] for q in kept if q in found[k]} for k in found)
    return languages, bases if len(set(bases.values())) < len(bases) else {}


def _column(queries: Table, name: str) -> dict[str, str]:
    if name not in queries.columns:
        return {}
    pairs = zip(queries.ids("_id"), queries.columns[name], strict=True)
    # None and NaN are how tables write a missing value
    texts = {q: replace_unreadable(str(v)).strip() for q, v in pairs if v is not None and v == v}
    return {query_id: text for query_id, text in texts.items() if text}


def _in_ids(ids: Collection[str], pattern: str | None) -> dict[str, dict[str, str]]:
    regex = re.compile(pattern) if pattern else _SUFFIX
    matches = {query_id: regex.search(query_id) for query_id in ids}
    found = {query_id: match.groupdict() for query_id, match in matches.items() if match}
    languages = {groups.get("language") for groups in found.values()}
    if pattern is None and (len(found) < len(ids) or len(languages) < 2):
        found = {}
    return {
        name: {q: groups[name] for q, groups in found.items() if groups.get(name)}
        for name in ("language", "base")
    }
