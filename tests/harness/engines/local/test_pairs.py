"""Scores of pairs: against sentence-transformers, a naive MaxSim, and every order and batch."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from rerank_bench.engines import Tokens
from rerank_bench.engines import maxsim as module
from rerank_bench.engines.local import TransformersEngine
from rerank_bench.errors import BadOption, EngineFault
from rerank_bench.types import Failure, Logits, NextToken, PairScore, Prompt

Engines = Callable[..., TransformersEngine]


def scores(engine: TransformersEngine, requests: list[Any]) -> list[float]:
    found = dict(engine.stream(iter(requests)))
    assert all(isinstance(reply, Logits) for reply in found.values()), found
    return [found[i].logits[0] for i in range(len(requests))]


@pytest.fixture(scope="session")
def pairs(texts: list[str]) -> list[PairScore]:
    queries = ["how do I import a module", "what is a class ?", "assignment"]
    return [PairScore(q, d) for q in queries for d in texts]


@pytest.fixture(scope="session")
def expected(cross_encoder: Path, pairs: list[PairScore]) -> list[float]:
    reference = CrossEncoder(str(cross_encoder), device="cpu")
    both = [(p.query, p.document) for p in pairs]
    return list(reference.predict(both, activation_fn=torch.nn.Identity(), show_progress_bar=False))


def test_the_longest_pair_fills_the_context_to_its_last_token(
    engine: Engines, cross_encoder: Path, texts: list[str]
) -> None:
    opened = engine(cross_encoder)
    assert opened.pair_tokens == 128 - 3
    (query,) = opened.fit(["what is a class ?"], 60)
    (document,) = opened.fit([" ".join(texts * 9)], 128 - 3 - query.tokens)
    (reply,) = dict(opened.stream(iter([PairScore(query.text, document.text)]))).values()
    assert reply.prompt_tokens == 128


def test_a_template_a_prompt_and_an_option_leave_less_of_the_context_to_a_pair(
    engine: Engines, cross_encoder: Path, composed: Path, encoder: Path, texts: list[str]
) -> None:
    template = "query : {{ query }} document : {{ document }}"
    for options in ({"pair_template": template}, {"max_model_len": 100}):
        opened = engine(cross_encoder, **options)
        room = opened.pair_tokens
        assert room < 128 - 3
        (query,), (long,) = opened.fit(["class"], 1), opened.fit([" ".join(texts * 9)], room - 1)
        (reply,) = dict(opened.stream(iter([PairScore(query.text, long.text)]))).values()
        assert room + 3 <= reply.prompt_tokens <= options.get("max_model_len", 128)
    assert engine(encoder).pair_tokens is None  # its vectors of texts are made apart
    assert engine(composed).pair_tokens == (
        engine(composed).checkpoint.context - engine(composed).checkpoint.tokens.pair.size
    )


@pytest.mark.parametrize("repeated", [1, 1000])
def test_a_saved_prompt_is_taken_off_twice_and_leaves_something_or_is_refused(
    engine: Engines, composed: Path, tmp_path: Path, repeated: int
) -> None:
    """It may stand before both texts, as sentence-transformers puts it."""
    prompt = "class " * repeated
    reference = CrossEncoder(str(composed), prompts={"own": prompt}, default_prompt_name="own")
    reference.save_pretrained(str(tmp_path))
    opened = engine(tmp_path)
    if repeated > 1:
        with pytest.raises(EngineFault, match="leaves nothing to a query and a document"):
            _ = opened.pair_tokens
        return
    taken = len(opened.checkpoint.tokens.encode([prompt])[0])
    assert opened.pair_tokens == engine(composed).pair_tokens - 2 * taken


@pytest.mark.parametrize("batch_tokens", [1, 300, 100_000])
def test_scores_equal_sentence_transformers_own_whatever_the_batch(
    engine: Engines,
    cross_encoder: Path,
    pairs: list[PairScore],
    expected: list[float],
    batch_tokens: int,
) -> None:
    assert np.std(expected) > 0.1
    found = scores(engine(cross_encoder, max_num_batched_tokens=batch_tokens), pairs)
    assert found == pytest.approx(expected, abs=1e-4)


def test_scores_do_not_depend_on_order_or_neighbours(
    engine: Engines, cross_encoder: Path, pairs: list[PairScore], expected: list[float]
) -> None:
    opened = engine(cross_encoder, max_num_batched_tokens=500)
    for seed in range(3):
        chosen = random.Random(seed).sample(range(len(pairs)), 30)
        found = scores(opened, [pairs[i] for i in chosen])
        assert found == pytest.approx([expected[i] for i in chosen], abs=1e-4)


def test_joined_ids_are_those_of_the_tokenizer(
    cross_encoder: Path, llama_classifier: Path, base_llama: Path, texts: list[str]
) -> None:
    for folder in (cross_encoder, llama_classifier, base_llama):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokens = Tokens(tokenizer, name="tiny")
        for query, document in zip(texts, reversed(texts), strict=True):
            plain = tokenizer([query], [document])
            first, second = tokens.encode([query, document])
            assert tokens.pair.around(first, second) == plain["input_ids"][0]
            assert tokens.pair.segments(first, second) == plain.get("token_type_ids", [None])[0]
            assert tokens.single.around(first) == tokenizer(query)["input_ids"]


def test_a_cross_encoder_of_several_modules_scores_as_the_library_does(
    engine: Engines, composed: Path, pairs: list[PairScore]
) -> None:
    fitting = [p for p in pairs if p.document][:30]
    both = [(p.query, p.document) for p in fitting]
    reference = CrossEncoder(str(composed), device="cpu")
    expected = reference.predict(both, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    opened = engine(composed, max_num_batched_tokens=700)
    assert opened.identity["head"] == "composed"
    assert scores(opened, fitting) == pytest.approx(list(expected), abs=1e-4)


def naive_maxsim(tokenizer: Any, model: Any, query: str, document: str) -> float:
    sides = []
    for text in (query, document):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 1:-1]
        sides.append([row / row.norm() for row in states])
    if not all(sides):
        return 0.0
    return sum(max(float(q @ d) for d in sides[1]) for q in sides[0])


def test_maxsim_equals_a_naive_computation(
    engine: Engines, encoder: Path, pairs: list[PairScore]
) -> None:
    chosen = pairs[35:50]
    opened = engine(encoder)
    own = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder).eval()
    expected = [naive_maxsim(*own, p.query, p.document) for p in chosen]
    assert scores(opened, chosen) == pytest.approx(expected, abs=1e-4)
    assert scores(opened, chosen[::-1]) == pytest.approx(expected[::-1], abs=1e-4)


def test_maxsim_encodes_each_distinct_text_once_and_drops_the_oldest_or_all(
    engine: Engines, encoder: Path, pairs: list[PairScore], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = engine(encoder, max_num_batched_tokens=900)
    encoded: list[int] = []
    run = opened.batcher.run
    monkeypatch.setattr(opened.batcher, "run", lambda t, f: (encoded.append(len(t)), run(t, f))[1])
    whole = scores(opened, pairs)
    assert sum(encoded) == len({t for p in pairs for t in (p.query, p.document)})
    opened._maxsim._kept.limit = 5_000
    monkeypatch.setattr(module, "_KEPT_BYTES", 5_000)
    monkeypatch.setattr(module, "_TEXTS_AT_ONCE", 4)
    encoded.clear()
    assert scores(opened, pairs) == whole
    assert not sum(encoded)
    opened.forget()
    assert scores(opened, pairs) == pytest.approx(whole, abs=1e-4)
    assert sum(encoded) >= len({t for p in pairs for t in (p.query, p.document)})
    assert opened._maxsim._kept.bytes <= 5_000


def test_a_pair_that_exceeds_the_context_fails_alone_and_says_what_to_lower(
    engine: Engines, cross_encoder: Path, encoder: Path
) -> None:
    requests = [PairScore("short", "short"), PairScore("short", "word " * 500)]
    for folder in (cross_encoder, encoder):
        found = dict(engine(folder).stream(iter(requests)))
        assert isinstance(found[0], Logits)
        assert isinstance(found[1], Failure)
        assert "context of 128" in found[1].reason
        assert "max_doc_tokens" in found[1].reason


def test_not_a_number_is_a_failure(tmp_path: Path, engine: Engines, cross_encoder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(cross_encoder)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(cross_encoder).save_pretrained(tmp_path)
    ((_, reply),) = engine(tmp_path).stream(iter([PairScore("a", "b")]))
    assert isinstance(reply, Failure)
    assert "NaN" in reply.reason


def test_a_model_without_the_head_is_refused_before_it_answers(
    engine: Engines, llama: Path, encoder: Path
) -> None:
    with pytest.raises(EngineFault, match="no head for pairs"):
        list(engine(llama).stream(iter([PairScore("a", "b")])))
    with pytest.raises(EngineFault, match="no causal language model"):
        list(engine(encoder).stream(iter([NextToken(Prompt(text="a"), ("b",))])))
    with pytest.raises(EngineFault, match="lacks classifier"):
        list(engine(encoder, head="classifier").stream(iter([PairScore("a", "b")])))
    with pytest.raises(BadOption, match="head 'colbert'"):
        engine(encoder, head="colbert")


def test_the_head_is_read_off_the_model(
    engine: Engines, cross_encoder: Path, encoder: Path, llama: Path
) -> None:
    assert engine(cross_encoder).identity["head"] == "classifier"
    assert engine(encoder).identity["head"] == "maxsim"
    assert engine(llama).identity["head"] == "none"
    assert engine(cross_encoder, head="maxsim").identity["head"] == "maxsim"


def test_a_head_with_two_outputs_gives_both_with_their_names(
    tmp_path: Path, engine: Engines, cross_encoder: Path
) -> None:
    config = AutoConfig.from_pretrained(cross_encoder, id2label={0: "no", 1: "yes"})
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(cross_encoder).save_pretrained(tmp_path)
    ((_, reply),) = engine(tmp_path).stream(iter([PairScore("a", "b")]))
    assert len(reply.logits) == 2
    assert reply.names == ("no", "yes")


TEMPLATE = "query: {{ query }} document: {{ document }}"


def last_scores(model: Any, folder: Path, texts: list[str]) -> list[float]:
    """The score of each text's last token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        with torch.inference_mode():
            states = model.model(**tokenizer(text, return_tensors="pt")).last_hidden_state
            found.append(float(model.score(states)[0, -1, 0]))
    return found


