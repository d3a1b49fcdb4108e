"""Checkpoints that pylate saves are read as pylate reads them: token vectors, and MaxSim scores.

pylate runs in a process of its own, since it needs another version of sentence-transformers.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

from rerank_bench import Candidates, Document, EngineFault, rerank_one
from rerank_bench.engines import Encode, sides_of
from rerank_bench.engines.local import TransformersEngine, TransformersOptions
from rerank_bench.rerankers.late_interaction import LateInteraction

NEEDS = Path(sys.prefix) / "pylate"  # what `make test-peers` installs for pylate alone
if importlib.util.find_spec("pylate") is None or not NEEDS.is_dir():
    pytest.skip("pylate is not installed; `make test-peers` brings it", allow_module_level=True)

WIDTH, DIM = 64, 24
KNOWN = {"skiplist_words": [".", ",", "!", "(", ")"]}  # tokens of every vocabulary here
LINEAR = {
    "in_features": WIDTH, "out_features": DIM, "bias": False, "activation_function": "Identity",
}  # fmt: skip
BIASED = {**LINEAR, "bias": True}
WIDE = {**LINEAR, "out_features": WIDTH, "use_residual": True, "activation_function": "GELU"}
PROMPTS = {"query": "search: ", "document": "text: "}
QUERIES = [
    "how do I import a module?", "what is a class", "a",
    "which statement of the language raises an exception that the caller of a function must handle",
]  # fmt: skip
UNKNOWN = "naïve 日本語 🙂"  # of which the word pieces make unknown tokens
SPACED, BARE = "  spaces around.  ", "spaces around."
MARKED, HARMLESS = "the [Q] and [D] of a text", "the [ Q] and [ D] of a text"

# case -> (encoder, linear layers, settings of pylate, what is changed in the saved settings)
CASES: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any], dict[str, Any]]] = {
    "BERT": ("encoder", [LINEAR], KNOWN, {}),
    "expansion attended": ("encoder", [LINEAR], {**KNOWN, "attend_to_expansion_tokens": True}, {}),
    "no expansion": ("encoder", [LINEAR], {**KNOWN, "do_query_expansion": False}, {}),
    "cut": ("encoder", [LINEAR], {**KNOWN, "document_length": 12, "query_length": 6}, {}),
    "nothing skipped": ("encoder", [LINEAR], {"skiplist_words": []}, {}),
    "words skipped": ("encoder", [LINEAR], {"skiplist_words": ["the", "##s", ".", "[D] "]}, {}),
    "no marker": ("encoder", [LINEAR], {**KNOWN, "query_prefix": "", "document_prefix": ""}, {}),
    "markers of the vocabulary": (
        "encoder", [LINEAR], {**KNOWN, "query_prefix": "[UNK]", "document_prefix": "[PAD]"}, {},
    ),
    "a bias": ("encoder", [BIASED], KNOWN, {}),
    "two layers": ("encoder", [WIDE, BIASED], KNOWN, {}),
    "prompts by name": ("encoder", [LINEAR], {**KNOWN, "prompts": PROMPTS}, {}),
    "ModernBERT": ("modern_bert", [LINEAR], {}, {}),
    "ModernBERT attended": ("modern_bert", [BIASED], {"attend_to_expansion_tokens": True}, {}),
    "ModernBERT cut": ("modern_bert", [WIDE, LINEAR], {"document_length": 12}, {}),
    "a decoder": ("base_llama", [LINEAR], KNOWN, {}),
    "punctuation outside the vocabulary": ("encoder", [LINEAR], {}, {}),
    "a default prompt": (
        "encoder", [LINEAR], {**KNOWN, "prompts": PROMPTS, "default_prompt_name": "query"}, {},
    ),
    "an unknown marker": ("encoder", [LINEAR], KNOWN, {"query_prefix": "[QUERY] "}),
    "no token before a text": ("llama", [LINEAR], KNOWN, {}),
}  # fmt: skip
REFUSED = {
    "a default prompt": "puts the prompt 'query' before its texts",
    # pylate gives it the mean of all embeddings: a token that nobody trained.
    "an unknown marker": r"no token '\[QUERY\] ': its marker cannot be placed",
    # pylate puts the marker behind the text's own first token.
    "no token before a text": "no token before a text: its marker cannot be placed",
}
COMPARED = [name for name in CASES if name not in REFUSED]
Array: TypeAlias = np.ndarray[Any, Any]
Peer = Callable[[str], tuple[Path, dict[str, Array]]]


@pytest.fixture(scope="session")
def modern_bert(tmp_path_factory: pytest.TempPathFactory, checkpoints: Any) -> Path:
    """A random ModernBERT with byte pairs, as the published one has them."""
    folder = tmp_path_factory.mktemp("modern_bert")
    special = ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"]
    tokenizer = Tokenizer(models.BPE(unk_token=special[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(checkpoints.TEXTS[:3000], trainer)
    frame = [(token, special.index(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=frame
    )
    named = {f"{token[1:-1].lower()}_token": token for token in special}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
    shape = {**checkpoints.encoder_shape(len(AutoTokenizer.from_pretrained(folder))),
             "pad_token_id": 2, "cls_token_id": 0, "sep_token_id": 1, "bos_token_id": 0,
             "eos_token_id": 1, "local_attention": 40}  # fmt: skip
    torch.manual_seed(33)
    ModernBertModel(ModernBertConfig(**shape)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def documents(checkpoints: Any) -> list[str]:
    """Real texts of many lengths, an empty one, and those that are read in a way of their own."""
    lines = checkpoints.TEXTS
    usual = [*lines[:12], "", "one", " ".join(lines[100:104]), UNKNOWN]
    return [*usual, SPACED, BARE, MARKED, HARMLESS]


@pytest.fixture(scope="session")
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, documents: list[str]
) -> Peer:
    """Give the checkpoint of a case as pylate saved it, and what pylate makes of the texts."""
    folder = tmp_path_factory.mktemp("pylate")
    cases = [
        {
            "folder": str(folder / str(number)),
            "base": str(request.getfixturevalue(base)),
            "layers": layers,
            "settings": {"query_length": 16, "document_length": 100, **settings},
            "changed": changed,
        }
        for number, (base, layers, settings, changed) in enumerate(CASES.values())
    ]
    asked = folder / "asked.json"
    asked.write_text(json.dumps({"queries": QUERIES, "documents": documents, "cases": cases}))
    script = Path(__file__).with_name("pylate_oracle.py")
    done = subprocess.run(
        [sys.executable, str(script), str(asked)],
        env={**os.environ, "PYTHONPATH": str(NEEDS)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    places = {name: case["folder"] for name, case in zip(CASES, cases, strict=True)}
    return lambda name: (Path(places[name]), dict(np.load(f"{places[name]}.npz")))


def open_engine(folder: Path) -> TransformersEngine:
    return TransformersEngine(TransformersOptions(model=str(folder), device="cpu", head="maxsim"))


def fitted(folder: Path, documents: list[str]) -> tuple[TransformersEngine, dict[str, Encode]]:
    """Our engine, and every text with how it is read, under pylate's name of its vectors.

    A text has the room that pylate leaves it: its length in tokens, less the tokens around it.
    """
    engine = open_engine(folder)
    saved = json.loads((folder / "config_sentence_transformers.json").read_text())
    lengths = saved["query_length"], saved["document_length"]
    found = {}
    for kind, texts, length, side in zip(
        "qd", (QUERIES, documents), lengths, sides_of(engine.checkpoint), strict=True
    ):
        for i, text in enumerate(engine.fit(texts, length - side.frame.size)):
            found[f"{kind}{i}"] = Encode(text.text, side)
    return engine, found


def scores(engine: TransformersEngine, texts: dict[str, Encode]) -> Array:
    """What the reranker scores, shape (queries, documents)."""
    by_kind = {kind: [e.text for name, e in texts.items() if name[0] == kind] for kind in "qd"}
    given = tuple(Document(str(i), text) for i, text in enumerate(by_kind["d"]))
    pools = [Candidates("task", "q", query, given) for query in by_kind["q"]]
    return np.array([rerank_one(LateInteraction(), pool, engine).scores for pool in pools])


@pytest.mark.parametrize("case", COMPARED)
def test_token_vectors_and_scores_are_those_of_pylate(
    case: str, peer: Peer, documents: list[str]
) -> None:
    folder, theirs = peer(case)
    same = [d for d in documents if d not in (SPACED, MARKED)]
    columns = [documents.index(d) for d in same]
    engine, texts = fitted(folder, same)
    expected = {**theirs, **{f"d{i}": theirs[f"d{column}"] for i, column in enumerate(columns)}}
    vectors = engine._maxsim._vectors(list(dict.fromkeys(texts.values())))
    for name, text in texts.items():
        mine = vectors[text].vectors
        assert mine.shape == expected[name].shape, name
        assert np.abs(mine - expected[name]).max() < 1e-5, name
    assert np.ptp(theirs["alone"]) > 0.1
    assert scores(engine, texts) == pytest.approx(theirs["alone"][:, columns], abs=1e-5)


def test_only_in_rerank_of_pylate_a_score_depends_on_the_longest_document(peer: Peer) -> None:
    # It fills documents up with vectors of 0 and masks none of them: no maximum is below 0. In
    # ColBERT's own code a filled position is never the maximum.
    _, theirs = peer("ModernBERT")
    queries = [theirs[f"q{i}"] for i in range(len(QUERIES))]
    documents = [theirs[f"d{i}"] for i in range(theirs["alone"].shape[1])]
    best = [[(q @ d.T).max(axis=1) for d in documents] for q in queries]
    floors = [-1 if len(d) == max(map(len, documents)) else 0 for d in documents]
    filled = [[np.maximum(b, f).sum() for b, f in zip(row, floors, strict=True)] for row in best]
    assert theirs["alone"] == pytest.approx(
        np.array([[b.sum() for b in r] for r in best]), abs=1e-5
    )
    assert theirs["together"] == pytest.approx(np.array(filled), abs=1e-5)
    assert np.abs(theirs["together"] - theirs["alone"]).max() > 0.01


def test_space_around_a_text_is_read_and_a_marker_in_it_is_not(
    peer: Peer, documents: list[str]
) -> None:
    # sentence-transformers 5, which pylate stands on, strips texts; since 6 it does not.
    folder, theirs = peer("ModernBERT")
    engine, texts = fitted(folder, documents)
    spaced, bare, marked, harmless = (
        documents.index(d) for d in (SPACED, BARE, MARKED, HARMLESS)
    )  # fmt: skip
    ours, peers = scores(engine, texts), theirs["alone"]
    assert peers[:, spaced] == pytest.approx(peers[:, bare], abs=1e-5)
    assert np.abs(ours[:, spaced] - ours[:, bare]).max() > 1e-3
    # Special tokens of the model are made harmless in documents, which are not trusted.
    assert np.abs(peers[:, marked] - peers[:, harmless]).max() > 1e-3
    assert ours[:, marked] == pytest.approx(peers[:, harmless], abs=1e-5)


@pytest.mark.parametrize("case", REFUSED)
def test_what_pylate_reads_in_a_way_that_is_not_ours_is_refused(case: str, peer: Peer) -> None:
    folder, _ = peer(case)
    with pytest.raises(EngineFault, match=REFUSED[case]):
        sides_of(open_engine(folder).checkpoint)
