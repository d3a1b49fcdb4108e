from __future__ import annotations

import math

import pytest

from rerank_bench import (
    BadData,
    BadOption,
    Candidates,
    ContinuationScore,
    Document,
    FakeEngine,
    Generate,
    Generation,
    LabelScores,
    Logits,
    rerank_one,
)
from rerank_bench.reranking import Defaults, choose


def built(text: str):
    return choose(text, Defaults(engine="fake")).reranker


def candidates(count: int, **more) -> Candidates:
    documents = tuple(Document(f"d{i}", f"document {i}") for i in range(count))
    return Candidates("task", "q", "the query", documents, **more)


def logs(**shares: float) -> LabelScores:
    return LabelScores({label: math.log(share) for label, share in shares.items()})


def test_the_score_is_the_log_odds_of_the_first_label():
    engine = FakeEngine(lambda request: logs(Yes=0.6, No=0.2))
    (score,) = rerank_one(built("pointwise"), candidates(1), engine).scores
    assert score == pytest.approx(math.log(3))


def test_more_labels_than_two_are_taken_together_against_the_first():
    shares = {"high": 0.5, "mid": 0.2, "low": 0.05}
    engine = FakeEngine(lambda request: logs(**{name: shares[name] for name in request.labels}))
    (score,) = rerank_one(built("pointwise:labels=high,mid,low"), candidates(1), engine).scores
    assert score == pytest.approx(math.log(0.5 / 0.25))


def test_the_graded_score_is_the_expected_grade_under_the_labels_alone():
    shares = {"0": 0.1, "1": 0.1, "2": 0.2, "3": 0.0001, "4": 0.1}
    engine = FakeEngine(lambda request: logs(**{name: shares[name] for name in request.labels}))
    (score,) = rerank_one(
        built("pointwise:prompt=graded,graded=true"), candidates(1), engine
    ).scores
    whole = sum(shares.values())
    expected = sum(int(label) * share for label, share in shares.items()) / whole
    assert score == pytest.approx(expected)


def test_a_label_that_an_engine_did_not_find_is_counted_and_counts_as_least():
    engine = FakeEngine(
        lambda request: logs(Yes=0.1) if "document 0" in str(request) else logs(Yes=0.1, No=0.1)
    )
    result = rerank_one(built("pointwise"), candidates(2), engine)
    assert (result.counts["missing_labels"], result.counts["labels"]) == (1, 4)
    assert result.scores[0] > result.scores[1]


def test_a_prompt_without_two_labels_is_refused():
    with pytest.raises(BadOption, match="labels"):
        built("pointwise:labels=Yes")


def instructions_told(watch_for: str, *asked) -> list[str]:
    """What prompts say behind `watch_for`, for rerankers and the instruction they are given."""
    seen = []

    def watch(request):
        seen.append(request.prompt.text)
        return LabelScores(dict.fromkeys(request.labels, -1.0))

    for name, instruction in asked:
        rerank_one(built(name), candidates(1, instruction=instruction), FakeEngine(watch))
    return [text.partition(watch_for)[2].partition("\n")[0] for text in seen]


def test_the_instruction_is_the_options_else_the_tasks_else_the_models_own():
    qwen = "Qwen3-Reranker-0.6B"
    asked = [(qwen, None), (qwen, "find it"), (f"{qwen}:instruction=mine", "find it")]
    usual = "Given a web search query, retrieve relevant passages that answer the query"
    assert instructions_told("<Instruct>: ", *asked) == [usual, "find it", "mine"]


def test_mxbai_has_no_instruction_line_unless_one_is_given():
    mxbai = "mxbai-rerank-base-v2"
    told = instructions_told("user\n", (mxbai, None), (mxbai, "find it"))
    assert told == ["query: the query", "instruction: find it"]


def test_a_label_is_read_behind_thoughts_and_long_ones_are_closed_behind_a_sentence():
    written = {
        "document 0": Generation("\nIt names it.\n", finished=True),
        "document 1": Generation("\nIt may be. Or not", finished=False),
        "document 2": Generation(" it never ends", finished=False),
    }
    read = []

    def answer(request):
        if isinstance(request, Generate):
            assert (request.max_tokens, request.stop) == (8192, ("</think>",))
            assert request.prompt.text.endswith("\n<think>")
            return next(reply for text, reply in written.items() if text in request.prompt.text)
        read.append(request.prompt.prefill)
        return logs(**{" true": 0.6, " false": 0.2})

    result = rerank_one(built("Rank1-7B"), candidates(3), FakeEngine(answer))
    assert read == [
        "\nIt names it.\n</think>",
        "\nIt may be.\n</think>",
        "\nit never ends\n</think>",
    ]
    assert result.scores[0] == pytest.approx(math.log(3))
    assert (result.usage.calls, result.usage.rounds) == (6, 2)
    assert (result.counts["repaired"], result.counts["unfinished"]) == (2, 2)