def with_template(folder: Path, source: Path, template: str) -> Path:
    AutoModelForSequenceClassification.from_pretrained(source).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def test_a_generic_chat_template_is_no_pair_template(
    tmp_path: Path, engine: Engines, checkpoints: Any, llama_classifier: Path
) -> None:
    folder = with_template(tmp_path, llama_classifier, checkpoints.CHATML)
    with pytest.raises(EngineFault, match=r"no query and document roles.*set pair_template="):
        scores(engine(folder), [PairScore("a", "b")])


def test_several_modules_behind_a_generic_chat_template_are_refused_with_a_cure_that_works(
    tmp_path: Path, engine: Engines, llama: Path
) -> None:
    transformer = Transformer(str(llama), transformer_task="text-generation")
    CrossEncoder(modules=[transformer, LogitScore(40, 41)]).save_pretrained(str(tmp_path))
    with pytest.raises(EngineFault, match="save it with a chat template that has them"):
        scores(engine(tmp_path), [PairScore("a", "b")])
    assert dict(engine(tmp_path).stream(iter([NextToken(Prompt(text="a"), (40, 41))])))


def test_late_interaction_takes_no_pair_template(engine: Engines, encoder: Path) -> None:
    with pytest.raises(BadOption, match="maxsim reads texts apart"):
        scores(engine(encoder, pair_template=TEMPLATE), [PairScore("a", "b")])


