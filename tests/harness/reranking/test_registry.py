from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadData, BadOption, RerankerFault, UnknownName
from rerank_bench.engines import NO_ENGINE, engine_points, option_fields
from rerank_bench.reranking import Defaults, build, catalogue, choose, methods, parse
from rerank_bench.reranking.registry import load_method
from rerank_bench.signatures import parameters

MINE = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    window: int = 20
    share: float | None = None
    loud: bool = False
    name: str = "x"
    asks = frozenset()
    def rerank(self, candidates):
        return [0.0] * len(candidates.documents)

class Needy:
    def __init__(self, must: int): ...
    def rerank(self, candidates): ...

class Broken:
    def __init__(self): raise OSError("no file")

class NoMethod: ...
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return str(path)


def test_a_file_of_ones_own_needs_no_packaging(mine):
    choice = choose(f"{mine}:Mine:window=5,loud=true,share=0.5")
    assert (choice.reranker.window, choice.reranker.loud, choice.reranker.share) == (5, True, 0.5)
    assert choice.label.startswith("Mine~")
    assert choice.engine == NO_ENGINE


def test_a_value_may_hold_commas_and_equals_signs():
    assert parse("m:a=1,2,b=x=y, c=") == ("m", {"a": "1,2", "b": "x=y", "c": ""})


@given(st.text(alphabet="abc:=,. /", max_size=20))
def test_no_reranker_name_breaks_the_parser(text):
    try:
        name, options = parse(text)
    except BadOption:
        return
    assert isinstance(name, str)
    assert all(isinstance(value, str) for value in options.values())


def test_the_label_says_which_options_differ_and_as_overrides_it(mine):
    plain = choose(f"{mine}:Mine").label
    assert choose(f"{mine}:Mine:window=20").label == plain == "Mine"
    narrow = choose(f"{mine}:Mine:window=10").label
    assert narrow != choose(f"{mine}:Mine:window=5").label != plain
    assert narrow.startswith("Mine~")
    assert len(narrow) == len("Mine~") + 6
    assert choose(f"{mine}:Mine:window=10,as=narrow").label == "narrow"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (":Mine:widow=5", UnknownName, "did you mean window"),
        (":Mine:window=ten", BadOption, "option window takes int, not 'ten'"),
        (":Mine:share=lots", BadOption, "takes float, not 'lots'"),
        (":Mine:loud=perhaps", BadOption, "takes bool"),
        (":Mine:window=2.5", BadOption, "takes int, not '2.5'"),
        (":Mine:window=none", BadOption, "takes int, not 'none'"),
        (":Mine:window", BadOption, "not option=value"),
        (":Mime", UnknownName, "did you mean Mine"),
        (":Needy", BadOption, "needs the option must"),
        (":Broken", RerankerFault, "OSError: no file"),
        (":NoMethod", RerankerFault, "no method rerank"),
    ],
)
def test_what_is_wrong_with_a_reranker_is_said_in_one_line(mine, text, kind, message):
    with pytest.raises(kind, match=message) as caught:
        choose(mine + text)
    assert "\n" not in str(caught.value)


def test_the_word_none_is_none_where_that_is_allowed(mine):
    assert choose(f"{mine}:Mine:share=none").reranker.share is None
    assert choose("pointwise:max_doc_tokens=none,engine=fake").reranker.max_doc_tokens is None


def test_a_number_of_a_suite_file_is_not_rounded(mine):
    with pytest.raises(BadOption, match=r"takes int, not 2\.5"):
        build(f"{mine}:Mine", {"window": 2.5}, Defaults())


def test_an_unknown_reranker_is_answered_with_near_names():
    with pytest.raises(UnknownName, match="did you mean listwise"):
        choose("listwize")


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(BadData, match="does not exist"):
        choose(str(tmp_path / "none.py") + ":X")
    (tmp_path / "bad.py").write_text("import nothing_of_that_name")
    with pytest.raises(
        RerankerFault, match=r"imports nothing_of_that_name, .* or put it on PYTHONP"
    ):
        choose(str(tmp_path / "bad.py") + ":X")
    (tmp_path / "bad.py").write_text("raise ModuleNotFoundError('no part here')")
    with pytest.raises(RerankerFault, match=r"bad\.py: ModuleNotFoundError: no part here"):
        choose(str(tmp_path / "bad.py") + ":X")


def test_a_method_that_asks_a_model_says_so_when_none_is_named():
    with pytest.raises(BadOption, match="listwise needs a model"):
        choose("listwise")
    assert choose("listwise:engine=fake").engine.name == "fake"
    assert choose("listwise", Defaults(model="m")).engine.model == "m"


def test_defaults_fill_what_neither_the_user_nor_the_catalogue_says():
    defaults = Defaults(model="mine", engine="fake", options={"window": "8", "nothing": "1"})
    assert choose("listwise", defaults).reranker.window == 8
    assert choose("listwise:window=4", defaults).reranker.window == 4
    named = next(entry for entry in catalogue().values() if entry.model)
    assert choose(named.name, defaults).engine.model == named.model


def test_an_option_for_all_goes_before_the_catalogue_and_behind_ones_own():
    defaults = Defaults(engine="fake", options={"max_doc_tokens": "7"})
    asked = choose("smollm2-ql", defaults)
    assert asked.reranker.max_doc_tokens == 7
    assert asked.label.startswith("smollm2-ql~")
    assert choose("smollm2-ql:max_doc_tokens=9", defaults).reranker.max_doc_tokens == 9


def test_an_engines_option_for_all_leaves_the_label_of_a_reranker_without_engine():
    defaults = Defaults(model="smollm2", options={"dtype": "bfloat16"})
    assert choose("random", defaults).label == "random"
    assert choose("listwise", defaults).label.startswith("listwise-smollm2~")


def test_every_built_in_enters_by_the_door_of_a_plugin():
    built_in = {"identity", "reverse", "random", "cross-encoder", "late-interaction"}
    built_in |= {"pointwise", "query-likelihood", "listwise", "first"}
    built_in |= {"setwise", "pairwise", "duo", "dual-end"}
    assert built_in <= set(methods())


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_named_reranker_can_be_built_and_names_its_licence(name):
    choice = choose(name)
    assert choice.label == name
    assert catalogue()[name].licence


def test_no_option_but_the_seed_is_one_of_an_engine_and_of_a_method():
    of_engines = {option for name in engine_points() for option in option_fields(name)}
    of_methods = {option for name in methods() for option in parameters(load_method(name))}
    assert of_engines & of_methods <= {"seed"}


def test_what_a_server_pools_is_no_option_of_the_method():
    given = "engine=http,base_url=http://127.0.0.1:1,tokenizer=minilm"
    engine = choose(f"bi-encoder:pooling=cls,{given}").engine
    assert engine.options.server_pooling is None
    told = choose(f"e2rank:server_pooling=mean,{given}")
    assert (told.reranker.pooling, told.engine.options.server_pooling) == ("last", "mean")


def test_a_broken_option_is_told_of_what_was_parsed():
    with pytest.raises(BadOption, match=r"^reranker m: 'a' is not option=value"):
        parse("m:a")
    with pytest.raises(BadOption, match=r"^engine vllm: 'a' is not option=value"):
        parse("vllm:a", kind="engine")


def test_a_file_without_a_class_is_refused_with_what_to_write():
    with pytest.raises(BadOption, match=r"mine\.py is a file: name its class too, as mine\.py:"):
        choose("mine.py")
