"""Names of profiles: `bm25`, `dense(MODEL)`, `rrf(a,b)`, `run(FILE)`, or a shipped list's name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ..errors import BadOption, unknown

CALLS = ("bm25", "dense", "rrf", "run")
ALIASES = ("bm25", "dense", "hybrid")


@dataclass(frozen=True, slots=True)
class Named:
    """A bare name: an alias such as `bm25`, or the config of a shipped list."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Call:
    """`bm25()`, `dense(MODEL)` or `run(FILE)`: the argument is verbatim, perhaps empty."""

    name: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.name}({self.argument})"


@dataclass(frozen=True, slots=True)
class Fused:
    """`rrf(a,b,…)`: two or more profiles in the order written."""

    sources: tuple[Profile, ...]

    def __str__(self) -> str:
        return f"rrf({','.join(map(str, self.sources))})"


Profile = Named | Call | Fused


def parse_profile(text: str) -> Profile:
    """Read a profile's name; raises BadOption or UnknownName where it cannot be one."""
    text = text.strip()
    name, bracket, rest = text.partition("(")
    if not bracket:
        if not name or ")" in name or "," in name:
            raise BadOption(f"profile {text!r} is no name; try bm25, dense(MODEL) or rrf(a,b)")
        return Named(name)
    if not rest.endswith(")"):
        raise BadOption(f"profile {text!r} lacks its closing bracket")
    if name not in CALLS:
        raise unknown("profile", f"{name}()", [f"{call}()" for call in CALLS])
    return _call(text, name, rest[:-1])


def _call(text: str, name: str, argument: str) -> Profile:
    if name == "rrf":
        sources = tuple(parse_profile(part) for part in _split(argument))
        if len(sources) < 2:
            raise BadOption(f"profile {text!r} fuses nothing: rrf takes two profiles or more")
        return Fused(sources)
    if name == "bm25" and argument:
        raise BadOption(f"profile {text!r}: bm25() takes no argument")
    if name == "run" and not argument:
        raise BadOption("profile run() needs a file: run(FILE)")
    return Call(name, argument)


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no bracket."""
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
) -> None:
    """Raise BadOption or UnknownName where `profile` cannot be a first stage.

    Any bare name may be a list that some data set ships; with `shipped`, the names of a task's
    lists, it must be one of these or an alias, and near names are offered; `kind` names it then.
    """
    for name in _bare_names(parse_profile(profile)):
        if shipped is not None and name not in {*shipped, *ALIASES}:
            raise unknown(kind, name, {*shipped, *ALIASES})


def _bare_names(profile: Profile) -> Iterator[str]:
    if isinstance(profile, Named):
        yield profile.name
    elif isinstance(profile, Fused):
        for source in profile.sources:
            yield from _bare_names(source)