def test_a_chat_template_that_names_the_roles_is_a_pair_template(
    tmp_path: Path, engine: Engines, checkpoints: Any, llama_classifier: Path
) -> None:
    folder = with_template(tmp_path, llama_classifier, checkpoints.ROLES)
    assert engine(folder).identity["head"] == "composed"


@pytest.mark.parametrize("as_file", [False, True])
def test_the_option_pair_template_makes_the_text_that_the_head_reads(
    tmp_path: Path, engine: Engines, checkpoints: Any, llama_classifier: Path, as_file: bool
) -> None:
    folder = with_template(tmp_path / "model", llama_classifier, checkpoints.CHATML)
    given = TEMPLATE
    if as_file:
        file = tmp_path / "pair.jinja"
        file.write_text(TEMPLATE)
        given = str(file)
    opened = engine(folder, pair_template=given)
    assert opened.identity["pair_template"] == TEMPLATE
    # The last text ends in the padding token, which the model's own forward would step over.
    ends = ["me", "", " ".join(["them"] * 40), "about imports<|im_end|>"]
    model = AutoModelForSequenceClassification.from_pretrained(llama_classifier).eval()
    texts = [f"query: who document: {end}" for end in ends]
    expected = last_scores(model, llama_classifier, texts)
    found = scores(opened, [PairScore("who", end) for end in ends])
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ query }}", "must insert"),
        ("{{ query }} {{ document }} {{ title }}", "'title' is undefined"),
        ("{{ query", "pair_template"),
        ("no-such-file.jinja", "cannot be read"),
    ],
)
def test_a_pair_template_that_is_broken_is_refused(
    engine: Engines, llama_classifier: Path, template: str, said: str
) -> None:
    with pytest.raises(BadOption, match=said):
        scores(engine(llama_classifier, pair_template=template), [PairScore("a", "b")])
