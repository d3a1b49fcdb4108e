"""What a prompt shows of the values that it is filled with, and whether it takes an instruction."""

from __future__ import annotations

from rerank_bench import BadData, BadOption, Prompt, load_template

_TEXTS: dict[str, tuple[object, object]] = {
    "query": ("apple", "brown"),
    "document": ("cloud", "delta"),
    "index": (3, 8),
    "picks": (3, 8),
    "instruction": ("eager", "fable"),
}
"""Two values of each variable, of the type that methods give it."""

_PASSAGE, _SCORE = ("giant", "hotel"), ("3.250", "74.125")


def takes_instruction(prompt: str) -> bool:
    """Say whether a prompt file has the variable `instruction`."""
    return "instruction" in load_template(prompt).variables


prompt_takes_instruction = property(lambda reranker: takes_instruction(reranker.prompt))
"""The attribute `takes_instruction` of a reranker with the option `prompt`."""


def check_prompt(
    method: str,
    prompt: str,
    *names: str,
    unshown: tuple[str, ...] = ("instruction",),
    count: int | None = 20,
    instruction: str = "",
) -> None:
    """Raise BadOption, naming `method`, for a prompt that does not show what it is filled with.

    A value is shown where another one changes the text. A variable that is not named here, and one
    that the prompt cannot use as it does, are refused too.

    names: variables that the prompt must show; `passages` stands for their texts, and `score` for
        their scores.
    unshown: variables that the method fills too, and that a prompt may leave out.
    count: passages in the list; None where `passages` is one text.
    instruction: the option of that name, which is refused where the prompt would not show it.
    """
    check_instruction(method, prompt, instruction)
    template, given = load_template(prompt), (*names, *unshown)

    def filled(changed: str = "") -> Prompt:
        return template.fill(**_values(given, changed, count))  # type: ignore[arg-type]

    try:
        usual = filled()
        hidden = [name for name in names if filled(name) == usual]
    except BadData as error:
        raise BadOption(f"{method}: {error} ({method} fills {', '.join(given)})") from error
    if hidden:
        raise BadOption(f"{method}: prompt {prompt} does not show {hidden[0]}")


def _values(names: tuple[str, ...], changed: str, count: int | None) -> dict[str, object]:
    """Return a value of each variable in `names`; that of `changed` is its second one."""
    values = {name: both[name == changed] for name, both in _TEXTS.items() if name in names}
    if "passages" not in names:
        return values
    text = _PASSAGE[changed == "passages"]
    if count is None:
        return values | {"passages": text}
    score = {"score": _SCORE[changed == "score"]} if "score" in names else {}
    return values | {"passages": [{"id": str(n + 1), "text": text, **score} for n in range(count)]}


def check_instruction(method: str, prompt: str, instruction: str) -> None:
    """Raise BadOption, naming `method`, for an instruction that the prompt would not show."""
    if instruction and not takes_instruction(prompt):
        raise BadOption(
            f"{method}: prompt {prompt} has no variable instruction, so the option instruction "
            "would change nothing"
        )
