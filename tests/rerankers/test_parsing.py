from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench.rerankers.parsing import Permutation, read_permutation


def read(text: str, count: int = 5) -> Permutation:
    return read_permutation(text, {str(place + 1): place for place in range(count)})


@pytest.mark.parametrize(
    ("text", "places", "state"),
    [
        ("[3] > [1] > [2] > [5] > [4]", (2, 0, 1, 4, 3), ""),
        ("[ 3 ]>[1],[2]\n[5] [4]", (2, 0, 1, 4, 3), ""),
        ("[٣] > [１] > [2] > [05] > [4]", (2, 0, 1, 4, 3), ""),
        ("[3] > [1] = [2] > [5] = [4]", (2, 0, 1, 4, 3), ""),
        ("[3] > [1]", (2, 0, 1, 3, 4), "repaired"),
        ("[3] > [3] > [1] > [2] > [4] > [5]", (2, 0, 1, 3, 4), "repaired"),
        ("[9] > [3] > [1] > [2] > [4] > [5]", (2, 0, 1, 3, 4), "repaired"),
        (
            "For the query 'top 10 movies of 2', the ranking is [4] > [1]",
            (3, 0, 1, 2, 4),
            "repaired",
        ),
        ("The passages 4, 2 and 1 answer best.", (0, 1, 2, 3, 4), "unparsable"),
        ("<think> passage [5] or [4]? </think>[2] > [1] > [3] > [4] > [5]", (1, 0, 2, 3, 4), ""),
        ("<think> passage [5] ... passage [3]", (0, 1, 2, 3, 4), "unparsable"),
        ("Error code: 400 - at most 4096 tokens, line 12", (0, 1, 2, 3, 4), "unparsable"),
        ("I think B is best", (0, 1, 2, 3, 4), "unparsable"),
        ("", (0, 1, 2, 3, 4), "unparsable"),
        ("[3] is off topic: [2] > [1] > [4] > [3] > [5]", (1, 0, 3, 2, 4), "repaired"),
        ("[2, 1, 3, 5, 4]", (1, 0, 2, 4, 3), ""),
        ("[2 > 1 > 3 > 5 > 4]", (1, 0, 2, 4, 3), ""),
        ('["2", "1", "3", "5", "4"]', (1, 0, 2, 4, 3), ""),
        (
            "[Passage 2] > [passage 1] > [Passage 3] > [Passage 5] > [Passage 4]",
            (1, 0, 2, 4, 3),
            "",
        ),
        ("[Passage 2, Passage 1, Passage 3, Passage 5, Passage 4]", (1, 0, 2, 4, 3), ""),
        ("[doc 2], [Doc. 1], [ID: 3], [document #5], [4]", (1, 0, 2, 4, 3), ""),
        ("【2】 > 【1】 > 【3】 > 【5】 > 【4】", (1, 0, 2, 4, 3), ""),
        ("［２］＞［１］＞［３］＞［５］＞［４］", (1, 0, 2, 4, 3), ""),
        ("[²] > [①] > [₃] > [⁵] > [❹]", (1, 0, 2, 4, 3), ""),
        ("[², ¹, ³, ⁵, ⁴]", (1, 0, 2, 4, 3), ""),
        (r"\[2\] > \[1\] > \[3\] > \[5\] > \[4\]", (1, 0, 2, 4, 3), ""),
        ("**[2]** > **[1]** > [**3**] > `[5]` > [4]", (1, 0, 2, 4, 3), ""),
        ("1. [2]\n2. [1]\n3. [3]\n4. [5]\n5. [4]", (1, 0, 2, 4, 3), ""),
        ("Ranking: [2, 1]. As [3] says, it is [2].", (1, 0, 2, 3, 4), "repaired"),
        ("The top 10 passages are 2, 1 and 3", (0, 1, 2, 3, 4), "unparsable"),
        ("I would rank them [see 3 above].", (0, 1, 2, 3, 4), "unparsable"),
        ("[top 2] [Figure 3] [the passage 1] [first, 2] [1 and 2]", (0, 1, 2, 3, 4), "unparsable"),
        ("2 > 1 > 3 > 5 > 4", (0, 1, 2, 3, 4), "unparsable"),
        ("Passage 2 > Passage 1, (3), {4}, <5>", (0, 1, 2, 3, 4), "unparsable"),
        ("[2] plum\n[1] pear\n[3] fig\n[4] nut\n[5] rye", (1, 0, 2, 3, 4), ""),
    ],
)
def test_only_bracketed_identifiers_of_the_answer_are_read(text, places, state):
    found = read(text)
    assert found.places == places
    assert found.repaired == (state == "repaired")
    assert found.unparsable == (state == "unparsable")


@given(st.permutations(list(range(20))))
def test_a_whole_permutation_is_read_back_without_repair(places):
    text = " > ".join(f"[{place + 1}]" for place in places)
    assert read(text, 20) == Permutation(tuple(places))


@given(st.text(alphabet="[]<>/think0123456789 AB²③", max_size=60))
def test_whatever_is_written_every_place_comes_once(text):
    assert sorted(read(text).places) == [0, 1, 2, 3, 4]


STYLES = {
    "one by one": lambda names, sign: sign.join(f"[{name}]" for name in names),
    "noun": lambda names, sign: sign.join(f"[Passage {name}]" for name in names),
    "wide": lambda names, sign: sign.join(f"【{name}】" for name in names),
    "escaped": lambda names, sign: sign.join(rf"\[{name}\]" for name in names),
    "bold": lambda names, sign: sign.join(f"**[{name}]**" for name in names),
    "list": lambda names, sign: f"[{(sign.strip() or ',').join(map(str, names))}]",
    "quoted list": lambda names, sign: str([str(name) for name in names]),
}


@given(
    st.permutations(list(range(20))),
    st.sampled_from(sorted(STYLES)),
    st.sampled_from([" > ", ">", ", ", ",", "\n", " "]),
    st.sampled_from(["", "Ranking: ", "Here is the order:\n", "<think>[3] > [4]?</think>"]),
    st.booleans(),
)
def test_a_permutation_in_any_accepted_style_is_read_back(places, style, sign, before, letters):
    names = [chr(ord("A") + place) if letters else str(place + 1) for place in places]
    identifiers = {
        chr(ord("A") + place) if letters else str(place + 1): place for place in range(20)
    }
    text = before + STYLES[style](names, sign)
    assert read_permutation(text, identifiers) == Permutation(tuple(places))


PROSE = "the top passages are see above in of [see (and) best: no. 3] [top"
WORDS = st.sampled_from(PROSE.split())


@given(st.lists(st.one_of(WORDS, st.integers(0, 30).map(str)), max_size=30))
def test_prose_with_numbers_is_no_ranking(words):
    assert read(" ".join(words), 20).unparsable
