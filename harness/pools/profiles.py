"""Parse names of first stages: `bm25`, `dense(MODEL)`, `rrf(a,b)`, `run(FILE)`, a shipped list."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ..errors import BadOption, unknown

CALLS = ("bm25", "dense", "rrf", "run")
ALIASES = ("bm25", "dense", "hybrid")


@dataclass(frozen=True, slots=True)
class Profile:
    """A parsed name of a first stage.

    name: an alias such as `bm25`, the config of a shipped list, or one of `CALLS`.
    argument: the text in brackets, which may be empty; None without brackets.
    sources: the profiles that `rrf(…)` fuses, in the order written.
    """

    name: str
    argument: str | None = None
    sources: tuple[Profile, ...] = ()

    def __str__(self) -> str:
        return self.name if self.argument is None else f"{self.name}({self.argument})"


def parse_profile(text: str) -> Profile:
    """Parse a profile's name; raise BadOption or UnknownName if it cannot be one."""
    text = text.strip()
    name, bracket, rest = text.partition("(")
    argument = rest[:-1]
    if not bracket:
        if not name or ")" in name or "," in name:
            raise BadOption(f"profile {text!r} is not a name; try bm25, dense(MODEL) or rrf(a,b)")
        return Profile(name)
    if not rest.endswith(")"):
        raise BadOption(f"profile {text!r} lacks its closing bracket")
    if name not in CALLS:
        raise unknown("profile", f"{name}()", [f"{call}()" for call in CALLS])
    if name == "rrf":
        return _parse_fusion(text, argument)
    if name == "bm25" and argument:
        raise BadOption(f"profile {text!r}: bm25() takes no argument")
    if name == "run" and not argument:
        raise BadOption("profile run() needs a file: run(FILE)")
    return Profile(name, argument)


def _parse_fusion(text: str, argument: str) -> Profile:
    sources = tuple(parse_profile(part) for part in _split(argument))
    if len(sources) < 2:
        raise BadOption(f"profile {text!r} fuses one profile; rrf takes two profiles or more")
    return Profile("rrf", ",".join(map(str, sources)), sources)


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def check_profile(
    profile: str, shipped: Collection[str] | None = None, *, kind: str = "profile"
) -> Profile:
    """Return the parsed profile; raise BadOption or UnknownName if it cannot be a first stage.

    shipped: names of the lists that a task ships; None accepts any name as one of them.
    kind: what an unknown name is called in the error.
    """
    parsed = parse_profile(profile)
    for name in _bare_names(parsed):
        if shipped is not None and name not in {*shipped, *ALIASES}:
            raise unknown(kind, name, {*shipped, *ALIASES})
    return parsed


def _bare_names(profile: Profile) -> Iterator[str]:
    if profile.argument is None:
        yield profile.name
    for source in profile.sources:
        yield from _bare_names(source)
