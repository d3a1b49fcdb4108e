"""Options of a class: which it has, and a value read as the type it is annotated with."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from types import NoneType
from typing import Any

from .errors import BadOption

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def signature(factory: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters that build a `factory`, their annotations evaluated where possible."""
    try:
        return inspect.signature(factory, eval_str=True).parameters
    except NameError:  # annotated with a name that only a type checker sees
        return inspect.signature(factory).parameters


def parameters(factory: type) -> dict[str, Any]:
    """Return the options of a class: name -> annotated type, str where there is none."""
    named = [p for p in signature(factory).values() if p.kind is not p.VAR_KEYWORD]
    return {p.name: str if p.annotation is p.empty else p.annotation for p in named}


def typed(value: Any, kind: Any, *, where: str) -> Any:
    """Read `value` as a `kind` such as `int | None`: a string is parsed, anything else checked.

    The word `none` is None where that is allowed. Raises BadOption, naming `where`.
    """
    kinds = typing.get_args(kind) or (kind,)
    if NoneType in kinds and (value is None or str(value).lower() == "none"):
        return None
    for wanted in kinds:
        parsed = _read(value, wanted)
        if parsed is not None:
            return parsed
    names = " or ".join(getattr(k, "__name__", str(k)) for k in kinds if k is not NoneType)
    raise BadOption(f"{where} takes {names}, not {value!r}")


def _read(value: Any, wanted: Any) -> Any:
    """Return `value` as a `wanted`, or None where it is not one."""
    if wanted is bool:
        return value if isinstance(value, bool) else _WORDS.get(str(value).lower())
    if wanted in {int, float} and not isinstance(value, bool):
        if wanted is int and isinstance(value, float):
            return None
        try:
            return wanted(value)
        except (TypeError, ValueError):
            return None
    return value if wanted is str and isinstance(value, str) else None
