"""`list rerankers` with filters, and one reranker whole."""

from __future__ import annotations

import json

import pytest

from rerank_bench.inspect import card
from rerank_bench.inspect.card import _prepared
from rerank_bench.reranking import catalogue, choose, methods


@pytest.fixture
def listed(call):
    """Names that `list rerankers` prints for some flags."""

    def listed(*flags: str) -> set[str]:
        rows = json.loads(call("list", "rerankers", *flags, "--json").stdout)
        return {row["reranker"] for row in rows}

    return listed


def test_a_kind_is_a_method_and_kinds_add_up(listed):
    first = listed("--kind", "first")
    assert {"first", "FIRST", "first_mistral", "smollm2-first"} == first
    assert listed("--kind", "first", "--kind", "identity") == first | {"identity"}


def test_an_engine_lists_what_it_can_answer(listed):
    everything = set(catalogue()) | set(methods())
    assert listed("--engine", "fake") == everything
    served = listed("--engine", "vllm")
    assert "Qwen3-Reranker-0.6B" in served
    assert "identity" in served
    assert not {"ICR-Mistral-7B", "in-context"} & served, "vLLM shows no attention"
    assert not {"monoT5-base", "PRP-flan-t5-xl", "LiT5-Distill-base"} & served
    late = {"colbertv2.0", "GTE-ModernColBERT", "jina-colbert-v2", "colbert-xm"}
    assert not late & served, "vLLM refuses their markers or projections"
    assert late <= listed("--engine", "transformers")
    assert {"monoT5-base", "PRP-flan-t5-xl"} <= listed("--engine", "transformers")
    assert listed("--engine", "none") == {"identity", "random", "reverse"}


def test_a_licence_is_compared_by_its_beginning(listed):
    names = listed("--licence", "apache")
    assert "zerank-1-small" in names
    assert not {"zerank-2", "RankZephyr", "DeAR-8B-listwise", "listwise"} & names


def test_a_language_includes_models_of_many(listed):
    names = listed("--language", "sw")
    assert {"bge-reranker-v2-m3", "Qwen3-Reranker-8B"} <= names
    assert not {"RankZephyr", "bge-reranker-large"} & names


def test_what_fits_has_16_bit_weights_and_a_fifth_of_them_in_memory(listed):
    # 8.189e9 x 2 x 1.2 bytes are 18.3 GiB
    assert "Qwen3-Reranker-8B" in listed("--fits", "18.4GB")
    assert "Qwen3-Reranker-8B" not in listed("--fits", "18.2 gib")
    assert "listwise" not in listed("--fits", "80"), "a method alone has no size"


def test_filters_hold_together_and_nothing_is_said_to_be_found(call):
    done = call("list", "rerankers", "--kind", "first", "--language", "sw")
    assert done.stderr == "no reranker meets all of these\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rerankers", "--kind", "listwse"], 1, "did you mean listwise"),
        (["rerankers", "--engine", "vlm"], 1, "did you mean vllm"),
        (["rerankers", "--fits", "much"], 1, "--fits takes a memory such as 24GB, not 'much'"),
        (["rerankers", "--language", "English"], 1, "--language takes a code such as en"),
        (["rerankers", "RankZefyr"], 1, "did you mean RankZephyr"),
        (["tasks", "--kind", "first"], 2, "list tasks takes no --kind"),
        (["tasks", "NanoMMTEB"], 1, "unknown data set or collection 'NanoMMTEB'; did you mean"),
        (["engines", "vllm"], 2, "list engines takes no argument vllm"),
        (["rerankers", "FIRST", "--fits", "24GB"], 2, "give one or the other"),
    ],
)
def test_what_is_not_understood_is_refused(call, arguments, code, message):
    assert message in call("list", *arguments, code=code).stderr


def test_a_card_says_all_that_is_known(call):
    text = call("list", "rerankers", "RankLLaMA-7B").stdout
    for known in (
        "meta-llama/Llama-2-7b-hf",
        "castorini/rankllama-v1-7b-lora-passage",
        "arXiv:2310.08319",
        "billions        6.738",
        "requests        PairScore",
        "calls 100, rounds 1",
        "GPU-seconds     not known: meta-llama/Llama-2-7b-hf is not on this machine",
    ):
        assert known in text
    assert "query: why are there two high tides a day<s>document: The Moon pulls" in text


@pytest.mark.parametrize(
    ("name", "calls", "rounds"),
    [
        ("RankZephyr", 9, 9),
        ("LightOn-rerank-LW-2B", 49, 49),
        ("RankMistral100", 1, 1),
        ("ms-marco-MiniLM-L6-v2", 100, 1),
        ("GroupRank-7B", 20, 1),
        ("identity", 0, 0),
        ("listwise:window=10,stride=5", 19, 19),
    ],
)
def test_the_cost_is_that_of_the_flow(name, calls, rounds):
    cost = card.card(name)["cost"]
    assert (cost["documents"], cost["calls"], cost["rounds"]) == (100, calls, rounds)
    assert (cost["prompt_tokens"] > 0) == (calls > 0)


def test_seconds_are_told_of_a_model_that_is_here(cross_encoder):
    found = card.card(
        f"cross-encoder:model={cross_encoder},max_pair_tokens=100,max_query_tokens=50"
    )
    assert found["model"] == str(cross_encoder)
    assert found["cost"]["tokens_of"] == str(cross_encoder)
    assert 0 < found["cost"]["gpu_seconds"] < 0.1
    assert found["cost"]["note"] == ""


def test_of_a_model_that_is_elsewhere_words_are_counted():
    cost = card.card("FIRST")["cost"]
    assert cost["tokens_of"] == "white-space words"
    assert (cost["calls"], cost["gpu_seconds"]) == (9, None)
    assert "not on this machine" in cost["note"]


def test_reasons_are_as_long_as_was_requested_where_the_model_is_elsewhere():
    cost = card.card("Rank-R1-7B")["cost"]
    assert cost["tokens_of"] == "white-space words"
    assert cost["output_tokens"] == 2048 * cost["calls"] > 0


@pytest.mark.parametrize("name", ["identity", "FIRST", "smollm2-ql", "smollm2-icr", "minilm-late"])
def test_the_example_is_the_first_request(name):
    choice = choose(name)
    (found,) = card.examples(choice)
    if choice.declared.asks:
        assert [found["request"]] == [kind.__name__ for kind in choice.declared.asks]
        assert "high tides" in found["prompt"]
        assert "The Moon pulls the near side" in found["prompt"]
    else:
        assert found == {"request": "no request", "prompt": ""}


@pytest.mark.parametrize(
    ("name", "option", "ends"),
    [
        ("ecorank", "pair_prompt", ("Reply with Yes or No only.", "assistant:\nPassage")),
        ("e2rank", "document_prompt", (None, "the far side.<|endoftext|>")),
        ("bi-encoder", "document_prompt", ("two high tides a day", "the far side.")),
    ],
)
def test_each_prompt_has_an_example_and_its_source(name, option, ends):
    found = card.card(name)
    assert found["prompt_source"]
    assert found[f"{option}_source"]
    assert found[f"{option}_licence"]
    texts = [one["prompt"] for one in found["examples"]]
    assert len(texts) == 2
    assert all(end is None or text.endswith(end) for text, end in zip(texts, ends, strict=True))


def test_the_documents_of_a_cost_have_a_hundred_words_and_all_differ():
    corpus = _prepared().task.corpus
    assert {len(text.split()) for text in corpus.values()} == {100}
    assert len(set(corpus.values())) == 100
