from __future__ import annotations

import re

import pytest

from rerank_bench import load_template
from rerank_bench.prompt import prompt_files
from rerank_bench.reranking import catalogue

PASSAGES = [
    {"id": "1", "text": "first", "score": "2.5"},
    {"id": "2", "text": "second", "score": "1.5"},
]
OF_QUERIES = {"embed-query", "qwen3-embedding"}
OF_DOCUMENTS = {"embed-document", "e2rank-document", "query-likelihood", "upr", "flan-t5-question"}
VALUES = {"query": "QUERY", "document": "DOCUMENT", "instruction": "INSTRUCTION", "picks": 1}
VALUES |= {"index": 7}


def passages_of(name: str) -> object:
    """What fills a prompt's `passages`: prompts of in-context re-ranking take one text."""
    return "EVERY PASSAGE" if name.startswith("icr") else PASSAGES


@pytest.mark.parametrize("name", sorted(prompt_files()))
def test_every_prompt_says_where_it_is_from_and_can_be_filled(name):
    template = load_template(name)
    assert template.source
    assert template.licence
    assert template.changes
    prompt = template.fill(**VALUES, passages=passages_of(name))
    written = prompt.text or "".join(message.text for message in prompt.messages)
    listed = re.search(r"\d\W+first.*\d\W+second", written, re.DOTALL)
    assert listed or "DOCUMENT" in written or "EVERY PASSAGE" in written or name in OF_QUERIES
    assert "QUERY" in written or name in OF_DOCUMENTS
    assert "{{" not in written
    assert "{%" not in written


@pytest.mark.parametrize("name", sorted(prompt_files()))
def test_no_prompt_ends_in_a_space_which_would_split_the_next_token(name):
    prompt = load_template(name).fill(**VALUES, passages=passages_of(name))
    end = (prompt.text or prompt.messages[-1].text) + prompt.prefill
    assert not end.endswith(" ")


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.name)
def test_every_prompt_that_the_catalogue_names_fits_its_method(entry):
    if "prompt" not in entry.options:
        return
    template = load_template(entry.options["prompt"])
    assert bool(template.labels) == (entry.method in {"pointwise", "ecorank"})
    assert (template.prefill == "[") == (entry.method == "first")


def test_qwen3_rerankers_prompt_is_the_one_it_was_trained_on():
    filled = load_template("qwen3-reranker").fill(**VALUES).text
    assert filled == (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n<Instruct>: INSTRUCTION\n<Query>: QUERY\n<Document>: DOCUMENT"
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    assert load_template("qwen3-reranker").labels == ("yes", "no")


def test_ecoranks_prompts_are_those_of_its_official_code():
    assert load_template("ecorank").fill(query="QUERY", document="DOCUMENT").text == (
        "Is the following passage related to the query?\npassage: DOCUMENT\nquery: QUERY\n"
        "Answer in yes or no"
    )
    passages = [{"id": "A", "text": "first"}, {"id": "B", "text": "second"}]
    (message,) = load_template("ecorank-pairs").fill(query="QUERY", passages=passages).messages
    assert message.text == (
        'Given a query "QUERY", which of the following two passages is more relevant to the query?'
        "\nPassage A: first\nPassage B: second\nOutput Passage A or Passage B.\n"
    )


def test_rank_zephyrs_prompt_is_the_one_it_was_trained_on():
    filled = load_template("rank-zephyr").fill(query="QUERY", passages=PASSAGES).text
    assert filled == (
        "<|system|>\nYou are RankLLM, an intelligent assistant that can rank passages based on "
        "their relevancy to the query</s>\n<|user|>\nI will provide you with 2 passages, each "
        "indicated by a numerical identifier []. Rank the passages based on their relevance to the "
        "search query: QUERY.\n\n[1] first\n[2] second\nSearch Query: QUERY.\nRank the 2 passages "
        "above based on their relevance to the search query. All the passages should be included "
        "and listed using identifiers, in descending order of relevance. The output format should "
        "be [] > [], e.g., [2] > [1], Answer concisely and directly and only respond with the "
        "ranking results, do not say any word or explain.</s>\n<|assistant|>\n"
    )


def test_rank_vicunas_prompt_is_the_one_its_published_figures_were_made_with():
    assert catalogue()["RankVicuna"].options["prompt"] == "rank-vicuna-rankllm"
    filled = load_template("rank-vicuna-rankllm").fill(query="QUERY", passages=PASSAGES).text
    assert filled == (
        "You are RankLLM, an intelligent assistant that can rank passages based on their relevancy "
        "to the query USER: I will provide you with 2 passages, each indicated by a numerical "
        "identifier []. Rank the passages based on their relevance to the search query: QUERY.\n"
        "[1] first\n[2] second\nSearch Query: QUERY.\nRank the 2 passages above based on their "
        "relevance to the search query. All the passages should be included and listed using "
        "identifiers, in descending order of relevance. The output format should be [] > [], e.g., "
        "[2] > [1], Answer concisely and directly and only respond with the ranking results, do "
        "not say any word or explain. ASSISTANT:"
    )


def test_qwen3_embeddings_query_has_no_space_before_it():
    filled = load_template("qwen3-embedding").fill(query="QUERY", instruction="TASK").text
    assert filled == "Instruct: TASK\nQuery:QUERY"


def test_e2ranks_query_lists_the_documents_before_it():
    (message,) = load_template("e2rank").fill(query="QUERY", passages=PASSAGES).messages
    assert message.text == (
        "Given a web search query and some relevant documents, rerank the documents that answer "
        "the query:\nDocuments:\n[1] first\n[2] second\nSearch Query: QUERY"
    )
    assert load_template("e2rank-document").fill(document="DOCUMENT").text == (
        "DOCUMENT<|endoftext|>"
    )


@pytest.mark.parametrize("instruction", ["", "TASK"])
def test_jina_rerankers_prompt_is_the_one_it_was_trained_on(instruction):
    template = load_template("jina-reranker-v3")
    filled = template.fill(query="QUERY", passages=PASSAGES, instruction=instruction).text
    block = f"<instruct>\n{instruction}\n</instruct>\n" if instruction else ""
    assert filled == (
        "<|im_start|>system\nYou are a search relevance expert who can determine a ranking of the "
        "passages based on how relevant they are to the query. If the query is a question, how "
        "relevant a passage is depends on how well it answers the question. If not, try to analyze "
        "the intent of the query and assess how well each passage satisfies the intent. If an "
        "instruction is provided, you should follow the instruction when determining the ranking."
        "<|im_end|>\n<|im_start|>user\nI will provide you with 2 passages, each indicated by a "
        "numerical identifier. Rank the passages based on their relevance to query: QUERY\n"
        f'{block}<passage id="1">\nfirst<|embed_token|>\n</passage>\n<passage id="2">\n'
        "second<|embed_token|>\n</passage>\n<query>\nQUERY<|rerank_token|>\n</query><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
