"""What a prompt shows of the values that it is filled with, and whether it takes an instruction."""

from __future__ import annotations

from typing import Any

from rerank_bench import BadOption, load_template

_VALUES = ("query", "document", "passages", "score", "picks", "index", "instruction")


def takes_instruction(prompt: str) -> bool:
    """Say whether a prompt file has the variable `instruction`."""
    return "instruction" in load_template(prompt).variables


def check_shows(method: str, prompt: str, *names: str) -> None:
    """Raise BadOption, naming `method`, for a prompt that does not show one of these values.

    names: variables of the prompt; `passages` stands for their texts, and `score` for their scores.
    """
    marks = {name: f"<<{number}>>" for number, name in enumerate(_VALUES)}
    passage = {"id": "1", "text": marks["passages"], "score": marks["score"]}
    values: dict[str, Any] = {**marks, "passages": [passage, passage]}
    filled = load_template(prompt).fill(**values)
    shown = (filled.text or "") + "".join(message.text for message in filled.messages)
    for name in names:
        if marks[name] not in shown:
            raise BadOption(f"{method}: prompt {prompt} does not show {name}")


def check_instruction(method: str, prompt: str, instruction: str) -> None:
    """Raise BadOption, naming `method`, for an instruction that the prompt would not show."""
    if instruction and not takes_instruction(prompt):
        raise BadOption(
            f"{method}: prompt {prompt} has no variable instruction, so the option instruction "
            "would change nothing"
        )
