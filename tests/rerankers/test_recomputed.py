"""Methods that no package has, computed again in plain PyTorch and plain Python.

E2Rank and jina-reranker-v3 are computed again in tests/harness/engines/local/test_vectors.py.
"""

from __future__ import annotations

import json
import math
import random
import re
from itertools import pairwise

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from rerank_bench import Candidates, Document, FakeEngine, Generation, order, rerank_one
from rerank_bench.engines import open_engine
from rerank_bench.rerankers.groupwise import GroupRank
from rerank_bench.rerankers.in_context import InContext, calibrated_score
from rerank_bench.rerankers.mvp import MVP
from rerank_bench.rerankers.rating import Rating
from rerank_bench.rerankers.setwise import Setwise
from rerank_bench.rerankers.tournament import TourRank

QUERY = "what names a list"


def candidates(texts) -> Candidates:
    return Candidates("t", "q1", QUERY, tuple(Document(str(i), t) for i, t in enumerate(texts)))


def sentences(checkpoints, count: int) -> list[str]:
    """Texts of one space between words, as they are shown in lists."""
    return [" ".join(text.split()) for text in checkpoints.TEXTS[:count]]


def plain(folder):
    """The tokenizer and the network, as transformers loads them."""
    network = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return AutoTokenizer.from_pretrained(folder), network.float().eval()


