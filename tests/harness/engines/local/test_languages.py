"""Language adapters: those of an XMOD, and PEFT adapters beside a ranking adapter.

Expected scores are computed by PEFT's own models, one text at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
)

from rerank_bench import (
    Candidates,
    Document,
    EngineFault,
    Failure,
    NextToken,
    PairScore,
    Prompt,
    rerank_one,
)
from rerank_bench.engines.languages import _nearest
from rerank_bench.engines.local import TransformersEngine
from rerank_bench.errors import BadOption, RequestFailed
from rerank_bench.rerankers.cross_encoder import CrossEncoder
from rerank_bench.rerankers.late_interaction import LateInteraction

Engines = Callable[..., TransformersEngine]
PAIRS = [("how to import", "a module"), ("was ist das", "ein Wert"), ("how to", "ein Modul")]
LANGUAGES = [("en", "eng_Latn"), ("de", "de_DE"), ("en", "deu_Latn")]


def save_adapter(network: Any, folder: Path, seed: int, **given: Any) -> None:
    torch.manual_seed(seed)
    shape = LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False, **given)
    get_peft_model(network, shape).save_pretrained(folder)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, cross_encoder: Path) -> Path:
    """A ranking adapter with its head, and language adapters of a masked language model."""
    folder = tmp_path_factory.mktemp("adapters")
    ranking = AutoModelForSequenceClassification.from_pretrained(cross_encoder)
    torch.nn.init.normal_(ranking.classifier.weight, generator=torch.Generator().manual_seed(5))
    save_adapter(ranking, folder / "ranking", 31, task_type="SEQ_CLS")
    for seed, language in enumerate(["de", "en"], start=32):
        masked = BertForMaskedLM(BertConfig.from_pretrained(cross_encoder))
        save_adapter(masked, folder / "languages" / language, seed)
    return folder


def stacked(base: Path, adapters: Path, language: str) -> Any:
    """The base with both adapters active at once, as PEFT adds them up."""
    network = AutoModelForSequenceClassification.from_pretrained(base)
    model = PeftModel.from_pretrained(network, adapters / "languages" / language, "spoken")
    model.load_adapter(adapters / "ranking", "ranking")
    model.base_model.set_adapter(["ranking", "spoken"])
    return model.eval()


def logits(engine: TransformersEngine, pairs: Sequence[PairScore]) -> list[float]:
    found = dict(engine.stream(iter(pairs)))
    return [found[i].logits[0] for i in range(len(pairs))]


def requests() -> list[PairScore]:
    return [PairScore(*texts, *codes) for texts, codes in zip(PAIRS, LANGUAGES, strict=True)]


@pytest.mark.parametrize(
    ("side", "read_with"), [("document", ["en", "de", "de"]), ("query", ["en", "de", "en"])]
)
def test_a_pair_is_read_with_the_ranking_adapter_and_that_of_its_language(
    engine: Engines, cross_encoder: Path, adapters: Path, side: str, read_with: list[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(cross_encoder)
    expected = []
    for texts, language in zip(PAIRS, read_with, strict=True):
        with torch.inference_mode():
            model = stacked(cross_encoder, adapters, language)
            expected.append(float(model(**tokenizer(*texts, return_tensors="pt")).logits))
    options = {"adapter": str(adapters / "ranking"), "pair_language": side}
    opened = engine(cross_encoder, language_adapters=str(adapters / "languages"), **options)
    assert logits(opened, requests()) == pytest.approx(expected, abs=1e-4)
    fixed = engine(
        cross_encoder, language_adapters=str(adapters / "languages"), language="de", **options
    )
    assert logits(fixed, requests())[1] == pytest.approx(expected[1], abs=1e-4)
    assert abs(logits(fixed, requests())[0] - expected[0]) > 1e-3
    assert opened.identity != fixed.identity


def test_late_interaction_reads_each_text_with_the_adapter_of_its_own_language(
    engine: Engines, encoder: Path, adapters: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)

    def vectors(text: str, language: str) -> torch.Tensor:
        whole = AutoModelForMaskedLM.from_pretrained(encoder)
        model = PeftModel.from_pretrained(whole, adapters / "languages" / language).eval()
        with torch.inference_mode():
            states = model.model.bert(**tokenizer(text, return_tensors="pt")).last_hidden_state
        return torch.nn.functional.normalize(states[0, 1:-1], dim=-1)

    expected = [
        float((vectors(q, a[:2]) @ vectors(d, b[:2]).T).max(1).values.sum())
        for (q, d), (a, b) in zip(PAIRS, LANGUAGES, strict=True)
    ]
    opened = engine(encoder, language_adapters=str(adapters / "languages"))
    assert logits(opened, requests()) == pytest.approx(expected, abs=1e-4)
    given = Candidates("t", "q", "how to", (Document("d", "ein Modul", "de"),), query_language="en")
    assert rerank_one(LateInteraction(), given, opened).scores == pytest.approx(
        expected[2:], abs=1e-4
    )


def test_a_text_of_another_language_needs_a_default(
    tmp_path: Path, engine: Engines, cross_encoder: Path, adapters: Path
) -> None:
    opened = engine(cross_encoder, language_adapters=str(adapters / "languages"))
    (french, unknown) = (
        dict(opened.stream(iter([PairScore("q", "le texte", "en", code)])))[0]
        for code in ("fr", None)
    )
    assert isinstance(french, Failure)
    assert (
        "the document 'le texte' is in 'fr', and the model has language adapters for de, en: "
        in (french.reason)
    )
    assert "set language= to the one" in french.reason
    assert "has no known language" in unknown.reason
    documents = (Document("d", "le texte", "fr"),)
    with pytest.raises(RequestFailed, match=r"query7.*is in 'fr'"):
        rerank_one(CrossEncoder(), Candidates("t", "query7", "q", documents), opened)
    listed = tmp_path / "adapters.toml"
    listed.write_text(
        f'de = "{adapters}/languages/de"\ndefault = "{adapters}/languages/en"\n', encoding="utf-8"
    )
    stated = engine(cross_encoder, language_adapters=str(listed))
    found = logits(stated, [PairScore("q", "le texte", "en", code) for code in ("fr", None, "de")])
    same = logits(opened, [PairScore("q", "le texte", "en", code) for code in ("en", "en", "de")])
    assert found == pytest.approx(same, abs=1e-6)


def test_an_adapter_of_other_layers_is_refused(
    tmp_path: Path, engine: Engines, cross_encoder: Path, encoder: Path
) -> None:
    config = BertConfig.from_pretrained(cross_encoder, num_hidden_layers=3)
    save_adapter(BertForMaskedLM(config), tmp_path / "deep" / "de", 40)
    (tmp_path / "empty").mkdir()
    pair = [PairScore("a", "b", "de", "de")]
    with pytest.raises(EngineFault, match=r"does not fit the model's layers: .*layer\.2"):
        dict(engine(cross_encoder, language_adapters=str(tmp_path / "deep")).stream(iter(pair)))
    with pytest.raises(EngineFault, match=r"does not fit the model's layers: .*layer\.2"):
        dict(engine(cross_encoder, adapter=str(tmp_path / "deep/de")).stream(iter(pair)))
    for wrong, message in [
        ({"language_adapters": str(tmp_path / "empty")}, "holds no PEFT adapters"),
        ({"language_adapters": str(tmp_path / "deep"), "language": "fr"}, "has adapters for de"),
        ({"language_adapters": str(tmp_path / "no.toml")}, "cannot be read"),
        ({"pair_language": "both"}, "pair_language is document or query, not both"),
        ({"pair_language": "query"}, "pair_language=query: model .* has no language adapters"),
    ]:
        with pytest.raises(BadOption, match=message):
            dict(engine(cross_encoder, **wrong).stream(iter(pair)))


def test_a_language_model_with_language_adapters_says_what_it_cannot_read(
    engine: Engines, tmp_path: Path, llama: Path
) -> None:
    torch.manual_seed(41)
    shape = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    network = AutoModel.from_pretrained(llama)
    get_peft_model(network, shape).save_pretrained(tmp_path / "de")
    asked = NextToken(Prompt(text="hello"), (40,))
    ((_, reply),) = engine(llama, language_adapters=str(tmp_path)).stream(iter([asked]))
    assert "NextToken" in reply.reason
    assert "has no known language" in reply.reason
    spoken = engine(llama, language_adapters=str(tmp_path), language="de")
    ((_, reply),) = spoken.stream(iter([asked]))
    ((_, plain),) = engine(llama).stream(iter([asked]))
    assert abs(reply.logprob[40] - plain.logprob[40]) > 1e-3


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("de", "de_DE"), ("deu_Latn", "de_DE"), ("DE-at", "de_DE"), ("zho_Hant", "zh_TW"),
        ("zh", "zh_CN"), ("cmn_Hans", "zh_CN"), ("hin_Deva", "hi_IN"), ("hi_XX", "hi_XX"),
        ("nob_Latn", "no_XX"), ("xx", None),
    ],
)  # fmt: skip
def test_a_language_code_finds_the_adapter_of_its_language(language: str, name: str | None) -> None:
    names = ["en_XX", "de_DE", "zh_CN", "zh_TW", "hi_IN", "hi_XX", "no_XX"]
    assert _nearest(language, names) == name
