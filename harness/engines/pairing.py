"""How a checkpoint scores a query and a document: by which head, and from what text."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ..errors import BadOption, EngineFault
from ..prompt import environment
from .checkpoint import Checkpoint
from .models import read_json

_PROBE = ("querytext", "documenttext")


def pair_head(checkpoint: Checkpoint) -> str:
    """Return how a checkpoint scores pairs: `classifier`, `composed`, `maxsim`, or `none`.

    The option `head` comes before what the checkpoint was saved as; where a head is asked for,
    `composed` is how such a checkpoint's own head works.
    """
    asked = checkpoint.options.head
    if asked in {None, "classifier"} and is_composed(checkpoint):
        given = checkpoint.options.pair_template is not None
        return "classifier" if given and len(module_types(checkpoint)) < 2 else "composed"
    if asked is not None:
        return asked
    if checkpoint.architecture.endswith("ForSequenceClassification"):
        return "classifier"
    return "none" if checkpoint.decoder or checkpoint.config.is_encoder_decoder else "maxsim"


def config_of_calls(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return the config from which the cost of a call is computed.

    None for late interaction, which encodes a text once for many calls.
    """
    if pair_head(checkpoint) == "maxsim":
        return None
    return cast("dict[str, Any]", checkpoint.config.to_dict())


def pair_tokens(checkpoint: Checkpoint, context: int) -> int | None:
    """Return the most tokens of both texts of a pair that `context` tokens hold.

    The rest is what frames them: the tokenizer's own tokens, a template, or a saved prompt. None
    where the context has no limit. Raises EngineFault where they leave no token to either text.
    """
    if context >= sys.maxsize:
        return None
    left = context - _framing(checkpoint)
    if left < 2:  # a token for each text
        raise EngineFault(
            f"the template or saved prompt of {checkpoint.name} takes {context - left} tokens, and "
            f"its context of {context} leaves nothing to a query and a document"
        )
    return left


def _framing(checkpoint: Checkpoint) -> int:
    """Return the most tokens of a pair that are neither the query's nor the document's."""
    tokens, template = checkpoint.tokens, _template(checkpoint)
    if template is None:
        prompt = _saved_prompt(checkpoint)
        # it may stand before both texts
        return tokens.pair.size + (2 * len(tokens.encode([prompt])[0]) if prompt else 0)
    (ids,) = tokens.encode([template.render("", "")])
    framed = tokens.framed(ids, closed=True) if template.closed else ids
    # without the words around it, a text can have a token less
    return len(framed) + 2


def _template(checkpoint: Checkpoint) -> PairTemplate | None:
    """Return what makes one text of a pair, also where more modules follow."""
    if checkpoint.options.pair_template is not None:
        return PairTemplate.of(checkpoint)
    if is_composed(checkpoint) and names_roles(checkpoint.tokenizer):
        return PairTemplate(_chat(checkpoint.tokenizer, _saved_prompt(checkpoint)))
    return None


def output_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what a checkpoint calls the outputs of its head; nothing where there is only one."""
    if not checkpoint.architecture.endswith("ForSequenceClassification"):
        return ()  # every config of transformers names two outputs, head or none
    named = getattr(checkpoint.config, "id2label", None) or {}
    return tuple(str(named[place]) for place in sorted(named)) if len(named) > 1 else ()


def require_pair_text(checkpoint: Checkpoint) -> None:
    """Raise EngineFault where a composed checkpoint does not say how a pair becomes one text.

    A generic chat template would render two turns that no head was trained on.
    """
    several = len(module_types(checkpoint)) > 1
    if several and checkpoint.options.pair_template is not None:
        raise EngineFault(f"model {checkpoint.name} is more than a head: leave out pair_template")
    if checkpoint.tokenizer.chat_template and not names_roles(checkpoint.tokenizer):
        cure = (
            "save it with a chat template that has them"
            if several
            else "set pair_template= to the text that the model was trained on, such as "
            "'query: {{ query }} document: {{ document }}'"
        )
        raise EngineFault(
            f"the chat template of {checkpoint.name} has no query and document roles, and does not "
            f"say how a pair becomes one text: {cure}"
        )


def require_template(checkpoint: Checkpoint) -> None:
    """Raise EngineFault where a composed checkpoint's pairs take more than a template."""
    require_pair_text(checkpoint)
    PairTemplate.of(checkpoint)


def no_pair_head(checkpoint: Checkpoint) -> EngineFault:
    """The error for a model that cannot score pairs."""
    return EngineFault(
        f"model {checkpoint.name} ({checkpoint.architecture}) has no head for pairs; "
        "use a cross-encoder or an encoder, or a pointwise reranker for this model"
    )


def is_composed(checkpoint: Checkpoint) -> bool:
    """Whether `CrossEncoder` would do more with this checkpoint than run its classification head.

    That is so for several modules, saved prompts, or a chat template that would wrap the pair. An
    adapter that brings a head to a language model is such a head too.
    """
    saved, options = checkpoint.saved, checkpoint.options
    templated = bool(checkpoint.tokenizer.chat_template)
    if saved.get("model_type") != "CrossEncoder":
        brought = options.head == "classifier" and options.adapter is not None
        classifier = checkpoint.architecture.endswith("ForSequenceClassification")
        return (classifier or brought) and templated
    several = len(module_types(checkpoint)) > 1
    return several or templated or bool(saved.get("default_prompt_name"))


def module_types(checkpoint: Checkpoint) -> list[str]:
    """Last names of the sentence-transformers modules that a checkpoint lists, if it does."""
    modules = read_json(checkpoint.place, "modules.json") or []
    return [str(module["type"]).rsplit(".", 1)[-1] for module in modules]


def _saved_prompt(checkpoint: Checkpoint) -> str | None:
    prompts: Mapping[str, str] = checkpoint.saved.get("prompts") or {}
    return prompts.get(checkpoint.saved.get("default_prompt_name") or "")


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
        return cls(_chat(checkpoint.tokenizer, _saved_prompt(checkpoint)))

    @classmethod
    def find(cls, checkpoint: Checkpoint) -> PairTemplate | None:
        """Return what `of` does, or None for a checkpoint whose pairs no template makes."""
        if checkpoint.options.pair_template is not None:
            return cls.of(checkpoint)
        one_head = is_composed(checkpoint) and len(module_types(checkpoint)) < 2
        return cls.of(checkpoint) if one_head and names_roles(checkpoint.tokenizer) else None


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
