"""The vLLM engine on a real vLLM: its numbers are the transformers engine's, kind by kind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make test-vllm` brings its own")

from rerank_bench import NextToken, PairScore, Prompt
from rerank_bench.engines import EngineChoice, choose_engine
from rerank_bench.errors import EngineDied, EngineFault
from rerank_bench.types import Embed, Engine, Failure, Generate, Likelihood

asking: Any = sys.modules["asking"]
answers, chat, LETTERS = asking.answers, asking.chat, asking.LETTERS
SMALL = {"max_num_seqs": 16, "max_num_batched_tokens": 2048}
Opened = Callable[..., Engine]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    """Open engines, equal ones once, so that tests of one model belong next to one another.

    Of the vLLM engines only the one asked for last keeps its processes.
    """
    engines: dict[EngineChoice, Engine] = {}

    def open_one(name: str, folder: Path | str, **options: Any) -> Engine:
        small = SMALL if name == "vllm" else {"device": "cpu"}
        labels = {"labels": options.pop("labels")} if "labels" in options else {}
        choice = choose_engine(name, {"model": str(folder), **small, **options}, **labels)
        if name == "vllm":
            for other, engine in engines.items():
                if other.name == "vllm" and other != choice:
                    engine.close()
        if choice not in engines:
            engines[choice] = choice.open()
        return engines[choice]

    yield open_one
    for engine in engines.values():
        engine.close()


def label_requests(texts: list[str]) -> list[NextToken]:
    """Prompts of many lengths with a shared head, in an order that no cache would choose."""
    head = " ".join(texts[:3])
    asked = [
        NextToken(chat(f"{head} {' '.join(texts[i : i + 4])}", "["), LETTERS) for i in range(12)
    ]
    return [*asked[::2], *asked[1::2], asked[0]]


def assert_equal_labels(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.prompt_tokens == other.prompt_tokens
        assert one.output_tokens == 1
        mine, theirs = (list(reply.logprob.values()) for reply in (one, other))
        shift = sum(mine) / len(mine) - sum(theirs) / len(theirs)
        assert [m - shift for m in mine] == pytest.approx(theirs, abs=1e-3)


def test_labels_texts_and_likelihoods_equal_transformers_and_the_cache_is_used(
    opened: Opened, qwen: Path, texts: list[str]
) -> None:
    labels = label_requests(texts)
    likelihoods = [Likelihood(Prompt(text=f"{texts[i]}:"), f" {texts[i + 1]}") for i in range(4)]
    written = [Generate(chat(texts[i]), 8) for i in range(4)]
    ours, theirs = opened("vllm", qwen), opened("transformers", qwen)

    mixed = [*labels[:6], *likelihoods, *written, *labels[6:]]
    found = answers(ours, mixed)
    expected = answers(theirs, mixed)
    spans = [slice(0, 6), slice(6, 10), slice(10, 14), slice(14, None)]
    for span in (spans[0], spans[3]):
        assert_equal_labels(found[span], expected[span])
        assert all(reply.logprob.keys() == set(LETTERS) for reply in found[span])
    for one, other in zip(found[spans[1]], expected[spans[1]], strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
        assert (one.tokens, one.prompt_tokens) == (other.tokens, other.prompt_tokens)
    for one, other in zip(found[spans[2]], expected[spans[2]], strict=True):
        assert (one.text, one.tokens, one.finished) == (other.text, other.tokens, other.finished)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)

    # Drawn in a poor order, the prompts still find their shared head in the cache.
    assert sum(reply.cached_tokens > 0 for reply in found[spans[0]]) >= 5
    warm = answers(ours, labels)
    assert_equal_labels(warm, answers(theirs, labels))
    assert answers(ours, labels[:1])[0].cached_tokens > 0
    ours.forget()
    assert answers(ours, labels[:1])[0].cached_tokens == 0
    statistics = ours.statistics
    assert statistics.loading_seconds > 0
    assert statistics.work_seconds > 0
    assert statistics.in_effect.items() >= {
        ("prefix_caching", True), ("data_parallel", 1), ("quantization", None),
        ("kv_cache_dtype", "float32"), ("vllm", ours.identity["version"]),
    }  # fmt: skip


def test_text_stops_at_stop_strings_and_obeys_a_pattern(
    opened: Opened, qwen: Path, texts: list[str]
) -> None:
    plain = Generate(chat(texts[0]), 12)
    ours, theirs = opened("vllm", qwen), opened("transformers", qwen)
    (whole,) = answers(theirs, [plain])
    stop = whole.text[len(whole.text) // 2 :][:2]
    stopped = Generate(chat(texts[0]), 12, stop=(stop,))
    forced = Generate(chat(texts[0]), 40, pattern=r"\[[AB]\]( > \[[AB]\]){2}")
    drawn = [Generate(chat(texts[0]), 8, temperature=1.0, sample=n) for n in (0, 1, 0)]
    mine = answers(ours, [stopped, forced, *drawn])
    (expected,) = answers(theirs, [stopped])
    assert (mine[0].text, mine[0].finished) == (expected.text, True)
    assert len(mine[1].text) == len("[A] > [B] > [A]")
    assert set(mine[1].text) <= set("[AB] >")
    assert mine[2].text == mine[4].text
    assert mine[2].text != mine[3].text


def test_a_prompt_that_does_not_fit_fails_alone_and_names_the_budget(
    opened: Opened, qwen: Path, texts: list[str]
) -> None:
    short, long = (NextToken(Prompt(text=text), ("A",)) for text in ("Say", " ".join(20 * texts)))
    fits, fails = answers(opened("vllm", qwen), [short, long])
    assert isinstance(fails, Failure)
    assert "max_doc_tokens" in fails.reason
    assert fits.logprob.keys() == {"A"}


def test_a_killed_process_is_one_error_with_its_last_lines_and_the_next_request_starts_anew(
    opened: Opened, qwen: Path
) -> None:
    engine = opened("vllm", qwen)
    asked = [NextToken(Prompt(text="Say"), ("A", "B"))]
    first = answers(engine, asked)
    os.kill(engine._workers.processes[0].process.pid, signal.SIGKILL)
    with pytest.raises(EngineDied, match=r"SIGKILL.*log"):
        answers(engine, asked)
    assert_equal_labels(answers(engine, asked), first)


def test_a_head_made_for_the_labels_gives_the_language_heads_logits(
    opened: Opened, qwen: Path, texts: list[str]
) -> None:
    asked = label_requests(texts)
    narrow = [NextToken(r.prompt, LETTERS[:4]) for r in asked[:3]]
    ours = opened("vllm", qwen, head="labels", labels=LETTERS)
    theirs = opened("transformers", qwen)
    found = answers(ours, [*asked, *narrow])
    expected = answers(theirs, [*asked, *narrow])
    assert_equal_labels(found, expected)
    for one, other in zip(found, expected, strict=True):
        assert list(one.logit.values()) == pytest.approx(list(other.logit.values()), abs=1e-3)
    with pytest.raises(EngineFault, match="head=labels"):
        answers(ours, [NextToken(asked[0].prompt, ("Z",))])


def test_labels_in_half_precision_are_as_distinct_as_in_float32_and_keep_soft_capping(
    opened: Opened, tmp_path: Path, checkpoints: Any
) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    shape = checkpoints.decoder_shape(len(checkpoints.byte_pairs(tmp_path, chat=None)))
    shape |= {"initializer_range": 1.0}
    model = Gemma2ForCausalLM(Gemma2Config(**shape, final_logit_softcapping=300.0))
    model.model.norm.weight.data += 15  # half precision keeps few digits of large logits
    model.save_pretrained(tmp_path)
    documents = list(dict.fromkeys(checkpoints.TEXTS))[:100]
    asked = [NextToken(Prompt(text=text), LETTERS) for text in documents]
    ours = opened("vllm", tmp_path, dtype="bfloat16")
    found = answers(ours, asked), answers(opened("transformers", tmp_path), asked)
    # To four digits: beyond, the rounding of a float32 softmax sets equal logits apart.
    mine, theirs = (
        [round(r.logprob["A"] - r.logprob[letter], 4) for r in one for letter in LETTERS[1:]]
        for one in found
    )
    assert len(set(mine)) >= 0.95 * len(set(theirs))
    assert mine == pytest.approx(theirs, abs=0.2 * (max(theirs) - min(theirs)))
    assert ours.statistics.in_effect["head_dtype"] == "float32"


@pytest.mark.parametrize("name", ["cross_encoder", "qwen_reranker"])
def test_pair_scores_equal_transformers_raw_logits(
    name: str, opened: Opened, texts: list[str], request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    pairs = [PairScore(texts[i % 3], texts[i]) for i in range(12)]
    found = answers(opened("vllm", folder), pairs)
    expected = answers(opened("transformers", folder), pairs)
    for one, other in zip(found, expected, strict=True):
        assert one.logits == pytest.approx(other.logits, abs=1e-3)
        assert one.prompt_tokens == other.prompt_tokens


def test_late_interaction_equals_transformers(
    opened: Opened, encoder: Path, texts: list[str]
) -> None:
    pairs = [PairScore(texts[i % 2], texts[i]) for i in range(8)]
    found = answers(opened("vllm", encoder, head="maxsim"), pairs)
    expected = answers(opened("transformers", encoder, head="maxsim"), pairs)
    for one, other in zip(found, expected, strict=True):
        assert one.logits == pytest.approx(other.logits, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "pooling"), [("base_llama", "last"), ("qwen", "mean"), ("encoder", "cls")]
)
def test_vectors_equal_transformers(
    name: str, pooling: str, opened: Opened, texts: list[str], request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    head = " ".join(texts[:4]) if name != "encoder" else ""
    prompts = [*(Prompt(text=f"{head} {text}".strip()) for text in texts[:12]), Prompt(text="")]
    for normalise in (True, False):
        asked = [Embed(prompt, pooling, normalise=normalise) for prompt in prompts]
        ours = opened("vllm", folder)
        found = answers(ours, asked)
        expected = answers(opened("transformers", folder), asked)
        for one, other in zip(found, expected, strict=True):
            assert one.array == pytest.approx(other.array, abs=1e-3)
            assert one.prompt_tokens == other.prompt_tokens
    cached = sum(reply.cached_tokens for reply in found)
    assert bool(cached) == (pooling == "last")
    assert ours.statistics.in_effect["prefix_caching"] == (pooling == "last")


def test_two_replicas_share_one_queue_and_answer_as_one(
    opened: Opened, llama: Path, texts: list[str]
) -> None:
    asked = label_requests(texts)
    together = opened("vllm", llama, data_parallel=2, max_num_seqs=2)
    found = answers(together, asked)
    assert_equal_labels(found, answers(opened("transformers", llama), asked))
    assert all(worker.seconds > 0 for worker in together._workers.processes)


def test_a_model_split_over_two_processes_answers_as_one(
    opened: Opened, llama: Path, texts: list[str]
) -> None:
    asked = label_requests(texts)[:6]
    found = answers(opened("vllm", llama, tensor_parallel_size=2), asked)
    assert_equal_labels(found, answers(opened("transformers", llama), asked))


def test_an_error_of_vllm_at_its_start_is_one_line_and_leaves_no_process(
    opened: Opened, llama: Path
) -> None:
    asked = [NextToken(Prompt(text="Say"), ("A",))]
    engine = opened("vllm", llama, quantization="no-such-quantization")
    with pytest.raises(EngineFault) as caught:
        answers(engine, asked)
    assert "no-such-quantization" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    mine = [x for x in listed.stdout.splitlines() if "vllm.worker" in x and sys.executable in x]
    assert not mine


def test_too_little_memory_is_an_error_that_names_what_to_lower(
    opened: Opened, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "100000")
    engine = opened("vllm", llama, max_model_len=64)
    with pytest.raises(EngineFault, match="lower gpu_memory_utilization or max_model_len"):
        answers(engine, [NextToken(Prompt(text="Say"), ("A",))])


def test_a_model_without_a_head_for_a_request_is_refused_before_anything_starts(
    opened: Opened, encoder: Path, llama: Path
) -> None:
    with pytest.raises(EngineFault, match="no causal language model"):
        answers(opened("vllm", encoder), [NextToken(Prompt(text="Say"), ("A",))])
    with pytest.raises(EngineFault, match="no head for pairs"):
        answers(opened("vllm", llama), [PairScore("a", "b")])
    with pytest.raises(EngineFault, match="no classification head"):
        answers(opened("vllm", llama, head="classifier"), [PairScore("a", "b")])


def test_an_adapter_changes_the_scores_as_it_does_with_transformers(
    opened: Opened, llama: Path, tmp_path: Path, texts: list[str]
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(11)
    base = AutoModelForCausalLM.from_pretrained(llama)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(base, lora).save_pretrained(tmp_path / "adapter")
    asked = label_requests(texts)[:4]
    adapter = str(tmp_path / "adapter")
    found = answers(opened("vllm", llama, adapter=adapter), asked)
    expected = answers(opened("transformers", llama, adapter=adapter), asked)
    assert_equal_labels(found, expected)
    plain = answers(opened("transformers", llama), asked)
    assert any(
        abs(a.logprob["A"] - b.logprob["A"]) > 0.01 for a, b in zip(expected, plain, strict=True)
    )