def chat(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


# ICR


def attended(peer, texts, query):
    """For each document, the attention that each of its tokens gets from what is behind them."""
    tokenizer, network = peer
    head, end = chat(
        " Here are some paragraphs:|Please find information that are relevant to the following "
        f"query in the paragraphs above.\n\nQuery: {query}"
    ).split("|Please")
    pieces = [head, *(p for n, t in enumerate(texts, 1) for p in ("\n\n", f"[{n}] {t}"))]
    parts = tokenizer([*pieces, "\n\n"]).input_ids
    before = [i for part in parts for i in part]
    ids = [*before, *tokenizer(f"Please{end}").input_ids]
    with torch.inference_mode():
        layers = network(torch.tensor([ids]), output_attentions=True).attentions
    weights = sum(layer[0, :, len(before) :, : len(before)].mean(1).sum(0) for layer in layers)
    pieces = weights.split([len(part) for part in parts])
    return pieces[2::2]


@pytest.mark.parametrize("reverse", [True, False])
def test_in_context_scores_are_those_of_two_whole_passes(llama, checkpoints, reverse):
    texts = sentences(checkpoints, 6)
    shown = texts[::-1] if reverse else texts
    expected = []
    peer = plain(llama)
    passes = [attended(peer, shown, query) for query in (QUERY, "N/A")]
    for weights, idle in zip(*passes, strict=True):
        change = weights - idle
        expected.append(change[change >= change.mean() - 2 * change.std()].sum().item())
    engine = open_engine("transformers", model=str(llama))
    found = rerank_one(InContext(reverse=reverse), candidates(texts), engine).scores
    assert found == pytest.approx(expected[::-1] if reverse else expected, abs=1e-4)
    assert max(found) - min(found) > 0.01


def test_outliers_are_those_below_two_deviations_of_a_sample():
    draw, left_out = random.Random(4), 0
    for trial in range(200):
        change = torch.tensor([-draw.paretovariate(2) for _ in range(6 + trial % 10)])
        kept = change >= change.mean() - 2 * change.std()
        left_out += int((~kept).sum())
        found = calibrated_score(change.tolist(), [0.0] * len(change))
        assert found == pytest.approx(change[kept].sum().item(), rel=1e-5)
    assert left_out > 50


# MVP


def test_mvp_scores_are_products_with_the_anchors_of_four_views(t5, checkpoints):
    texts = sentences(checkpoints, 7)
    tokenizer = AutoTokenizer.from_pretrained(t5)
    network = AutoModelForSeq2SeqLM.from_pretrained(t5).eval()
    scores = torch.zeros(len(texts))
    with torch.inference_mode():
        views = []
        for text in texts:
            markers = "<extra_id_0><extra_id_1><extra_id_2><extra_id_3>"
            prompt = f"{markers} | Query: {QUERY} | Context: {text}"
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            views.append(network.encoder(input_ids=ids).last_hidden_state[0, :4])
        for vectors in torch.stack(views, dim=1):
            start = torch.tensor([[tokenizer.pad_token_id]])
            seen = network.decoder(input_ids=start, encoder_hidden_states=vectors[None])
            scores += vectors @ seen.last_hidden_state[0, 0] / 4
    found = rerank_one(MVP(), candidates(texts), open_engine("transformers", model=str(t5))).scores
    assert found == pytest.approx(scores.tolist(), abs=1e-4, rel=1e-4)


# ERank


@pytest.fixture(scope="module")
def rater(checkpoints, tmp_path_factory):
    """A random Llama that writes digits until it ends."""
    folder = tmp_path_factory.mktemp("rater")
    tokenizer = checkpoints.byte_pairs(folder, chat=checkpoints.CHATML)
    torch.manual_seed(3)
    shape = checkpoints.decoder_shape(len(tokenizer)) | {"max_position_embeddings": 2048}
    network = LlamaForCausalLM(LlamaConfig(**shape))
    ids = tokenizer.convert_tokens_to_ids([*"0123456789", tokenizer.eos_token])
    with torch.no_grad():
        rows = network.lm_head.weight[ids].clone()
        rows[-1] *= 2
        network.lm_head.weight.zero_()
        network.lm_head.weight[ids] = rows
    network.save_pretrained(folder)
    return folder


def test_ratings_are_the_integer_times_the_probability_of_its_digits(rater, checkpoints):
    texts = sentences(checkpoints, 40)
    tokenizer, network = plain(rater)
    expected = []
    for text in texts:
        ids = tokenizer(
            chat(
                "Given a query and a document, please give a relevance score of 0 to 10. The goal "
                f"or relevance definition is: Find.\n\nHere is the query:\n{QUERY}\n\nHere is the "
                f"document:\n{text}\n\nAfter thinking, directly choose a relevance score from "
                "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].\n- 0 represents completely not related.\n"
                "- 10 means perfectly related.\n\nDesired output format:\n<think> put your thinking"
                " here </think><answer> Only allows an integer here </answer>\n\nYour output:"
            )
        ).input_ids
        written, chance = [], 1.0
        with torch.inference_mode():
            while len(written) < 4 and written[-1:] != [tokenizer.eos_token_id]:
                shares = network(torch.tensor([[*ids, *written]])).logits[0, -1].softmax(-1)
                written.append(int(shares.argmax()))
                if written[-1] != tokenizer.eos_token_id:
                    chance *= shares.max().item()
        answer = tokenizer.decode(written, skip_special_tokens=True)
        ended = written[-1] == tokenizer.eos_token_id
        rated = ended and answer != "" and int(answer) <= 10
        expected.append(int(answer) * chance if rated else 0.0)
    assert sum(score > 0 for score in expected) > 3
    engine = open_engine("transformers", model=str(rater))
    found = rerank_one(Rating(max_tokens=4, instruction="Find."), candidates(texts), engine)
    assert found.scores == pytest.approx(expected, abs=1e-5)


# Setwise

PROMPT = """
source = "the test"
licence = "none"
changes = "none"
labels = ["A", "B", "C", "D"]
text = '''{{ query }}
{% for passage in passages %}
{{ passage.id }}: {{ passage.text }}
{% endfor %}
Best ('''
"""


def heap_sorted(count, children, best, choose):
    """The heap sort of a textbook: `choose` returns the place of the best of some documents."""
    heap = list(range(count))

    def sink(node, size):
        first = children * node + 1
        family = [node, *range(first, min(first + children, size))]
        if len(family) > 1:
            top = family[choose([heap[place] for place in family])]
            if top != node:
                heap[node], heap[top] = heap[top], heap[node]
                sink(top, size)

    for node in range(count - 1, -1, -1):
        sink(node, count)
    ranking = []
    for size in range(count - 1, count - 1 - best, -1):
        ranking.append(heap[0])
        heap[0] = heap[size]
        sink(0, size)
    return ranking


def test_setwise_sorts_by_the_label_that_the_model_finds_most_probable(
    llama, checkpoints, tmp_path
):
    """A random model contradicts itself, so each set must be the same, and in the same order."""
    file = tmp_path / "setwise.toml"
    file.write_text(PROMPT)
    texts = sentences(checkpoints, 17)
    tokenizer, network = plain(llama)
    labels = tokenizer.convert_tokens_to_ids(list("ABCD"))
    chosen = []

    def choose(inside):
        lines = "".join(f"{name}: {texts[d]}\n" for name, d in zip("ABCD", inside, strict=False))
        ids = tokenizer(f"{QUERY}\n{lines}Best (", return_tensors="pt").input_ids
        with torch.inference_mode():
            logits = network(ids).logits[0, -1]
        chosen.append(int(logits[labels[: len(inside)]].argmax()))
        return chosen[-1]

    expected = heap_sorted(17, 3, 6, choose)
    assert len(set(chosen)) > 2
    reranker = Setwise(prompt=str(file), children=3, k=6)
    engine = open_engine("transformers", model=str(llama))
    result = rerank_one(reranker, candidates(texts), engine)
    assert order(result.scores)[:6] == expected
    assert order(result.scores)[6:] == sorted(set(range(17)) - set(expected))


# TourRank


def believed(document: int, group) -> float:
    """How a judge that errs sees a document beside those of its group."""
    return -document + random.Random(f"{document} of {sorted(group)}").gauss(0, 25)


def advancing(group, wanted):
    return sorted(group, key=lambda document: -believed(document, group))[:wanted]


def test_points_are_those_of_the_published_stages():
    """100 documents, as in the official code: groups x winners are 5 x 10, 5 x 4, 10, 5 and 2."""
    points, alive = [0] * 100, list(range(100))
    for groups, wanted in ((5, 10), (5, 4), (1, 10), (1, 5), (1, 2)):
        winners = []
        for first in range(groups):
            group = [alive[place] for place in range(first, len(alive), groups)]
            winners += advancing(group, wanted)
        for document in winners:
            points[document] += 1
        alive = sorted(winners)

    def answer(request):
        text = "\n".join(message.text for message in request.prompt.messages)
        shown = re.findall(r"Document (\d+): number (\d+)", text)
        names = {int(number): name for name, number in shown}
        wanted = int(re.findall(r"output the top (\d+)", text)[0])
        picks = advancing(list(names), wanted)
        return Generation(", ".join(f"Document {names[d]}" for d in picks), finished=True)

    given = candidates([f"number {i}" for i in range(100)])
    assert rerank_one(TourRank(), given, FakeEngine(answer)).scores == tuple(points)
    assert sum(points) == 50 + 20 + 10 + 5 + 2


# GroupRank


@pytest.mark.parametrize(("group", "interval"), [(20, 20), (20, 10), (10, 7)])
def test_a_score_is_the_mean_of_what_a_documents_groups_gave_it(group, interval):
    """A group that cannot be read gives 0 to all; a document left out of an answer gets nothing."""
    shown, given = [], {document: [] for document in range(95)}
    draw = random.Random(group + interval)

    def answer(request):
        text = "\n".join(message.text for message in request.prompt.messages)
        names = {n: int(d) for n, d in re.findall(r"\[(\d+)\]\. number (\d+)", text)}
        shown.append(list(names.values()))
        if draw.random() < 0.2:
            for document in names.values():
                given[document].append(0)
            return Generation("<answer>I cannot say</answer>", finished=True)
        kept = [name for name in names if name == "1" or draw.random() < 0.8]
        scores = {name: draw.randint(0, 10) for name in kept}
        for name, score in scores.items():
            given[names[name]].append(score)
        written = json.dumps({f"[{name}]": score for name, score in scores.items()})
        return Generation(f"<reason>so</reason><answer>{written}</answer>", finished=True)

    reranker = GroupRank(group=group, interval=interval, repeats=2)
    found = rerank_one(reranker, candidates([f"number {i}" for i in range(95)]), FakeEngine(answer))
    assert found.scores == pytest.approx([sum(g) / len(g) if g else 0.0 for g in given.values()])
    assert len(shown) == 2 * math.ceil(95 / interval)
    for repeat in (shown[: len(shown) // 2], shown[len(shown) // 2 :]):
        assert set().union(*map(set, repeat)) == set(range(95))
        assert [len(one) for one in repeat] == [min(group, 95 - n) for n in range(0, 95, interval)]
        assert all(a[interval:] == b[: len(a) - interval] for a, b in pairwise(repeat))
    assert shown[0] != sorted(shown[0])
