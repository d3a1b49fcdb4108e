from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rerank_bench import BadOption, EngineFault
from rerank_bench.cli import main
from rerank_bench.engines import ModelLocation, find_model
from rerank_bench.pools import EncoderPrompt, PoolOptions, build_pool, dense, release_encoder
from rerank_bench.pools.prompts import families, prompts_of
from rerank_bench.suite import pool_suite

WEB = "Given a web search query, retrieve relevant passages that answer the query"
BGE = "Represent this sentence for searching relevant passages: "
SAVED = "config_sentence_transformers.json"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, checkpoints) -> Path:
    """A tiny random model as sentence-transformers saves it, with its empty default prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    base = tmp_path_factory.mktemp("base")
    checkpoints.encoder(base)
    body = Transformer(str(base), max_seq_length=64)
    pooling = Pooling(body.get_embedding_dimension(), pooling_mode="mean")
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    SentenceTransformer(modules=[body, pooling], device="cpu").save(str(folder))
    return folder


@pytest.fixture
def model(checkpoint, tmp_path):
    """Copy the checkpoint to a folder of that name, with these saved prompts if any."""

    def copy(name: str, prompts: dict[str, str] | None = None, default: str | None = None) -> Path:
        folder = tmp_path / name
        shutil.copytree(checkpoint, folder)
        if prompts is not None:
            change(folder / SAVED, prompts=prompts, default_prompt_name=default)
        return folder

    return copy


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture
def tokenized(monkeypatch):
    """Every text that reaches the tokenizer."""
    from transformers import PreTrainedTokenizerBase

    seen: list[str] = []
    real = PreTrainedTokenizerBase.__call__

    def spy(self, text, *args, **options):
        seen.extend([text] if isinstance(text, str) else text)
        return real(self, text, *args, **options)

    monkeypatch.setattr(PreTrainedTokenizerBase, "__call__", spy)
    yield seen
    release_encoder()


def given(make_task, folder: Path, tokenized: list[str], **options: Any) -> tuple[str, str]:
    """Return the prompts that reach the tokenizer before the query and the document."""
    tokenized.clear()
    task = make_task(size=1, positive="d000", corpus={"d000": "pear"}, queries={"q": "apple"})
    build_pool(task, f"dense({folder})", PoolOptions(**options))
    (query,) = (text for text in tokenized if text.endswith("apple"))
    (document,) = (text for text in tokenized if text.endswith("pear"))
    return query.removesuffix("apple"), document.removesuffix("pear")


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("e5-small-v2", "query: ", "passage: "),
        ("Multilingual-E5-Base", "query: ", "passage: "),
        ("multilingual-e5-large-instruct", f"Instruct: {WEB}\nQuery: ", ""),
        ("Qwen3-Embedding-0.6B", f"Instruct: {WEB}\nQuery:", ""),
        ("bge-small-en-v1.5", BGE, ""),
        ("bge-large-zh", "为这个句子生成表示以用于检索相关文章：", ""),
        ("bge-m3", "", ""),
        ("gte-base", "", ""),
        ("nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("snowflake-arctic-embed-l-v2.0", "query: ", ""),
        ("unheard-of", "", ""),
    ],
)
def test_a_well_known_model_is_sent_its_authors_prompts(
    make_task, model, tokenized, name, query, document
):
    assert given(make_task, model(name), tokenized) == (query, document)


@pytest.mark.parametrize(
    ("prompts", "default", "sent"),
    [
        ({"query": "Q ", "passage": "P "}, None, ("Q ", "P ")),
        ({"query": "Q ", "document": ""}, None, ("Q ", "passage: ")),
        ({"retrieval.query": "Q ", "retrieval.passage": "P "}, None, ("Q ", "P ")),
        ({"retrieval_query": "Q ", "retrieval_document": "P "}, None, ("Q ", "P ")),
        ({"Query": "Q ", "Document": "P "}, None, ("Q ", "P ")),
        ({"web_search_query": "Q ", "sts_query": "S "}, "sts_query", ("Q ", "S ")),
        ({"query": "Q ", "document": "D "}, "document", ("Q ", "D ")),
        ({"all": "A "}, "all", ("A ", "A ")),
        ({"clustering": "C "}, None, ("query: ", "passage: ")),
        ({"query": "", "document": ""}, None, ("query: ", "passage: ")),
    ],
)
def test_what_a_checkpoint_saves_comes_before_what_is_published(
    make_task, model, tokenized, prompts, default, sent
):
    assert given(make_task, model("e5-small-v2", prompts, default), tokenized) == sent


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        (
            {"nl2code_query": "Q ", "nl2code_document": "D "},
            {},
            "for queries; .*--query-prompt-name",
        ),
        ({"query": "Q ", "code_passage": "D "}, {}, "for documents; give --doc-prompt TEXT"),
        ({"clustering": "C "}, {"doc_prompt": ""}, "none is known to be for queries"),
    ],
)
def test_saved_prompts_of_unknown_use_are_refused(
    make_task, model, tokenized, prompts, options, message
):
    folder = model("unheard-of", prompts)
    with pytest.raises(BadOption, match=message):
        given(make_task, folder, tokenized, **options)
    explicit = {"query_prompt": "Q ", "doc_prompt": ""}
    assert given(make_task, folder, tokenized, **explicit) == ("Q ", "")


def test_a_dense_model_that_lacks_weights_is_refused(make_task, model, tokenized):
    from safetensors.torch import load_file, save_file

    folder = model("unheard-of")
    file = folder / "model.safetensors"
    kept = {key: w for key, w in load_file(file).items() if "layer.1." not in key}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(EngineFault, match=r"lacks encoder.layer.1.\S+ and \d+ more"):
        given(make_task, folder, tokenized)


def test_a_query_prompt_that_is_the_default_is_not_written_before_documents(
    make_task, model, tokenized
):
    folder = model("unheard-of", {"query": "Q "}, "query")
    assert given(make_task, folder, tokenized) == ("Q ", "")


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"query_prompt": "find: "}, ("find: ", "P ")),
        ({"query_prompt": "", "doc_prompt": ""}, ("", "")),
        ({"doc_prompt": "text: "}, ("Q ", "text: ")),
        ({"query_prompt_name": "other"}, ("O ", "P ")),
    ],
)
def test_an_explicit_prompt_comes_first_also_an_empty_one(
    make_task, model, tokenized, options, sent
):
    folder = model("e5-small-v2", {"query": "Q ", "passage": "P ", "other": "O "})
    assert given(make_task, folder, tokenized, **options) == sent


def test_a_pool_of_a_dense_model_says_what_was_sent_and_who_says_so(make_task, model, tokenized):
    folder = model("e5-small-v2")
    card = "https://huggingface.co/intfloat/e5-small-v2"
    pool = build_pool(make_task(), f"dense({folder})")
    name = f"dense({folder})"
    assert pool.resolved == name
    assert pool.prompts == {
        name: (EncoderPrompt("query: ", card), EncoderPrompt("passage: ", card))
    }
    assert not pool.notes
    explicit = build_pool(make_task(), name, PoolOptions(doc_prompt="")).prompts[name]
    assert explicit[1] == EncoderPrompt("", "--doc-prompt")
    assert build_pool(make_task(), f"dense({model('unheard-of')})").notes


@pytest.fixture
def data(tmp_path) -> Path:
    """A BEIR folder of one query."""
    folder = tmp_path / "fruit"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "pear"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "apple"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    return folder


def test_the_commands_take_prompts_and_say_what_was_sent(data, model, tokenized, tmp_path):
    profile = f"dense({model('e5-small-v2')})"
    flags = ["--task", str(data), "--profile", profile, "--query-prompt", "", "--json"]
    done = CliRunner().invoke(main, ["pool", *flags])
    assert "query prompt '' (--query-prompt), document prompt 'passage: ' (https://" in done.stderr
    (pool,) = json.loads(done.stdout)
    assert [sent["text"] for sent in pool["prompts"][profile]] == ["", "passage: "]
    out = ["--reranker", "identity", "--out", str(tmp_path / "runs"), "--doc-prompt", "text: "]
    assert CliRunner().invoke(main, ["run", *flags, *out]).exit_code == 0
    (manifest,) = (tmp_path / "runs").rglob("manifest.json")
    settings = json.loads(manifest.read_text())["settings"]
    assert settings["profile"]["prompts"] == {profile: ["", "text: "]}
    assert (settings["query_prompt"], settings["doc_prompt"]) == ("", "text: ")
    assert "text: pear" in tokenized


def test_a_profile_of_a_suite_has_prompts_of_its_own():
    profiles = [{"profile": "dense(a)", "doc-prompt": ""}, {"profile": "dense(b)"}]
    suite = pool_suite(
        {"defaults": {"doc-prompt": "D "}, "task": [{"task": "x"}], "profile": profiles}
    )
    assert [options.doc_prompt for _, options in suite.profiles] == ["", "D "]


def test_harrier_is_sent_the_prompt_that_the_published_lists_were_made_with(model):
    folder = model("harrier-oss-v1-270m", {"query": "other: ", "web_search_query": "Query: "})
    query, document = prompts_of(find_model(str(folder)), PoolOptions())
    assert (query.text, document.text) == ("Query: ", "")


@pytest.mark.parametrize(
    "source",
    [
        "intfloat/e5-small-v2",
        "INTFLOAT/E5-small-v2",
        "/cache/hub/models--intfloat--e5-small-v2/snapshots/0123abc",
    ],
)
def test_a_model_is_known_by_its_hub_id_and_by_its_folder_in_the_hubs_cache(source, monkeypatch):
    monkeypatch.setattr("rerank_bench.pools.prompts.read_json", lambda place, name: None)
    place = ModelLocation(source, source, revision="abc")
    query, document = prompts_of(place, PoolOptions())
    assert (query.text, document.text) == ("query: ", "passage: ")


def test_a_model_is_not_known_by_the_base_that_it_was_trained_from(model):
    folder = model("my-own")
    change(folder / "config.json", _name_or_path="intfloat/e5-small-v2")
    assert prompts_of(find_model(str(folder)), PoolOptions()) == (
        EncoderPrompt("", ""),
        EncoderPrompt("", ""),
    )


def test_a_prompt_that_a_model_does_not_have_is_an_error_with_those_it_has(model):
    place = find_model(str(model("tiny", {"query": "Q ", "sts": "S "})))
    with pytest.raises(BadOption, match="no prompt 'qery'; it has: query, sts"):
        prompts_of(place, PoolOptions(query_prompt_name="qery"))


@pytest.mark.parametrize("content", ["{", "[]", '{"prompts": {"query": 3}}', '{"prompts": 3}'])
def test_a_broken_file_of_prompts_is_an_error(model, content):
    folder = model("tiny")
    (folder / SAVED).write_text(content)
    with pytest.raises(EngineFault, match=f"{SAVED} cannot be read"):
        prompts_of(find_model(str(folder)), PoolOptions())


def test_every_family_has_a_source_and_no_name_occurs_twice():
    names = [name for family in families() for name in family["names"]]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and "/" not in name for name in names)
    for family in families():
        assert family["source"].startswith("https://")
        assert {"query", "query_name"} & family.keys()
        assert "document" in family


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 32}),
        ("1_Pooling/config.json", {"pooling_mode": "cls"}),
        ("config.json", {"dtype": "float16"}),
        ("tokenizer_config.json", {"model_max_length": 32}),
        (SAVED, {"prompts": {"query": "Q ", "document": ""}}),
    ],
)
def test_a_change_in_the_models_files_makes_the_vectors_anew(
    make_task, model, tokenized, file, values
):
    folder = model("tiny")
    assert given(make_task, folder, tokenized) == ("", "")
    tokenized.clear()
    build_pool(make_task(size=1, positive="d000", corpus={"d000": "pear"}), f"dense({folder})")
    assert tokenized == []
    dense.release_encoder()
    change(folder / file, **values)
    given(make_task, folder, tokenized)
    assert any(text.endswith("apple") for text in tokenized)
    assert any(text.endswith("pear") for text in tokenized)
