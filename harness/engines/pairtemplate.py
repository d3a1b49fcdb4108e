"""Pair templates: how a query and a document become the one text that a head was trained on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import BadOption, EngineFault
from ..prompt import environment
from .saved import is_composed, module_types, saved_system

if TYPE_CHECKING:
    from .loading import Checkpoint

_PROBE = ("querytext", "documenttext")


@dataclass(frozen=True)
class PairTemplate:
    """Renders a pair as one text; `closed` adds the tokenizer's own tokens around it."""

    render: Callable[[str, str], str]
    closed: bool = False

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> PairTemplate:
        """Return the option `pair_template`, else the checkpoint's chat template for pairs.

        Raises EngineFault where scoring takes more than a template, BadOption for a broken one.
        """
        given = checkpoint.pair_template
        if given is not None:
            return cls(_jinja(given), closed=True)
        if len(module_types(checkpoint)) > 1 or not checkpoint.tokenizer.chat_template:
            raise EngineFault(
                f"model {checkpoint.name} is more than a classification head; "
                "use --engine transformers"
            )
        return cls(_chat(checkpoint.tokenizer, saved_system(checkpoint)))

    @classmethod
    def find(cls, checkpoint: Checkpoint) -> PairTemplate | None:
        """Return what `of` does, or None for a checkpoint whose pairs no template makes."""
        if checkpoint.options.pair_template is not None:
            return cls.of(checkpoint)
        one_head = is_composed(checkpoint) and len(module_types(checkpoint)) < 2
        templated = bool(checkpoint.tokenizer.chat_template)
        return (
            cls.of(checkpoint)
            if one_head and templated and names_roles(checkpoint.tokenizer)
            else None
        )


def names_roles(tokenizer: Any) -> bool:
    """Say whether a chat template is made for pairs: it names the roles `query` and `document`.

    A template that prints whatever role it is given renders both texts too, but was made for turns.
    """
    from jinja2 import TemplateError

    try:
        source = tokenizer.get_chat_template()
    except ValueError:  # several templates, and none of them is the default
        return False
    if not all(re.search(rf"""["']{role}["']""", source) for role in ("query", "document")):
        return False
    try:
        shown, swapped = (_chat(tokenizer, None)(*pair) for pair in (_PROBE, _PROBE[::-1]))
    except TemplateError:
        return False
    return all(text in shown for text in _PROBE) and shown != swapped


def _chat(tokenizer: Any, system: str | None) -> Callable[[str, str], str]:
    """Render with the chat template, as sentence-transformers does; `system` is a saved prompt."""
    first = [] if system is None else [{"role": "system", "content": system}]

    def render(query: str, document: str) -> str:
        turns = [{"role": "query", "content": query}, {"role": "document", "content": document}]
        return str(tokenizer.apply_chat_template([*first, *turns], tokenize=False))

    return render


def _jinja(source: str) -> Callable[[str, str], str]:
    from jinja2 import TemplateError

    try:
        template = environment().from_string(source)
        shown = template.render(query=_PROBE[0], document=_PROBE[1])
    except TemplateError as error:
        raise BadOption(f"pair_template: {error}; it may use query and document only") from error
    if not all(text in shown for text in _PROBE):
        raise BadOption("pair_template must insert {{ query }} and {{ document }}")
    return lambda query, document: template.render(query=query, document=document)
