"""Whatever can change a reply is part of the identity, and so of the key of the cache."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from rerank_bench import EngineFault, NextToken, Prompt
from rerank_bench.engines import Keys, ModelLocation, ModelOptions, identity, open_checkpoint
from rerank_bench.engines import checkpoint as module
from rerank_bench.engines.local import TransformersEngine, TransformersOptions

REQUEST = NextToken(Prompt(text="a"), ("b",))


def key(folder: Path, **options: Any) -> bytes:
    opened = TransformersEngine(
        TransformersOptions(model=str(folder), **{"device": "cpu", **options})
    )
    (found,) = Keys(opened.identity).of([REQUEST])
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "bfloat16"},
        {"device": "cuda", "dtype": "float32"},
        {"head": "classifier"},
        {"trust_remote_code": True},
        {"pair_template": "{{ query }} {{ document }}"},
    ],
)
def test_an_option_that_shapes_a_reply_changes_its_key(
    llama: Path, options: dict[str, Any]
) -> None:
    assert key(llama, **options) != key(llama)


def test_an_option_that_shapes_no_reply_leaves_its_key(llama: Path) -> None:
    assert key(llama, max_num_batched_tokens=64, max_model_len=100) == key(llama)


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers"])
def test_another_version_of_a_package_changes_the_key(
    llama: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    before, version = key(llama), metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "0.0" if n == package else version(n))
    assert key(llama) != before


def test_another_version_of_sentence_transformers_changes_the_key_of_what_it_composes(
    llama_classifier: Path, checkpoints: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed_tokenizer(llama_classifier, tmp_path, checkpoints.ROLES)
    composed, plain, version = key(folder), key(llama_classifier), metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda n: "0.0" if n == "sentence-transformers" else version(n)
    )
    assert key(folder) != composed
    assert key(llama_classifier) == plain


def changed_tokenizer(source: Path, folder: Path, template: str) -> Path:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    (folder / "chat_template.jinja").write_text(template)
    return folder


def changed_config(source: Path, folder: Path, **changes: Any) -> Path:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


def test_a_chat_template_a_config_and_the_end_tokens_change_the_key(
    llama: Path, tmp_path: Path
) -> None:
    keys = {key(llama), key(changed_tokenizer(llama, tmp_path / "a", "{{ messages[0].content }}"))}
    keys.add(key(changed_config(llama, tmp_path / "b", rms_norm_eps=0.1)))
    ends = changed_config(llama, tmp_path / "c")
    (ends / "generation_config.json").write_text('{"eos_token_id": 7}')
    assert len({*keys, key(ends)}) == 4


def test_how_attention_is_computed_is_in_the_key_and_is_what_is_used(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(TransformersOptions(model=str(llama), device="cpu"))
    assert engine.identity["attention"] == "sdpa"
    assert engine._load("causal").network.config._attn_implementation == "sdpa"
    before = key(llama)
    monkeypatch.setattr(module.Checkpoint, "attention", "eager")
    assert key(llama) != before
    eager = TransformersEngine(TransformersOptions(model=str(llama), device="cpu"))
    assert eager._load("causal").network.config._attn_implementation == "eager"


def with_code(llama: Path, folder: Path, **auto_map: str) -> module.Checkpoint:
    """A checkpoint whose code is in other repositories."""
    options = TransformersOptions(model=str(folder), device="cpu", trust_remote_code=True)
    place = ModelLocation(
        "m", str(changed_config(llama, folder, auto_map=auto_map)), fingerprint="f"
    )
    opened = open_checkpoint(ModelOptions(model=str(llama)), device="cpu")
    return module.Checkpoint(options, place, opened.config, opened.tokenizer)


@pytest.mark.parametrize("commit", ["1" * 40, "2" * 40])
def test_code_of_another_repository_is_in_the_key_with_its_commit(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str
) -> None:
    monkeypatch.setattr(module, "hub_commit", lambda name, revision: commit)
    checkpoint = with_code(llama, tmp_path, AutoModel="org/code--modeling.Model")
    assert identity.describe(checkpoint)["code"] == f"org/code@{commit}"


def test_code_of_two_repositories_is_refused(llama: Path, tmp_path: Path) -> None:
    two = {"AutoModel": "org/a--modeling.Model", "AutoModelForCausalLM": "org/b--modeling.Model"}
    with pytest.raises(EngineFault, match="takes code from org/a, org/b"):
        identity.describe(with_code(llama, tmp_path, **two))


def test_vllms_environment_is_in_the_identity_but_its_secrets_and_logging_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "VLLM_API_KEY",
        "VLLM_OBJECT_STORE_SECRET",
        "VLLM_HUB_TOKEN",
        "VLLM_LOGGING_LEVEL",
        "VLLM_CPU_KVCACHE_SPACE",
    ):
        monkeypatch.setenv(name, "s")
    assert identity.vllm_environment() is None
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "1")
    assert identity.vllm_environment() == "VLLM_BATCH_INVARIANT=1"
