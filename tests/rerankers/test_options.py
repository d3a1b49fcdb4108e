"""Options that cannot work, or would quietly turn the order round, are refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadOption, UnknownName
from rerank_bench.rerankers.orders import Sliding
from rerank_bench.reranking import Defaults, choose

ASKING = [
    *("cross-encoder", "late-interaction", "pointwise", "query-likelihood", "listwise", "first"),
    *("setwise", "pairwise", "duo", "dual-end", "ecorank"),
]

HEADS = ["cross-encoder", "late-interaction"]


def built(text: str):
    return choose(text, Defaults(engine="fake")).reranker


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("random:seed=-1", "seed must not be negative"),
        ("listwise:max_tokens=0", "max_tokens must be at least 1, not 0"),
        ("first:prompt=rank-zephyr", r"rank-zephyr does not begin the answer with \["),
        ("pointwise:prompt=listwise", r"needs two or more different labels.*it has \[\]"),
        ("pointwise:labels=Yes,Yes", "different labels"),
        ("pointwise:labels=Yes,", "different labels"),
        ("pointwise:graded=true", "graded needs labels 0,1,…,k.*try prompt=graded"),
        ("pointwise:prompt=graded", "the worst first: add graded=true"),
        ("pointwise:labels=0,1", "or write the relevant label first"),
        ("mxbai-rerank-base-v2:graded=true", "graded needs labels"),
        ("setwise:sort=quick", "sort must be one of heap, bubble, not 'quick'"),
        ("setwise:children=1", "children must be at least 2, not 1"),
        ("setwise:sort=bubble,children=0", "children must be at least 1, not 0"),
        ("setwise:children=23", "23 labels, fewer than the 24 documents of a call; lower children"),
        ("setwise:k=0", "setwise: k must be at least 1"),
        ("setwise:permutations=0", "permutations must be at least 1"),
        ("setwise:answer=guess", "answer must be one of labels, generate, tagged, not 'guess'"),
        ("setwise:prompt=rank-r1", "has no labels to read: set answer=generate or answer=tagged"),
        ("setwise:answer=generate,max_tokens=0", "max_tokens must be at least 1"),
        ("setwise:max_window_tokens=3", "max_window_tokens must be at least 4"),
        ("pairwise:sort=bubble", "sort must be one of all, heap, sliding, not 'bubble'"),
        ("pairwise:k=0", "pairwise: k must be at least 1"),
        ("duo:k=0", "duo: k must be at least 1"),
        ("duo:prompt=setwise", "needs two labels.*it has 23"),
        ("duo:both=false,symmetric=false", "the last document could win nothing"),
        ("ecorank:split=1.5", "split must be from 0 to 1, not 1.5"),
        ("ecorank:budget=0", "ecorank: budget must be at least 1"),
        ("ecorank:prompt=setwise", r"'passages' is undefined \(ecorank fills query, document"),
        ("ecorank:prompt=graded", "prompt graded needs two labels; it has"),
        ("ecorank:pair_prompt=setwise", "prompt setwise needs two labels; it has 23"),
        ("dual-end:k=0", "dual-end: k must be at least 1"),
        ("dual-end:max_tokens=0", "dual-end: max_tokens must be at least 1"),
    ],
)
def test_an_option_that_cannot_work_is_refused_in_one_line(text, message):
    with pytest.raises(BadOption, match=message) as caught:
        built(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in ASKING if name not in HEADS])
def test_a_prompt_that_does_not_exist_is_answered_with_near_names(name):
    with pytest.raises(UnknownName, match="did you mean listwise"):
        built(f"{name}:prompt=listwize")


LISTING = ["setwise", "pairwise", "duo", "dual-end", "listwise", "insertrank", "acurank", "first"]
LISTING += ["jina-listwise", "e2rank", "groupwise", "tourrank", "in-context", "ecorank"]
LISTED = {*LISTING} - {"in-context"}  # which is given one text
SINGLE = ["pointwise", "query-likelihood", "rating", "lit5", "listt5", "mvp"]


@pytest.mark.parametrize("name", [*LISTING, *SINGLE])
def test_a_prompt_that_never_shows_a_document_is_refused_by_every_method(name, tmp_path):
    file = tmp_path / "blind.toml"
    labels = ["A", "B", "C", "D"] if name == "setwise" else ["A", "B"]
    query = "query" if name == "query-likelihood" else "{{ query }}"
    loop = "{% for passage in passages %}{{ passage.id }}{% endfor %}"
    file.write_text(
        f"source = 'test'\nlicence = 'none'\nchanges = 'none'\nlabels = {labels}\n"
        f"text = '{query} {loop if name in LISTED else ''} ['\n"
    )
    option = "pair_prompt" if name == "ecorank" else "prompt"
    what = "passages" if name in LISTING else "document"
    with pytest.raises(BadOption, match=f"blind.toml does not show {what}"):
        built(f"{name}:{option}={file}")


def prompt_file(tmp_path, text: str) -> str:
    file = tmp_path / "own.toml"
    head = "source = 'test'\nlicence = 'none'\nchanges = 'none'\nlabels = ['A', 'B']\n"
    file.write_text(f'{head}text = """{text}"""\n')
    return str(file)


LOOP = "{% for p in passages %}[{{ p.id }}] {{ p.text }}{% endfor %}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lit5", "{{ query }} {{ index + 1 }} {{ document }}"),
        (
            "tourrank",
            "{{ query }}" + LOOP + "{% if picks > 3 %}{{ picks }}{% else %}few{% endif %}",
        ),
        ("insertrank", "{{ query }}" + LOOP + "{{ passages[0].score | float | round(1) }}"),
        ("listwise", "{{ query | replace('<', '') | upper }}" + LOOP + "{{ passages[2].id }}"),
        ("pointwise", "{% if instruction is defined %}{{ query }}{% endif %}{{ document | trim }}"),
    ],
)
def test_a_prompt_may_reckon_with_a_value_or_filter_it(name, text, tmp_path):
    built(f"{name}:prompt={prompt_file(tmp_path, text)}")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mvp", "{{ query }} {{ document }} {{ index }}", "prompt own: 'index' is undefined"),
        ("mvp", "{{ query }} {{ document }} {{ instruction }}", "'instruction' is undefined"),
        ("listwise", "{{ query }} {{ passages[0].score }}" + LOOP, "no attribute 'score'"),
        ("duo", "{{ query }} {{ passages[2].id }}" + LOOP, "no element 2"),
        ("pointwise", "{{ query + 1 }} {{ document }}", "pointwise: prompt own: can only conc"),
        ("query-likelihood", "{{ query }} {{ document }}", "'query' is undefined"),
        ("pointwise", "{{ query | length }} {{ document }}", "does not show query"),
    ],
)
def test_a_prompt_with_what_the_method_does_not_fill_is_refused(name, text, message, tmp_path):
    with pytest.raises(BadOption, match=message) as caught:
        built(f"{name}:prompt={prompt_file(tmp_path, text)}")
    assert str(caught.value).startswith(f"{name}: ")


def test_ecorank_takes_an_instruction_that_either_of_its_prompts_shows(tmp_path):
    pairs = prompt_file(tmp_path, "{{ instruction }} {{ query }}" + LOOP)
    assert built(f"ecorank:pair_prompt={pairs},instruction=find").takes_instruction
    with pytest.raises(BadOption, match="ecorank: prompt yes-no has no variable instruction"):
        built("ecorank:instruction=find")


def test_insertrank_refuses_a_prompt_without_scores():
    with pytest.raises(BadOption, match="insertrank: prompt listwise does not show score"):
        built("insertrank:prompt=listwise")


@pytest.mark.parametrize("option", ["max_doc_tokens", "max_query_tokens"])
@pytest.mark.parametrize("name", ASKING)
def test_every_budget_holds_at_least_one_token(name, option):
    with pytest.raises(BadOption, match=f"{name}: {option} must be at least 1, not 0"):
        built(f"{name}:{option}=0")
    assert getattr(built(f"{name}:{option}=1"), option) == 1


SHAPES = st.integers(2, 30).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, w)))


def ranked(sliding: Sliding, values: list[int]) -> list[int]:
    """What a perfect judge makes of `values`; it needs to ask nobody."""

    def judge(inside):
        return sorted(range(len(inside)), key=lambda place: -values[inside[place]])
        yield

    with pytest.raises(StopIteration) as end:
        next(sliding.order(len(values), judge))
    return end.value.value


@given(st.integers(0, 90).flatmap(lambda n: st.permutations(range(n))), SHAPES, st.integers(1, 3))
def test_each_pass_makes_as_many_places_sure_as_two_windows_share(values, shape, passes):
    window, stride = shape
    found = ranked(Sliding("m", window, stride, passes), values)
    best = sorted(range(len(values)), key=lambda index: -values[index])
    sure = (window - stride) * passes if len(values) > window else len(values)
    assert sorted(found) == sorted(best)
    assert found[:sure] == best[:sure]
