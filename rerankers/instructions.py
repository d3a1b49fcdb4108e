"""Instructions: what a prompt with a variable `instruction` is filled with."""

from __future__ import annotations

from rerank_bench import BadOption, load_template


def takes_instruction(prompt: str) -> bool:
    """Say whether a prompt file has the variable `instruction`."""
    return "instruction" in load_template(prompt).variables


def check_shows(method: str, prompt: str, *variables: str) -> None:
    """Raise BadOption, naming `method`, for a prompt without one of the variables that it needs."""
    if missing := set(variables) - load_template(prompt).variables:
        raise BadOption(f"{method}: prompt {prompt} does not show {min(missing)}")


def check_instruction(method: str, prompt: str, instruction: str) -> None:
    """Raise BadOption, naming `method`, for an instruction that the prompt would not show."""
    if instruction and not takes_instruction(prompt):
        raise BadOption(
            f"{method}: prompt {prompt} has no variable instruction, so the option instruction "
            "would change nothing"
        )
