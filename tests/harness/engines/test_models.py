"""Where models come from, what identifies them, and the errors when they cannot be had."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    MarianConfig,
    XLMRobertaConfig,
)

from rerank_bench.engines import find_model, packaged_path
from rerank_bench.engines.local import TransformersEngine, TransformersOptions
from rerank_bench.engines.models import fingerprint, publish
from rerank_bench.errors import BadOption, EngineFault, MissingExtra
from rerank_bench.types import Likelihood, Message, NextToken, PairScore, Prompt

Engines = Callable[..., TransformersEngine]
TEMPLATE = "{{ query }} {{ document }}"


@pytest.fixture
def smollm2(converted_models: None) -> TransformersEngine:
    """The real SmolLM2-135M, converted once and kept beside the package's own file."""
    try:
        packaged_path("smollm2")
    except MissingExtra as error:
        pytest.skip(str(error))
    return TransformersEngine(TransformersOptions(model="smollm2", device="cpu"))


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c", "~/nowhere"])
def test_a_folder_that_does_not_exist_is_one_line(name: str) -> None:
    with pytest.raises(EngineFault, match=r"no such folder") as caught:
        find_model(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_has_no_revision(llama: Path) -> None:
    with pytest.raises(EngineFault, match="has no revision 'main'"):
        find_model(str(llama), revision="main")


def test_an_unknown_dtype_is_an_error(engine: Engines, llama: Path) -> None:
    with pytest.raises(BadOption, match="dtype 'int4'"):
        _ = engine(llama, dtype="int4").identity


def test_a_broken_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no such type"}')
    with pytest.raises(EngineFault, match="cannot open model") as caught:
        _ = TransformersEngine(TransformersOptions(model=str(tmp_path))).identity
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(EngineFault, match="has no tokenizer: put the files"):
        _ = TransformersEngine(TransformersOptions(model=str(tmp_path))).identity


def test_identity_names_all_that_a_reply_depends_on_and_loads_no_weights(
    engine: Engines, llama: Path, qwen: Path
) -> None:
    opened = TransformersEngine(TransformersOptions(model=str(llama), device="cpu"))
    identity = opened.identity
    assert identity["files"] == fingerprint(llama)
    assert identity["dtype"] == "float32"
    assert identity["version"] == transformers.__version__
    assert opened.statistics.loading_seconds == 0
    assert identity["chat_template"] != engine(qwen).identity["chat_template"]
    assert engine(llama, dtype="bfloat16").identity["dtype"] == "bfloat16"
    assert all(isinstance(value, str) for value in identity.values())


@pytest.mark.parametrize("change", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_fingerprint_moves_with_every_file_that_matters(
    tmp_path: Path, llama: Path, change: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(llama, copy)
    assert fingerprint(copy) == fingerprint(llama)
    (copy / "README.md").write_text("words")
    assert fingerprint(copy) == fingerprint(llama)
    content = bytearray((copy / change).read_bytes())
    content[-2] ^= 1
    (copy / change).write_bytes(bytes(content))
    assert fingerprint(copy) != fingerprint(llama)


def test_a_folder_is_published_whole_or_not_at_all(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "weights").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        publish(tmp_path / "made", half)
    assert list(tmp_path.iterdir()) == []
    publish(tmp_path / "made", lambda folder: (folder / "weights").write_text("first"))
    publish(tmp_path / "made", lambda folder: (folder / "weights").write_text("second"))
    assert (tmp_path / "made" / "weights").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def adapted(model: type, source: Path, folder: Path, **given: Any) -> Any:
    """Save a random adapter of `source` to `folder`; return the model with it."""
    task = "SEQ_CLS" if given else None
    shape = LoraConfig(r=2, target_modules=["q_proj"], task_type=task, init_lora_weights=False)
    torch.manual_seed(9)
    found = get_peft_model(model.from_pretrained(source, **given), shape).eval()
    found.save_pretrained(folder)
    return found


def last_logits(model: Any, tokenizer: Path, text: str) -> torch.Tensor:
    ids = AutoTokenizer.from_pretrained(tokenizer)(text, return_tensors="pt")
    with torch.inference_mode():
        return model(**ids).logits[0]


def test_an_adapter_is_merged_and_is_part_of_the_identity(
    tmp_path: Path, engine: Engines, llama: Path
) -> None:
    model = adapted(AutoModelForCausalLM, llama, tmp_path)
    expected = float(last_logits(model, llama, "hello there")[-1].log_softmax(-1)[40])
    asked = NextToken(Prompt(text="hello there"), (40,))
    opened = engine(llama, adapter=str(tmp_path))
    ((_, reply),) = opened.stream(iter([asked]))
    ((_, plain),) = engine(llama).stream(iter([asked]))
    assert reply.logprob[40] == pytest.approx(expected, abs=1e-4)
    assert abs(reply.logprob[40] - plain.logprob[40]) > 1e-3
    assert opened.identity["adapter_files"] == fingerprint(tmp_path)


def test_an_adapter_may_bring_the_head_that_its_base_lacks(
    tmp_path: Path, engine: Engines, llama: Path
) -> None:
    model = adapted(AutoModelForSequenceClassification, llama, tmp_path / "head", num_labels=1)
    asked = [PairScore("hello", "there")]
    given = {"adapter": str(tmp_path / "head"), "head": "classifier"}
    with pytest.raises(EngineFault, match="set pair_template="):
        dict(engine(llama, **given).stream(iter(asked)))
    found = dict(engine(llama, **given, pair_template=TEMPLATE).stream(iter(asked)))
    expected = float(last_logits(model, llama, "hello there")[0])
    assert found[0].logits[0] == pytest.approx(expected, abs=1e-4)

    adapted(AutoModelForCausalLM, llama, tmp_path / "plain")
    given["adapter"] = str(tmp_path / "plain")
    with pytest.raises(EngineFault, match="lacks score"):
        dict(engine(llama, **given, pair_template=TEMPLATE).stream(iter(asked)))


def without(weights: str, source: Path, folder: Path) -> Path:
    """Copy a checkpoint but for the weights whose names hold `weights`."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    file = folder / "model.safetensors"
    kept = {key: tensor for key, tensor in load_file(file).items() if weights not in key}
    save_file(kept, file, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("model", "weights"),
    [("cross_encoder", "pooler"), ("encoder", "layer.1."), ("qwen_reranker", "score"),
     ("llama", "layers.1.")],
)  # fmt: skip
def test_weights_that_a_checkpoint_lacks_are_not_made_up(
    request: pytest.FixtureRequest, tmp_path: Path, engine: Engines, model: str, weights: str
) -> None:
    source: Path = request.getfixturevalue(model)
    options = {}
    if model == "llama":  # an adapter brings the head, and nothing else
        adapted(AutoModelForSequenceClassification, source, tmp_path / "head", num_labels=1)
        options = {"adapter": str(tmp_path / "head"), "head": "classifier"}
        options["pair_template"] = TEMPLATE
    folder = without(weights, source, tmp_path / "model")
    with pytest.raises(EngineFault, match=rf"lacks \S*{re.escape(weights)}"):
        list(engine(folder, **options).stream(iter([PairScore("a class", "a text")])))


def test_an_encoder_needs_no_pooler(tmp_path: Path, engine: Engines, encoder: Path) -> None:
    pair = [PairScore("a class", "a text")]
    folder = without("pooler", encoder, tmp_path / "model")
    assert dict(engine(folder).stream(iter(pair))) == dict(engine(encoder).stream(iter(pair)))


def test_the_context_is_the_least_of_option_positions_and_tokenizer(
    engine: Engines, llama: Path, cross_encoder: Path
) -> None:
    assert engine(llama).checkpoint.context == 512
    assert engine(cross_encoder).checkpoint.context == 128
    short = engine(cross_encoder, max_model_len=16)
    ((_, reply),) = short.stream(iter([PairScore("a class", "word " * 30)]))
    assert "context of 16" in reply.reason
    roberta = XLMRobertaConfig(max_position_embeddings=514, pad_token_id=1)
    assert dataclasses.replace(engine(llama).checkpoint, config=roberta).context == 512


def test_an_encoder_decoder_is_no_decoder(engine: Engines, llama: Path) -> None:
    checkpoint = dataclasses.replace(engine(llama).checkpoint, config=MarianConfig())
    assert not checkpoint.decoder


def test_a_closed_engine_answers_again_after_loading_anew(llama: Path) -> None:
    opened = TransformersEngine(TransformersOptions(model=str(llama), device="cpu"))
    asked = [Likelihood(Prompt(text="hello"), " there")]
    first = dict(opened.stream(iter(asked)))
    opened.close()
    assert not opened._loaded
    assert dict(opened.stream(iter(asked)))[0] == first[0]


def test_types_are_supported_before_any_model_is_opened() -> None:
    opened = TransformersEngine(TransformersOptions(model="any"))
    assert opened.supports(frozenset({PairScore, NextToken}))
    assert not opened.supports(frozenset({int}))


def test_a_model_that_cannot_be_reached_is_one_line_and_all_else_is_quiet(
    llama: Path, cross_encoder: Path
) -> None:
    code = (
        "import sys\n"
        "from rerank_bench import open_engine\n"
        "from rerank_bench.types import *\n"
        "try: open_engine('transformers', model='no-one/no-model').identity\n"
        "except Exception as e: print(type(e).__name__, e)\n"
        "lm, ce = (open_engine('transformers', model=m, device='cpu') for m in sys.argv[1:])\n"
        "a = [Generate(Prompt(text='a'), 3), NextToken(Prompt(text='a:'), ('b',))]\n"
        "list(lm.stream(iter(a)))\n"
        "list(ce.stream(iter([PairScore('a', 'b')])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(llama), str(cross_encoder)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("EngineFault model no-one/no-model: not on this machine")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.slow
def test_the_short_name_minilm_is_an_encoder_for_late_interaction() -> None:
    try:
        opened = TransformersEngine(TransformersOptions(model="minilm", device="cpu"))
        assert opened.identity["head"] == "maxsim"
    except MissingExtra as error:
        pytest.skip(str(error))
    pairs = [
        PairScore("capital of France", "Paris is the capital city of France."),
        PairScore("capital of France", "A recipe for onion soup."),
    ]
    replies = dict(opened.stream(iter(pairs)))
    assert replies[0].logits[0] > replies[1].logits[0] + 0.5


@pytest.mark.slow
def test_smollm2_is_converted_once_and_answers_like_a_plain_forward_pass(
    smollm2: TransformersEngine,
) -> None:
    folder = Path(smollm2.checkpoint.place.source)
    assert (folder / "model.safetensors").is_file()
    assert [f.name for f in folder.parent.iterdir()] == [folder.name]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    questions = ["Is water wet?", "Which planet is the largest of all the planets we know of?"]
    prompts = [Prompt((Message("user", q),), prefill="[") for q in questions]
    asked = [NextToken(p, tuple("ABCDEFGHIJKLMNOPQRST")) for p in prompts]
    asked += [Likelihood(p, " Jupiter is the largest") for p in prompts]
    replies = dict(smollm2.stream(iter(asked)))
    for number, question in enumerate(questions):
        turn = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
        ids = [*ids, *tokenizer.encode("[")]
        after = tokenizer.encode(" Jupiter is the largest")
        with torch.inference_mode():
            logged = model(torch.tensor([ids + after])).logits[0].log_softmax(-1)
        # A..T are the ids 49 to 68.
        expected = {chr(65 + i): float(logged[len(ids) - 1, 49 + i]) for i in range(20)}
        assert replies[number].logprob == pytest.approx(expected, abs=1e-4)
        total = sum(float(logged[len(ids) + i - 1, t]) for i, t in enumerate(after))
        assert replies[number + 2].logprob == pytest.approx(total, abs=1e-4)
    (fitted,) = smollm2.fit(["A <file_sep> and <|im_end|>"], None)
    assert (fitted.text, fitted.neutralised) == ("A < file_sep> and < |im_end|>", 2)
    again = TransformersEngine(TransformersOptions(model="smollm2", device="cpu"))
    assert again.identity == smollm2.identity


def test_the_seconds_of_loading_are_counted_apart(llama: Path) -> None:
    opened = TransformersEngine(TransformersOptions(model=str(llama), device="cpu"))
    asked = NextToken(Prompt(text="Say"), ("A",))
    assert opened.statistics.loading_seconds == 0
    dict(opened.stream(iter([asked])))
    loaded = opened.statistics.loading_seconds
    assert loaded > 0
    dict(opened.stream(iter([asked])))
    assert opened.statistics.loading_seconds == loaded
