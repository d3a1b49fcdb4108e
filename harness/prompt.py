"""Load prompt files, fill them with values, and identify them by a fingerprint.

A prompt is a TOML file with `source`, `licence` and `changes` (all required), optional `prefill`,
`thinking`, `labels` and `instruction`, and either `[[message]]` tables with `role` and `text` or
one `text`. Texts are Jinja templates. Values are inserted verbatim and never parsed as templates.
Consecutive messages with `each = "passages"` are written once per passage, as `passage`.
A plain `text` may hold `{{ joint }}` where a checkpoint was trained on parts that were tokenised
separately.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
import secrets
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import BadData, unknown
from .types import Message, Prompt

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import jinja2

GROUP = "rerank_bench.prompts"
_OPTIONAL = ("prefill", "thinking", "labels", "instruction")
_BRACKETED = re.compile(r"\[\s*(\d+|[A-Z])\s*\]")


class Turn(NamedTuple):
    """A message of a prompt file.

    text: a Jinja template.
    each: name of a list variable; the message is written once per item, `passage`.
    """

    role: str
    text: str
    each: str = ""


@dataclass(frozen=True)
class Template:
    """A prompt file.

    source, licence, changes: where the text is from, its licence, and what was changed in it.
    messages, text: Jinja templates; a prompt has either.
    prefill: the beginning of the answer.
    thinking: whether the chat template enables thinking.
    labels: the answers whose probabilities are read.
    instruction: default of the variable `instruction`, as the model's authors published it.
    """

    name: str
    source: str
    licence: str
    changes: str
    messages: tuple[Turn, ...] = ()
    text: str | None = None
    prefill: str = ""
    thinking: bool = False
    labels: tuple[str, ...] = ()
    instruction: str = ""

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of everything that shapes a filled prompt; source and licence do not."""
        turns = [turn if turn.each else turn[:2] for turn in self.messages]
        shape: list[object] = [turns, self.text, self.prefill, self.thinking, self.labels]
        shape += [self.instruction] if self.instruction else []
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()

    @functools.cached_property
    def variables(self) -> frozenset[str]:
        """The names of the variables in the texts."""
        from jinja2 import meta

        text = "".join([self.text or "", *(m.text for m in self.messages)])
        _compiled(text)  # raises BadData for a broken template
        repeated = {m.each for m in self.messages if m.each}
        found = meta.find_undeclared_variables(environment().parse(text))
        return frozenset(found - ({"passage"} if repeated else set()) | repeated)

    def fill(self, *, instruction: str | None = None, **values: object) -> Prompt:
        """Return the prompt with `values` inserted; raise BadData naming a missing variable.

        instruction: the instruction; None or empty means the template's own.
        """
        if instruction or self.instruction:
            values["instruction"] = instruction or self.instruction
        messages = tuple(self._messages(values))
        if self.text is None:
            return Prompt(messages, None, self.prefill, self.thinking)
        joint = f"\0{secrets.token_hex(8)}\0"  # random, so that no value can contain it
        parts = self._render(self.text, {**values, "joint": joint}).split(joint)
        joints = tuple(itertools.accumulate(map(len, parts[:-1])))
        return Prompt((), "".join(parts), self.prefill, self.thinking, joints)

    def _messages(self, values: Mapping[str, object]) -> Iterator[Message]:
        for each, turns in itertools.groupby(self.messages, key=lambda turn: turn.each):
            block = list(turns)
            for more in self._items(each, values):
                for turn in block:
                    yield Message(turn.role, self._render(turn.text, {**values, **more}))

    def _items(self, each: str, values: Mapping[str, object]) -> Iterable[Mapping[str, object]]:
        """Return the extra variables of each copy of a block of messages."""
        if not each:
            return ({},)
        items = values.get(each)
        if not isinstance(items, Sequence) or isinstance(items, str):
            raise BadData(f"prompt {self.name}: each = {each!r} is not a list of passages")
        return ({"passage": item} for item in items)

    def _render(self, text: str, values: Mapping[str, object]) -> str:
        from jinja2 import TemplateError, UndefinedError

        try:
            return _compiled(text).render(values)
        except UndefinedError as error:
            raise BadData(f"prompt {self.name}: {error.message}{_cure(error.message)}") from error
        except (TypeError, ValueError, ArithmeticError, LookupError, TemplateError) as error:
            raise BadData(f"prompt {self.name}: {error}") from error


def _cure(message: str | None) -> str:
    """Return what to do about a missing instruction, or nothing for another variable."""
    if "'instruction'" not in (message or ""):
        return ""
    return "; write a default into the file, give the option instruction, or --instructions task"


@functools.cache
def _compiled(text: str) -> jinja2.Template:
    import jinja2

    try:
        template = environment().from_string(text)
        template.globals = dict(template.globals)  # a ChainMap, which every call would copy
        return template
    except jinja2.TemplateSyntaxError as error:
        what = f"the template of a prompt has a syntax error in line {error.lineno}"
        raise BadData(f"{what}: {error}") from error


@functools.cache
def environment() -> jinja2.Environment:
    """Return the sandbox in which prompts and pair templates are compiled."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Autoescaping is for HTML; the text of a prompt must not be changed.
    return ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )


def load_template(name: str) -> Template:
    """Load a prompt by name, or a `.toml` file by path.

    Raises UnknownName if no installed package has the name, BadData for a broken file.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise BadData(f"prompt file {name} does not exist")
        return _parse(path.stem, path.read_text(encoding="utf-8"))
    files = prompt_files()
    if name not in files:
        raise unknown("prompt", name, files)
    return _parse(name, files[name].read_text(encoding="utf-8"))


@functools.cache
def prompt_files() -> Mapping[str, Traversable]:
    """Return name -> file of every installed prompt, from the packages of the entry-point group.

    A `catalog.toml` is left out: a package may hold prompts and a catalogue.
    """
    packages = sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name)
    files = [f for entry in packages for f in resources.files(entry.value).iterdir()]
    prompts = (f for f in files if f.name.endswith(".toml") and f.name != "catalog.toml")
    return {f.name.removesuffix(".toml"): f for f in prompts}


def _parse(name: str, content: str) -> Template:
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise BadData(f"prompt {name}: {error}") from error
    missing = [key for key in ("source", "licence", "changes") if not table.get(key)]
    if missing:
        raise BadData(f"prompt {name} does not say its {missing[0]}")
    if ("text" in table) == ("message" in table):
        raise BadData(f"prompt {name} needs either [[message]] tables or one text")
    return Template(name, **_fields(name, table))


def _fields(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    known = {"source", "licence", "changes", "text", "message", *_OPTIONAL}
    for key in table:
        if key not in known:
            raise unknown(f"key in prompt {name}:", key, known)
    fields = {key: value for key, value in table.items() if key not in {"message", "labels"}}
    messages = tuple(_turn(name, m) for m in table.get("message", ()))
    return fields | {"messages": messages, "labels": tuple(table.get("labels", ()))}


def _turn(name: str, table: Mapping[str, Any]) -> Turn:
    for key in table:
        if key not in Turn._fields:
            raise unknown(f"key in a message of prompt {name}:", key, Turn._fields)
    if missing := {"role", "text"} - set(table):
        raise BadData(f"prompt {name}: a message has no {min(missing)}")
    return Turn(**table)


def escape_identifiers(text: str) -> tuple[str, int]:
    """Return `text` with `[3]` and `[B]` written as `(3)` and `(B)`, and how many there were.

    In a passage, such an identifier could be mistaken for one of the template's.
    """
    return _BRACKETED.subn(r"(\1)", text)
