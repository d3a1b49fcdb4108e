"""The options of the transformers engine."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import ModelOptions, option


@dataclass(frozen=True, kw_only=True)
class TransformersOptions(ModelOptions):
    """Options of engine transformers.

    device: `cpu`, `cuda`, `cuda:1`, `mps`.
    share_prefixes: compute the beginning that prompts have in common once; replies are the same to
        rounding, as with batches of another size.
    language_adapters: PEFT adapters for pairs, one for each language: a folder with a folder for
        each (`de`, `zho_Hans`), or a .toml file of language = "hub id or folder". Its `default`
        reads texts of other or unknown languages. They add to the ranking adapter (`adapter`).
    language: the language whose adapter reads all texts, such as `de_DE`; by default a text is read
        by that of its own language, and a text of no known language by an XMOD's default.
    pair_language: whose language chooses the adapter where query and document are one sequence:
        `document` or `query`.
    """

    device: str | None = None
    share_prefixes: bool = True
    language_adapters: str | None = option(None, in_label=True)
    language: str | None = option(None, in_label=True)
    pair_language: str = option("document", in_label=True)
