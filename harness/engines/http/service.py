"""A model behind one or more equal servers: opened, checked at first use, and what it answers."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ...errors import EngineFault, unknown
from ...types import Embed, PairScore
from ..checkpoint import Checkpoint, open_checkpoint
from ..identity import packages
from ..options import ModelOptions
from ..pairing import (
    PairTemplate,
    is_composed,
    output_names,
    pair_head,
    pair_tokens,
    require_template,
)
from ..pooling import without_empty
from ..prepare import Answered, Numbered, Prepared, Preparer, by_kind
from ..tokens import Tokens
from .check import PAIRS_ASKED, TEXT, Checked, Listed, check, list_models, require_alike
from .client import Client
from .completions import COMPLETIONS, Completions
from .dialects import CLASSIFY, COUNTS_TOKENS, KINDS, PAIRS, Dialect
from .embeddings import EMBEDDINGS, require_pooling
from .fit import added_tokens

if TYPE_CHECKING:
    from . import HttpOptions


@dataclass(frozen=True)
class Service:
    """The servers, the model that they serve, and its tokenizer.

    listed: what each server reports of itself. root: hub id or folder of the model, where reported.
    checkpoint: the tokenizer's files; without them `tokenizer_missing` says why. context: longest
    sequence in tokens.
    """

    options: HttpOptions
    client: Client
    listed: Mapping[str, Listed]
    model: str
    root: str | None
    checkpoint: Checkpoint | None
    tokenizer_missing: str
    context: int

    @classmethod
    def open(cls, options: HttpOptions, client: Client) -> Service:
        """Read what the servers serve. Raises EngineFault where that is not one model."""
        listed = client.each(lambda url: list_models(client, url, options.dialect, options.model))
        model = _model(options, listed)
        first = next(iter(listed.values()))
        base = options.model or str(first.models[model].get("parent") or model)
        roots = {url: one.root(base) for url, one in listed.items()}
        if len(set(roots.values())) > 1:
            values = "; ".join(f"{url}: {root}" for url, root in roots.items())
            raise EngineFault(f"the servers differ in model {base} ({values}): run them apart")
        root = first.root(base)
        checkpoint, missing = _checkpoint(options, root, base)
        own = checkpoint.context if checkpoint else sys.maxsize
        reported = [one.context(base) for one in listed.values()]
        context = min([options.max_model_len or sys.maxsize, own, *reported])
        return cls(options, client, listed, model, root, checkpoint, missing, context)

    @functools.cached_property
    def dialect(self) -> Dialect:
        """How the servers are called."""
        name, checkpoint = self.options.dialect, self.checkpoint
        if checkpoint is None:
            return Dialect(name, self.model)
        ends, top = sorted(checkpoint.end_ids), self.options.top_logprobs
        completions = Completions(self.tokens, ends, vllm=name == "vllm", top=top)
        return Dialect(name, self.model, completions, output_names(checkpoint))

    @functools.cached_property
    def checked(self) -> Mapping[str, Checked]:
        """What each server answered to the check. Raises EngineFault where they differ."""
        ids = self.tokens.encode([TEXT])[0] if self.checkpoint else ()
        found = self.client.each(lambda url: check(self.client, url, self.dialect, ids))
        require_alike(found)
        return found

    @property
    def tokens(self) -> Tokens:
        """The model's tokenizer. Raises EngineFault where none was found."""
        if self.checkpoint is None:
            raise EngineFault(f"{self.tokenizer_missing}; name the tokenizer: -o tokenizer=ID")
        return self.checkpoint.tokens

    @property
    def identity(self) -> Mapping[str, str | None]:
        """What distinguishes these servers' replies from others'; None where it does not apply.

        Their addresses are part of it only where neither a name nor the check's numbers are known.
        """
        place = self.checkpoint.place if self.checkpoint else None
        probes = sorted({one.probe for one in self.checked.values()})
        versions = {one.version for one in self.listed.values() if one.version}
        adapter, first = self.options.adapter, next(iter(self.listed.values()))
        ranked = self.options.dialect == "openai"
        return {
            "dialect": self.options.dialect,
            "top_logprobs": str(self.options.top_logprobs) if ranked else None,
            "model": self.model,
            "root": self.root,
            "base_url": None if self.root and all(probes) else ",".join(self.listed),
            "probe": ",".join(probes) if all(probes) else None,
            "version": ",".join(sorted(versions)),
            "tokenizer": str(place.fingerprint or place.revision) if place else None,
            "packages": packages(("tokenizers", "transformers")) if place else None,
            "context": str(self.context),
            "adapter": adapter,
            "adapter_root": adapter and first.root(self.model),
            "dtype": self.options.dtype,
            "head": self.options.head,
            "pooling": self.options.server_pooling,
            "pair_template": self.checkpoint.pair_template if self.checkpoint else None,
        }

    @property
    def in_effect(self) -> Mapping[str, Mapping[str, str]]:
        """What was found of each server, and how often it has failed since it last answered."""
        tokenizer = self.checkpoint.name if self.checkpoint else self.tokenizer_missing
        return {
            server.url: {
                "tokenizer": tokenizer,
                "version": str(self.listed[server.url].version),
                "probe": str(self.checked[server.url].probe),
                "unserved": ", ".join(self.checked[server.url].unserved),
                "failures": f"{server.failures} in a row: {server.error}"
                if server.failures
                else "",
            }
            for server in self.client.servers
        }

    @functools.cached_property
    def pair_tokens(self) -> int | None:
        """The tokens of both texts of a pair that the model reads; see `Engine.pair_tokens`.

        Two texts take at most what the tokenizer puts around each, where a server alone has it.
        Raises EngineFault where neither the tokenizer nor the server's context is known.
        """
        if self.options.head == "maxsim":
            return None
        if self.checkpoint is not None:
            return pair_tokens(self.checkpoint, self.context)
        if self.options.dialect not in COUNTS_TOKENS:
            raise EngineFault(
                f"{self.tokenizer_missing}; name the tokenizer: -o tokenizer=ID, or let the server "
                "cut pairs: max_pair_tokens=none"
            )
        if self.context == sys.maxsize:
            raise EngineFault(
                f"{self.tokenizer_missing}, and the server tells no context: set "
                "-o max_model_len= to it, or the budget of a pair, such as max_pair_tokens=508"
            )
        return self.context - 2 * added_tokens(self.client, self.model)

    # Preparing requests. Pairs are sent as two texts that the server joins, or as token ids

    @functools.cached_property
    def pairs_as_ids(self) -> bool:
        """Whether pairs are sent to `/classify` as token ids.

        So are pairs of a head with several outputs, which `/score` does not serve, and pairs with a
        template: the option's, or the checkpoint's own where the server has `/classify`.
        """
        checkpoint, given = self.checkpoint, self.options.pair_template is not None
        if given or checkpoint is None or self.options.dialect != "vllm":
            return given
        head = checkpoint.architecture.endswith("ForSequenceClassification")
        own = head and PairTemplate.find(checkpoint) is not None
        served = not any(CLASSIFY in one.unserved for one in self.checked.values())
        return len(output_names(checkpoint)) > 1 or (own and served)

    @functools.cached_property
    def _preparer(self) -> Preparer:
        template = self.checkpoint and self.pairs_as_ids and PairTemplate.find(self.checkpoint)
        # servers write one token at least
        return Preparer(self.tokens, self.context, template or None, written=1)

    def prepare(self, numbered: Numbered) -> tuple[list[Prepared], list[Answered]]:
        """Prepare requests; a pair that the server makes a text of stays as it is.

        Raises EngineFault for a type that the servers cannot answer.
        """
        kinds = by_kind(numbered)
        for kind in kinds:
            self._require_kind(kind)
        if self.checkpoint is not None:
            for _, request in kinds.get(Embed, []):
                require_pooling(request, self.checkpoint, self.options)
        plain = self.checkpoint is not None and not is_composed(self.checkpoint)
        bare = [] if plain or self.pairs_as_ids else kinds.pop(PairScore, [])
        known = [one for own in kinds.values() for one in own]
        todo, done = self._preparer.prepare(known) if known else ([], [])
        if self.checkpoint is not None:
            todo, empty = without_empty(todo, self.checkpoint)
            done += empty
        return todo + [Prepared(index, pair, (), 0) for index, pair in bare], done

    def _require_kind(self, kind: type) -> None:
        if kind not in KINDS[self.options.dialect]:
            raise EngineFault(f"dialect={self.options.dialect} cannot answer {kind.__name__}")
        if kind is not PairScore:
            _ = self.tokens
            self._require(EMBEDDINGS if kind is Embed else COMPLETIONS, kind)
        elif self.pairs_as_ids:
            self._require_classify()
        else:
            self._require_joined_pairs()

    def _require(self, path: str, kind: type) -> None:
        """Raise EngineFault where a server has not answered the check at `path`."""
        for url, one in self.checked.items():
            if path in one.unserved:
                raise EngineFault(f"{url} cannot answer {kind.__name__}: {one.unserved[path]}")

    def _require_classify(self) -> None:
        if self.options.dialect != "vllm":
            raise EngineFault("pair_template needs the /classify of vLLM: dialect=vllm")
        self._require(CLASSIFY, PairScore)
        checkpoint, given = self.checkpoint, self.options.pair_template is not None
        if checkpoint is not None and not given and is_composed(checkpoint):
            require_template(checkpoint)
        elif not given and self.tokens.pair.types is not None:
            raise EngineFault(
                f"model {self.model} has several outputs and segment ids, which a server's "
                "/classify does not take; use --engine transformers or vllm"
            )

    def _require_joined_pairs(self) -> None:
        """Refuse servers that would join the two texts in another way than the model reads them.

        A server does not report its template, but a text made by one has more tokens.
        """
        self._require(PAIRS[self.options.dialect].path, PairScore)
        checkpoint = self.checkpoint
        if checkpoint and not self.options.head and pair_head(checkpoint) == "maxsim":
            raise EngineFault(
                f"model {self.model} is an encoder without a head for pairs, and the server would "
                "answer with a cosine; use --engine transformers or vllm, or -o head=classifier"
            )
        if not checkpoint or not checkpoint.tokenizer.chat_template:
            return
        pair = PAIRS_ASKED[0]
        joined = sum(map(len, self.tokens.encode([pair.query, pair.document])))
        for url, one in self.checked.items():
            unknown = not one.pair_tokens and is_composed(checkpoint)
            if unknown or 0 < one.pair_tokens <= self.tokens.pair.size + joined:
                found = "does not report how many tokens it read" if unknown else "joins bare texts"
                raise EngineFault(
                    f"model {self.model} reads a pair through a template, and {url} {found}: start "
                    "the server with --chat-template FILE, or set pair_template= for a server with "
                    "/classify"
                )


