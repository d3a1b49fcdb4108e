"""How pairs reach a server: as two texts that it joins, or as token ids that were made here."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import EngineFault
from ...types import PairScore, Score
from ..pairs import output_names, pair_head, require_template
from ..pairtemplate import PairTemplate
from ..saved import is_composed
from .dialects import PATHS
from .look import pair_tokens

if TYPE_CHECKING:
    from .site import Site

_PROBE = ("a query", "a document")


@dataclass(frozen=True)
class PairRoute:
    """Sends a site's pairs to `/score` and its like as texts, or to `/classify` as token ids.

    As token ids go pairs of a head with several outputs, which `/score` does not serve, and pairs
    with a template: the option's, or the checkpoint's own where the server has `/classify`.
    """

    site: Site

    def __str__(self) -> str:
        pairs = self.site.dialect.pairs
        return "/classify, token ids" if self.as_ids else str(pairs or "")

    @functools.cached_property
    def as_ids(self) -> bool:
        """Whether pairs are sent as token ids."""
        checkpoint = self.site.checkpoint
        if self._given or checkpoint is None:
            return self._given
        own = self._own_template and PATHS[Score] in self.site.looks[0].paths
        return len(output_names(checkpoint)) > 1 or own

    @property
    def template(self) -> PairTemplate | None:
        """What makes the text of a pair that is sent as token ids; None: the tokenizer does."""
        checkpoint = self.site.checkpoint
        return PairTemplate.find(checkpoint) if checkpoint and self.as_ids else None

    @property
    def prepared(self) -> bool:
        """Whether the tokens of a pair are known here; else the server makes its own text."""
        checkpoint = self.site.checkpoint
        return self.as_ids or (checkpoint is not None and not is_composed(checkpoint))

    def require(self) -> None:
        """Raise EngineFault unless the servers score pairs in a way that is known to be right."""
        if self.as_ids:
            self._require_classify()
            return
        if self.site.dialect.pairs is None:
            self.site.require("/score", PairScore)
            raise EngineFault(f"{self.site.looks[0].url} scores no pairs in a shape that we know")
        self._require_head()
        self._require_template()

    @property
    def _given(self) -> bool:
        return self.site.options.pair_template is not None

    @property
    def _own_template(self) -> bool:
        """Whether the checkpoint is one head, with a chat template that is made for pairs."""
        checkpoint = self.site.checkpoint
        head = checkpoint and checkpoint.architecture.endswith("ForSequenceClassification")
        return bool(checkpoint and head and PairTemplate.find(checkpoint))

    def _require_classify(self) -> None:
        tokens, checkpoint = self.site.tokens, self.site.checkpoint
        self.site.require(PATHS[Score], PairScore)
        if checkpoint is not None and not self._given and is_composed(checkpoint):
            require_template(checkpoint)
        elif not self._given and tokens.pair.types is not None:
            raise EngineFault(
                f"model {self.site.model} has several outputs and segment ids, which a server's "
                "/classify does not take; use --engine transformers or vllm"
            )

    def _require_head(self) -> None:
        checkpoint, head = self.site.checkpoint, self.site.options.head
        if checkpoint and not head and pair_head(checkpoint) == "maxsim":
            raise EngineFault(
                f"model {self.site.model} is an encoder without a head for pairs, and the server "
                "would answer with a cosine; use --engine transformers or vllm, or "
                "-o head=classifier"
            )

    def _require_template(self) -> None:
        """Refuse a server that joins the two texts of a model which reads a template.

        What template a server has it does not say, but a text made by one has more tokens.
        """
        site, way = self.site, self.site.dialect.pairs
        if site.checkpoint is None or way is None or not site.checkpoint.tokenizer.chat_template:
            return
        bare = site.tokens.pair.size + sum(map(len, site.tokens.encode(_PROBE)))
        found = site.client.each(lambda s: pair_tokens(site.client, s, site.model, way, _PROBE))
        for url, read in found.items():
            unknown = not read and is_composed(site.checkpoint)
            if unknown or 0 < read <= bare:
                told = "does not report how many tokens it read" if unknown else "joins bare texts"
                raise EngineFault(
                    f"model {site.model} reads a pair through a template, and {url}{way.path} "
                    f"{told}: start the server with --chat-template FILE, or set pair_template= "
                    "for a server with /classify"
                )
