"""Chat templates: messages as one string, with nothing lost and no think block left open."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from ..errors import EngineFault
from ..types import Message, Prompt
from .thinking import BLOCKS, HARMONY_ANSWER, closing, open_marker

_TAG = re.compile(r"<\|.*?\|>")


class ChatTemplate:
    """Renders prompts with the chat template of `tokenizer`; `name` is the model's, for errors."""

    def __init__(self, tokenizer: Any, *, name: str) -> None:
        self._tokenizer, self._name = tokenizer, name

    def renders(self, prompt: Prompt) -> bool:
        """Say whether the template renders `prompt`: it is not plain text, and there is one."""
        return prompt.text is None and bool(self._tokenizer.chat_template)

    def render(self, prompt: Prompt) -> str:
        """Return the prompt as one string, with the prefill appended.

        A model without a chat template reads the messages' texts, roles left out, each followed by
        a blank line. A system message that a template refuses or drops is put ahead of the first
        user message. Raises EngineFault where a message's text is still missing from the result.
        """
        if prompt.text is not None:
            return prompt.text + prompt.prefill
        if not self.renders(prompt):
            return "".join(f"{m.text}\n\n" for m in prompt.messages) + prompt.prefill
        lead = self.answer_lead if prompt.prefill else ""
        return self._closed(prompt) + lead + prompt.prefill

    def _closed(self, prompt: Prompt) -> str:
        """Apply the chat template; without `thinking`, close a think block that it opens."""
        rendered = self._whole(prompt.messages, thinking=prompt.thinking)
        if prompt.thinking:
            return rendered
        marker = open_marker(_tail(rendered, prompt.messages))
        if marker is not None and self._knows(closing("", marker).strip()):
            return rendered + closing(rendered, marker)
        if marker is None and rendered.endswith("<|start|>assistant"):
            return rendered + HARMONY_ANSWER if self._knows(HARMONY_ANSWER) else rendered
        return rendered

    def _knows(self, marker: str) -> bool:
        """Say whether the template or the vocabulary has each tag of `marker`."""
        known = [str(token) for token in self._tokenizer.added_tokens_decoder.values()]
        known.append(self._tokenizer.get_chat_template())
        tags = _TAG.findall(marker) or [marker]
        return all(any(tag in text for text in known) for tag in tags)

    def _whole(self, messages: Sequence[Message], *, thinking: bool) -> str:
        """Render messages, all of them: fold a system message that is refused or dropped."""
        from jinja2 import TemplateError

        rendered, reason = "", ""
        for given in (messages, _folded(messages)):
            try:
                rendered = self._apply(given, thinking=thinking)
            except TemplateError as error:
                reason = f"refuses: {error}"
                continue
            lost = next((m for m in given if _is_lost(m.text.strip(), given, rendered)), None)
            if lost is None:
                return rendered
            reason = f"drops or changes the text of the {lost.role} message"
        raise EngineFault(
            f"the chat template of {self._name} {reason}; use a prompt file with plain `text`"
        )

    def _apply(
        self, messages: Sequence[Message], *, thinking: bool = False, generate: bool = True
    ) -> str:
        """Apply the chat template to `messages`; raises jinja2.TemplateError where it refuses."""
        template = self._tokenizer.get_chat_template()
        switches = {s: thinking for s in ("enable_thinking", "thinking") if s in template}
        turns = [{"role": m.role, "content": m.text} for m in messages]
        rendered = self._tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=generate, **switches
        )
        return str(rendered)

    @functools.cached_property
    def answer_lead(self) -> str:
        """The white space that the chat template puts between its prompt and an answer.

        Mistral's template writes ` answer` after `[/INST]`, so its models were trained to begin an
        answer with a token that includes the space.
        """
        from jinja2 import TemplateError

        question, answer = Message("user", "question"), Message("assistant", "answer")
        try:
            prompt = self._apply([question])
            whole = self._apply([question, answer], generate=False)
        except TemplateError:
            return ""
        between = whole.removeprefix(prompt).partition(answer.text)[0]
        return between if whole.startswith(prompt) and between.isspace() else ""

    def open_block(self, prompt: Prompt, rendered: str) -> str | None:
        """Return the marker of a think block that the rendered prompt leaves open, else None.

        Of a prompt in plain text only its end is read, as documents may contain any marker.
        """
        if self.renders(prompt):
            return open_marker(_tail(rendered, prompt.messages))
        ended = rendered.rstrip().lower()
        return next((opener for opener, _ in BLOCKS if ended.endswith(opener.lower())), None)


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Put a leading system message ahead of the text of the message that follows it."""
    if len(messages) < 2 or messages[0].role != "system":
        return list(messages)
    system, user, *rest = messages
    return [Message(user.role, f"{system.text}\n\n{user.text}"), *rest]


def _is_lost(text: str, messages: Sequence[Message], rendered: str) -> bool:
    """Return whether `text` occurs less often in the rendered prompt than in its messages."""
    return rendered.count(text) < sum(m.text.count(text) for m in messages)


def _tail(rendered: str, messages: Sequence[Message]) -> str:
    """Return what a template wrote after the last message's text; texts are untrusted."""
    last = messages[-1].text.strip() if messages else ""
    return rendered[rendered.rfind(last) + len(last) :] if last else rendered
