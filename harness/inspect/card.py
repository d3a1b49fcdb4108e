"""Show one reranker whole: its facts, an example of its requests, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engines import NO_ENGINE, PACKAGED, FakeEngine, overlap
from ..errors import RerankBenchError
from ..pools import Pool, PoolOptions, PoolRow
from ..prompt import environment, load_template, prompt_files
from ..report import count, plain
from ..reranking import (
    MODEL_PAIR,
    Choice,
    Jobs,
    Scope,
    build,
    find_entry,
    find_gpu,
    parse,
    rerank_one,
)
from ..suite import TaskPool
from ..tasks import Source, Task, TaskOptions
from ..types import Candidates, Document, PairScore
from .exchanges import Recorder, prompt_text
from .plan import CostEstimate, estimate
from .plan_engine import CountingEngine, overlap_with_length
from .plan_reader import open_reader
from .rerankers import ANY_MODEL

if TYPE_CHECKING:
    from ..types import AnyRequest, Engine

DOCUMENTS, WORDS = 100, 100
GPU, BLOCK = "h200", 16
_QUERY = "why are there two high tides a day"
_SHORT = (
    "The Moon pulls the near side of the Earth more strongly than the far side.",
    "Bread rises because yeast makes gas in the dough.",
    "Spring tides come at full and new moon.",
)
_TEXT = """
The sea rises and falls twice in most places between one passage of the Moon and the next, because
the pull of the Moon is stronger on the side of the Earth that faces it and weaker on the side that
is turned away. The difference raises the water on both sides. The Sun does the same with less than
half of the strength, so that the tides are high when both act along one line and low when they act
at right angles. Coasts, the depth of the sea and the shape of bays decide how much of this is seen
at a harbour, and when; in some seas one tide of the day is so small that only the other is noticed.
"""


@dataclass(frozen=True)
class Cost:
    """What one query of 100 documents of 100 words costs.

    tokens_of: whose tokens were counted. gpu_seconds: the least on the GPU `gpu`, None where the
    model's sizes are not known here, for the reason `note`.
    """

    documents: int
    calls: int
    rounds: int
    prompt_tokens: int
    output_tokens: int
    tokens_of: str
    gpu: str
    gpu_seconds: float | None
    note: str = ""


def show(text: str, *, as_json: bool) -> None:
    """Print the reranker `NAME[:OPTION=VALUE,…]`; raises what the registry raises."""
    found = card(text)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for line in _lines(found):
        click.echo(plain(line))
    for one in found["examples"]:
        click.echo(f"\nan example, {one['request']}:\n")
        for line in one["prompt"].split("\n"):
            click.echo(plain(line))


def card(text: str) -> dict[str, Any]:
    """Return all that is known of a reranker, as JSON values."""
    name, given = parse(text)
    entry, choice = find_entry(name), build(name, given, ANY_MODEL)
    facts = {f.name: getattr(entry, f.name) for f in fields(entry) if f.name != "options"}
    asks = choice.declared.asks
    templates = {option: load_template(name) for option, name in _prompts(choice).items()}
    model = given.get("model", entry.model)
    return {
        **facts,
        "model": model,
        "options": {**choice.options, **_of_engine(choice)},
        "pair_tokens": "the model's" if choice.declared.max_pair_tokens == MODEL_PAIR else None,
        "requests": None if asks is None else sorted(kind.__name__ for kind in asks),
        "prompt_source": None,
        "prompt_licence": None,
        **{f"{option}_source": template.source for option, template in templates.items()},
        **{f"{option}_licence": template.licence for option, template in templates.items()},
        "examples": examples(choice),
        "cost": asdict(cost(choice, model)),
    }


def _of_engine(choice: Choice) -> dict[str, Any]:
    """Return the options of the engine that are set, without the model."""
    if choice.engine == NO_ENGINE:
        return {}
    usual = {f.name: f.default for f in fields(choice.engine.options)}
    given = choice.engine.values.items()
    return {k: v for k, v in given if k not in {"model", "labels"} and v != usual[k]}


def _prompts(choice: Choice) -> dict[str, str]:
    """Return the prompt files that the options `prompt`, `pair_prompt` and so on name."""
    reranker: Any = choice.reranker
    own = {"prompt": choice.declared.prompt} if choice.declared.prompt else {}
    if not is_dataclass(reranker):
        return own
    values = {f.name: getattr(reranker, f.name) for f in fields(reranker)}
    others = {name: value for name, value in values.items() if name.endswith("_prompt")}
    known = prompt_files()
    return own | {
        name: value
        for name, value in others.items()
        if isinstance(value, str) and (value in known or value.endswith(".toml"))
    }


def examples(choice: Choice) -> list[dict[str, str]]:
    """Return the first request of each prompt over three short documents, as text.

    Those of different prompts differ in what they show: the query, one document or several.
    """
    documents = tuple(Document(str(i), text) for i, text in enumerate(_SHORT))
    signals = {"first_stage": (3.0, 2.0, 1.0)}
    recorder = Recorder(choice.reranker)
    asked = Candidates("example", "q", _QUERY, documents, signals=signals)
    rerank_one(recorder, asked, FakeEngine(overlap))
    firsts: dict[tuple[bool, int], dict[str, str]] = {}
    for request in chain.from_iterable(recorder.rounds):
        text = _rendered(request, choice)
        shown = (_QUERY in text, min(sum(part in text for part in _SHORT), 2))
        firsts.setdefault(shown, {"request": type(request).__name__, "prompt": text})
    found = list(firsts.values())[: max(len(_prompts(choice)), 1)]
    return found or [{"request": "no request", "prompt": ""}]


def _rendered(request: AnyRequest, choice: Choice) -> str:
    template = choice.engine.values.get("pair_template")
    if not isinstance(request, PairScore) or template is None or template.endswith(".jinja"):
        return prompt_text(request)
    values = {"query": request.query, "document": request.document}
    return environment().from_string(template).render(values)


def cost(choice: Choice, model: str | None) -> Cost:
    """Run the flow over the example: counted by the model's tokenizer if it is here, else in words.

    No model is fetched for it.
    """
    if choice.engine == NO_ENGINE:
        return _cost(_estimate(choice, NO_ENGINE.open()), "no model", 0.0)
    note = f"{model or 'the model'} is not on this machine, so its sizes are not known"
    if model is not None and _is_here(model):
        try:
            reader = open_reader(choice.engine, None)
            found = _estimate(choice, CountingEngine(reader, find_gpu(GPU), BLOCK))
            return _cost(found, model, found.seconds_alone)
        except RerankBenchError as error:
            note = str(error)
    words = _estimate(choice, FakeEngine(overlap_with_length))
    return _cost(words, "white-space words", None, note)


def _cost(found: CostEstimate, tokens_of: str, seconds: float | None, note: str = "") -> Cost:
    sums = (found.calls, found.rounds, found.prompt_tokens, found.output_tokens)
    return Cost(DOCUMENTS, *sums, tokens_of, GPU, seconds, note)


def _is_here(model: str) -> bool:
    """Return whether a model's configuration can be read without the network."""
    from huggingface_hub import try_to_load_from_cache

    if model in PACKAGED or Path(model).expanduser().exists():
        return True
    try:
        return isinstance(try_to_load_from_cache(model, "config.json"), str)
    except ValueError:  # the hub client's error for a name that is none
        return False


