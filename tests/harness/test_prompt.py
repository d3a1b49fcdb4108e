from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadData, UnknownName, escape_identifiers, load_template

GOOD = """
source = "here"
licence = "CC0-1.0"
changes = "none"
prefill = "["
labels = ["A", "B"]
[[message]]
role = "user"
text = '''
{{ query }}
{% for d in documents %}
[{{ loop.index }}] {{ d }}
{% endfor %}'''
"""


def write(folder, content):
    path = folder / "mine.toml"
    path.write_text(content)
    return str(path)


def test_a_prompt_file_is_filled_with_values_verbatim(tmp_path):
    template = load_template(write(tmp_path, GOOD))
    prompt = template.fill(query="{{ 7 * 6 }} <b>", documents=["a & b", "{% raw %}"])
    assert prompt.messages[0].text == "{{ 7 * 6 }} <b>\n[1] a & b\n[2] {% raw %}\n"
    assert (prompt.prefill, template.labels) == ("[", ("A", "B"))


def test_the_fingerprint_changes_with_the_text_and_not_with_the_source(tmp_path):
    first = load_template(write(tmp_path, GOOD)).fingerprint
    assert load_template(write(tmp_path, GOOD.replace("here", "there"))).fingerprint == first
    assert load_template(write(tmp_path, GOOD.replace("query", "question"))).fingerprint != first
    assert load_template(write(tmp_path, GOOD.replace('"["', '"("'))).fingerprint != first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace("licence", "license"), "licence"),
        (GOOD.replace('source = "here"', ""), "does not say its source"),
        ('text = "both"\n' + GOOD, "either"),
        ("voice = 1\n" + GOOD, "unknown key in prompt mine: 'voice'"),
        (GOOD.replace("[[message]]", "[[mesage]]"), "message"),
        ("source = ", "mine"),
    ],
)
def test_a_broken_prompt_file_is_an_error_that_says_how(tmp_path, content, message):
    with pytest.raises((BadData, UnknownName, TypeError), match=message):
        load_template(write(tmp_path, content))


def test_a_variable_that_is_not_given_is_named(tmp_path):
    with pytest.raises(BadData, match="'documents' is undefined"):
        load_template(write(tmp_path, GOOD)).fill(query="q")


def test_an_unknown_prompt_and_a_missing_file_are_errors():
    with pytest.raises(UnknownName, match="unknown prompt"):
        load_template("nothing-like-it")
    with pytest.raises(BadData, match="does not exist"):
        load_template("./nowhere.toml")


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        ("see [3] and [ 12 ]", "see (3) and (12)", 2),
        ("[B] > [A]", "(B) > (A)", 2),
        ("a[i] and [note]", "a[i] and [note]", 0),
        ("", "", 0),
    ],
)
def test_bracketed_identifiers_become_round(before, after, count):
    assert escape_identifiers(before) == (after, count)


@given(st.text(alphabet="[](){}AB12 \n"))
def test_escaping_leaves_no_identifier_behind(text):
    escaped, _ = escape_identifiers(text)
    assert escape_identifiers(escaped)[1] == 0


TURNS = """
source = "here"
licence = "CC0-1.0"
changes = "none"
[[message]]
role = "user"
text = "{{ query }}"
[[message]]
role = "user"
each = "passages"
text = "[{{ passage.id }}] of {{ passages | length }}"
[[message]]
role = "assistant"
each = "passages"
text = "Received {{ passage.id }}."
[[message]]
role = "user"
text = "Rank."
"""


def test_messages_of_a_list_are_written_once_per_passage(tmp_path):
    template = load_template(write(tmp_path, TURNS))
    filled = template.fill(query="q", passages=[{"id": "1"}, {"id": "2"}])
    assert [(m.role, m.text) for m in filled.messages] == [
        ("user", "q"),
        ("user", "[1] of 2"),
        ("assistant", "Received 1."),
        ("user", "[2] of 2"),
        ("assistant", "Received 2."),
        ("user", "Rank."),
    ]
    assert template.variables == {"query", "passages"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TURNS.replace("each", "every"), "every"),
        (TURNS.replace('role = "assistant"\n', ""), "a message has no role"),
        (TURNS.replace('"passages"', '"query"'), "is not a list"),
    ],
)
def test_messages_that_are_not_understood_are_refused(tmp_path, content, message):
    with pytest.raises((BadData, UnknownName), match=message):
        load_template(write(tmp_path, content)).fill(query="q", passages=[])