def _model(options: HttpOptions, listed: Mapping[str, Listed]) -> str:
    """Return the name to post: the adapter's or the model's, else that of the only model served."""
    wanted = options.adapter or options.model
    for url, one in listed.items():
        if wanted is None and len(one.models) != 1:
            names = ", ".join(one.models) or "models that it does not list"
            raise EngineFault(f"{url} serves {names}: choose a --model")
        wanted = wanted or next(iter(one.models))
        if wanted not in one.models:
            raise EngineFault(f"{url}: {unknown('served model', wanted, one.models)}")
    return str(wanted)


def _checkpoint(
    options: HttpOptions, root: str | None, model: str
) -> tuple[Checkpoint | None, str]:
    """Open the tokenizer that the options name, else that of the root, else that of the model.

    Code that comes with a model is run only if the user named the model, not if a server did.
    """
    local = ModelOptions.of({**asdict(options), "model": model, "adapter": None, "dtype": None})
    if options.tokenizer:
        return open_checkpoint(replace(local, model=options.tokenizer)), ""
    missing = []
    for name in filter(None, dict.fromkeys([root, model])):
        trusted = options.trust_remote_code and name == options.model
        try:
            return open_checkpoint(replace(local, model=name, trust_remote_code=trusted)), ""
        except EngineFault as error:
            missing.append(str(error))
    return None, missing[0]
