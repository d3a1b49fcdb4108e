"""In which language a query is, and which question it is a version of: from columns or from ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import BadOption
from .tables import Table
from .texts import readable

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


def check_pattern(pattern: str | None) -> None:
    """Raise BadOption unless `pattern` is a regular expression with a group that is known."""
    if pattern is None:
        return
    try:
        groups = set(re.compile(pattern).groupindex)
    except re.error as error:
        raise BadOption(f"--query-id is no regular expression: {error}") from error
    if not groups or groups - {"language", "base"}:
        raise BadOption("--query-id needs a group (?P<language>…) or (?P<base>…), and no other")


def languages_and_bases(
    queries: Table, kept: Iterable[str], pattern: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return query id -> language, and query id -> the question it is a version of.

    From the columns `language` and `base` of the queries, where they are; else from `pattern`;
    else, if every id ends in a language and there are several, from that. Only questions that have
    more than one version are told.
    """
    ids = list(kept)
    found: Mapping[str, Mapping[str, str]]
    found = {name: _column(queries, name) for name in ("language", "base")}
    if not any(found.values()):
        found = _of_ids(ids, pattern)
    languages = {q: found["language"][q] for q in ids if q in found["language"]}
    bases = {q: found["base"][q] for q in ids if q in found["base"]}
    return languages, bases if len(set(bases.values())) < len(bases) else {}


def _column(queries: Table, name: str) -> dict[str, str]:
    if name not in queries.columns:
        return {}
    pairs = zip(queries.ids("_id"), queries.columns[name], strict=True)
    # a table with missing values writes None, NaN or nothing in their place
    told = ((q, readable(str(v)).strip()) for q, v in pairs if v is not None and v == v)
    return {query_id: value for query_id, value in told if value}


def _of_ids(ids: list[str], pattern: str | None) -> Mapping[str, dict[str, str]]:
    wanted = re.compile(pattern) if pattern else _SUFFIX
    matches = {query_id: wanted.search(query_id) for query_id in ids}
    found = {query_id: match.groupdict() for query_id, match in matches.items() if match}
    languages = {groups.get("language") for groups in found.values()}
    if pattern is None and (len(found) < len(ids) or len(languages) < 2):
        found = {}
    return {
        name: {q: groups[name] for q, groups in found.items() if groups.get(name)}
        for name in ("language", "base")
    }
