"""Budgets of query and document together, and of the documents of a window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_bench import BadOption, EngineFault, FakeEngine, Fitted, Logits, PairScore
from rerank_bench.reranking import Budget, Defaults, Fitter, choose, choose_with, fitting


class Counting(FakeEngine):
    """A fake that counts words, and remembers what it was asked to cut."""

    def __init__(self):
        super().__init__(lambda request: Logits((0.0,)))
        self.calls = []

    def fit(self, texts, max_tokens):
        self.calls.append((len(texts), max_tokens))
        return super().fit(texts, max_tokens)


def words(count: int) -> str:
    return " ".join(f"w{place}" for place in range(count))


def lengths(fitted) -> list[int]:
    return [len(one.text.split()) for one in fitted]


def fitted(budget: Budget, query: str, documents: list[int], engine=None) -> list[Fitted]:
    corpus = {str(place): words(length) for place, length in enumerate(documents)}
    fitter = Fitter(corpus, engine or Counting(), budget)
    (query_,) = fitter.queries([query])
    fitter.prepare([(query_, list(corpus))])
    return fitter.documents(query_, list(corpus))


def test_a_short_query_leaves_the_rest_of_512_tokens_to_the_document():
    """The budget of ms-marco-MiniLM-L6-v2: fixed parts of 384 and 120 cut this document."""
    budget = Budget.of(choose("ms-marco-MiniLM-L6-v2").reranker, Counting())
    (exact, long) = fitted(budget, words(20), [489, 490])
    assert (lengths([exact, long]), exact.truncated, long.truncated) == ([489, 489], False, True)


def test_a_query_is_cut_only_to_its_own_budget():
    budget = Budget(query_tokens=30, pair_tokens=100)
    fitter = Fitter({"d": words(200)}, Counting(), budget)
    queries = fitter.queries([words(30), words(31)])
    assert [query.truncated for query in queries] == [False, True]
    fitter.prepare([(query, ["d"]) for query in queries])
    assert lengths(fitter.documents(queries[1], ["d"])) == [70]


def test_documents_of_earlier_queries_are_forgotten_where_they_are_too_many(monkeypatch):
    monkeypatch.setattr(fitting, "_MOST_FITTED", 2)
    corpus, engine = {name: name for name in "abcd"}, Counting()
    fitter = Fitter(corpus, engine, Budget())
    (query,) = fitter.queries(["q"])
    for doc_ids in ("abc", "cd", "d"):
        fitter.prepare([(query, doc_ids)])
        assert [one.text for one in fitter.documents(query, doc_ids)] == [*doc_ids]
    with pytest.raises(KeyError):
        fitter.documents(query, "a")


def test_a_query_as_long_as_the_pair_leaves_documents_empty():
    assert lengths(fitted(Budget(pair_tokens=5, query_tokens=5), words(9), [3])) == [0]


def test_documents_are_cut_anew_only_where_a_query_leaves_less_than_they_need():
    engine = Counting()
    corpus = {"short": words(10), "long": words(90)}
    fitter = Fitter(corpus, engine, Budget(pair_tokens=100))
    queries = fitter.queries([words(n) for n in (5, 20, 30, 30)])
    fitter.prepare([(query, list(corpus)) for query in queries])
    assert engine.calls == [(4, 50), (2, 95), (1, 80), (1, 70)]
    found = [lengths(fitter.documents(query, list(corpus))) for query in queries]
    assert found == [[10, 90], [10, 80], [10, 70], [10, 70]]


def test_the_longest_documents_of_a_window_decide_how_long_all_may_be():
    budget = Budget(doc_tokens=50, window_tokens=60, window=3)
    assert lengths(fitted(budget, "q", [10, 5, 20, 20])) == [10, 5, 20, 20]
    assert lengths(fitted(budget, "q", [10, 80, 40, 4])) == [10, 25, 25, 4]
    assert lengths(fitted(budget, "q", [80, 80, 80, 80])) == [20, 20, 20, 20]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(5, 120),
    st.integers(1, 50),
)
def test_any_window_fits_and_no_document_could_be_longer(sizes, window, together, own):
    budget = Budget(doc_tokens=own, window_tokens=together, window=window)
    found = lengths(fitted(budget, "q", sizes))
    assert sum(sorted(found)[-window:]) <= max(together, window)
    whole = [min(size, own, together) for size in sizes]
    if found != whole:
        longer = sorted(min(size, max(found) + 1) for size in whole)
        assert sum(longer[-window:]) > together


def test_the_order_of_rows_does_not_change_what_is_given():
    corpus = {"a": words(95), "b": words(70), "c": words(3)}
    budget = Budget(query_tokens=80, pair_tokens=100, window_tokens=120, window=2)
    sizes = (40, 5, 60)
    given = []
    for order in (sizes, sizes[::-1]):
        fitter = Fitter(corpus, Counting(), budget)
        queries = {size: fitter.queries([words(size)])[0] for size in order}
        for size in order:
            fitter.prepare([(queries[size], list(corpus))])
        given.append([lengths(fitter.documents(queries[size], list(corpus))) for size in sizes])
    assert given[0] == given[1] == [[60, 60, 3], [60, 60, 3], [40, 40, 3]]


def test_a_cut_for_all_rerankers_only_lowers_a_budget():
    reranker = choose("smollm2-ql").reranker
    assert Budget.of(reranker, Counting(), doc_tokens=500).doc_tokens == 128
    assert Budget.of(reranker, Counting(), doc_tokens=50).doc_tokens == 50
    long = choose("ettin-reranker-17m").reranker
    assert Budget.of(long, Counting(), doc_tokens=500).doc_tokens == 500


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("cross-encoder", 60),
        ("cross-encoder:max_pair_tokens=40", 40),
        ("cross-encoder:max_doc_tokens=50", 60),  # a query of any length may come with it
        ("cross-encoder:max_pair_tokens=none", None),
        ("late-interaction", None),
        ("pointwise", None),
    ],
)
def test_a_pair_of_a_cross_encoder_has_by_default_what_the_model_s_context_does(name, pair):
    engine = Counting()
    engine.pair_tokens = 60
    reranker = choose_with(name, {"engine": "fake"}, Defaults()).reranker
    assert Budget.of(reranker, engine).pair_tokens == pair


@pytest.mark.parametrize("query", [60, 600])
def test_a_query_budget_that_leaves_a_document_nothing_of_the_model_s_pair_is_refused(query):
    engine = Counting()
    engine.pair_tokens = 60
    reranker = choose(f"cross-encoder:engine=fake,max_query_tokens={query}").reranker
    with pytest.raises(BadOption, match=f"max_query_tokens {query} .* the 60 that .* 30 or less"):
        Budget.of(reranker, engine)


def test_an_engine_of_one_s_own_needs_pair_tokens_only_for_the_model_s_budget():
    class Old:
        name = "old"

    model_s = choose("cross-encoder:engine=fake").reranker
    with pytest.raises(EngineFault, match="engine old has no attribute pair_tokens"):
        Budget.of(model_s, Old())
    own = choose("cross-encoder:engine=fake,max_pair_tokens=40").reranker
    assert Budget.of(own, Old()).pair_tokens == 40


def test_a_plugin_of_pairs_without_a_budget_reads_whole_texts():
    class Plugin:
        asks = frozenset({PairScore})

    engine = Counting()
    engine.pair_tokens = 60
    assert Budget.of(Plugin(), engine) == Budget()


def test_a_cut_in_characters_counts_as_truncated():
    (cut, whole) = fitted(Budget(doc_tokens=9, doc_chars=5), "q", [5, 2])
    assert (cut.text, cut.truncated, whole.truncated) == ("w0 w1", True, False)


def test_an_engine_that_counts_no_tokens_is_refused_by_name_of_the_options():
    class Blind(FakeEngine):
        def fit(self, texts, max_tokens):
            return [Fitted(text) for text in texts]

    with pytest.raises(EngineFault, match=r"max_pair_tokens.*Fitted\.tokens"):
        fitted(Budget(pair_tokens=9), "q", [3], Blind(lambda request: Logits((0.0,))))