def test_thoughts_need_a_prompt_that_opens_them():
    assert built("Rank1-7B").fixed_labels == ()
    with pytest.raises(BadOption, match="prompt yes-no does not end in <think>"):
        built("pointwise:thought_tokens=9")
    with pytest.raises(BadOption, match="thought_tokens must not be negative"):
        built("pointwise:thought_tokens=-1")


def test_an_instruction_that_a_prompt_does_not_show_is_refused():
    for name in ("pointwise", "query-likelihood", "listwise", "first"):
        with pytest.raises(BadOption, match=f"{name}: prompt .* has no variable instruction"):
            built(f"{name}:instruction=mine")


def test_a_prompt_without_a_default_instruction_says_what_to_do(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'source = "ours"\nlicence = "CC0-1.0"\nchanges = "none"\nlabels = ["Yes", "No"]\n'
        'text = "{{ instruction }} {{ query }} {{ document }}"\n'
    )
    with pytest.raises(BadData, match="'instruction' is undefined; write a default into the file"):
        instructions_told("find", (f"pointwise:prompt={file}", None))
    assert instructions_told("find", (f"pointwise:prompt={file}", "find it"))[0].startswith(" it ")


def test_the_query_follows_the_document_behind_one_space():
    seen = []

    def watch(request):
        seen.append(request)
        return ContinuationScore(-2.0, 3)

    rerank_one(built("query-likelihood"), candidates(1), FakeEngine(watch))
    assert seen[0].continuation == " the query"
    assert seen[0].prompt.text.startswith("document 0")
    assert not seen[0].prompt.text.endswith(" ")


def scored(text: str, logits: tuple[float, ...], names: tuple[str, ...] = ()) -> float:
    engine = FakeEngine(lambda request: Logits(logits, names=names))
    (score,) = rerank_one(built(text), candidates(1), engine).scores
    return score


def test_a_head_with_one_output_gives_the_score_itself():
    assert scored("cross-encoder", (0.25,)) == 0.25
    assert scored("cross-encoder:label=0", (0.25,)) == 0.25


def test_of_two_outputs_the_score_is_the_log_odds_of_the_second():
    assert scored("cross-encoder", (2.0, 3.0), ("LABEL_0", "LABEL_1")) == 1.0
    assert scored("cross-encoder", (2.0, 3.0), ("irrelevant", "relevant")) == 1.0
    assert scored("cross-encoder", (2.0, 3.0)) == 1.0


def test_of_two_outputs_the_names_may_say_that_the_first_is_relevant():
    assert scored("cross-encoder", (2.0, 3.0), ("relevant", "not_relevant")) == -1.0
    assert scored("cross-encoder", (2.0, 3.0), ("Yes", "No")) == -1.0


def test_two_outputs_that_mean_something_else_are_refused_with_their_names():
    with pytest.raises(BadOption, match=r"0: entailment, 1: contradiction.*set label="):
        scored("cross-encoder", (2.0, 3.0), ("entailment", "contradiction"))


def test_three_outputs_need_a_label_and_give_the_log_odds_against_the_others():
    names = ("bad", "fair", "good")
    with pytest.raises(
        BadOption, match=r"3 outputs \(0: bad, 1: fair, 2: good\): label is not set"
    ):
        scored("cross-encoder", (0.0, 1.0, 2.0), names)
    expected = 2.0 - math.log(math.exp(0.0) + math.exp(1.0))
    assert scored("cross-encoder:label=2", (0.0, 1.0, 2.0), names) == pytest.approx(expected)
    assert scored("cross-encoder:label=good", (0.0, 1.0, 2.0), names) == pytest.approx(expected)


@pytest.mark.parametrize("label", ["3", "-1", "best"])
def test_a_label_that_the_head_does_not_have_is_refused(label):
    with pytest.raises(BadOption, match="it has no"):
        scored(f"cross-encoder:label={label}", (0.0, 1.0, 2.0), ("bad", "fair", "good"))


def test_a_reply_with_a_certain_no_ranks_below_one_with_neither_label():
    replies = iter(
        [
            LabelScores({"No": math.log(0.99)}, bound=math.log(0.01)),
            LabelScores({}, bound=math.log(0.05)),
            LabelScores({"Yes": math.log(0.001)}, bound=math.log(0.0005)),
            LabelScores({"Yes": math.log(0.6), "No": math.log(0.3)}),
        ]
    )
    engine = FakeEngine(lambda request: next(replies))
    certain_no, neither, faint_yes, yes = rerank_one(
        built("pointwise"), candidates(4), engine
    ).scores
    assert certain_no < neither
    assert faint_yes == pytest.approx(math.log(2))
    assert yes == pytest.approx(math.log(2))