def _estimate(choice: Choice, engine: Engine) -> CostEstimate:
    return estimate(_prepared(), choice, Jobs(engine, Scope()), lambda _: None)


def _prepared() -> TaskPool:
    """Return a task of one query and its documents, which differ in where the text begins."""
    words = _TEXT.split()
    turned = ((words[place % len(words) :] + words)[:WORDS] for place in range(DOCUMENTS))
    corpus = {str(place): f"{place} {' '.join(own[1:])}" for place, own in enumerate(turned)}
    source = Source("example", "example")
    task = Task("example", "example", {"q": _QUERY}, corpus, {"q": {"0": 1}}, source)
    scores = tuple(float(DOCUMENTS - place) for place in range(DOCUMENTS))
    rows = (PoolRow("q", tuple(corpus), scores=scores),)
    pool = Pool("example", "example", "example", "computed", DOCUMENTS, rows, sha256="")
    return TaskPool(task, pool, TaskOptions(), PoolOptions())


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the facts, options and cost of a card, one a line."""
    names = {"parameters": "billions", "name": "reranker"}
    for key, value in found.items():
        if key in {"examples", "cost"} or value in (None, "", (), {}):
            continue
        yield f"{names.get(key, key):<15} {_value(value)}"
    spent = Cost(**found["cost"])
    tokens = f"{count(spent.prompt_tokens)} / {count(spent.output_tokens)}"
    yield (
        f"{'cost':<15} {spent.documents} documents of {WORDS} words: calls {count(spent.calls)}, "
        f"rounds {spent.rounds}, tokens read / written {tokens} (tokens: {spent.tokens_of})"
    )
    if spent.gpu_seconds is None:
        yield f"{'GPU-seconds':<15} not known: {spent.note}"
    else:
        yield f"{'GPU-seconds':<15} {spent.gpu_seconds:.3g} at best, on one {spent.gpu}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v!r}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
