"""The prompts, windows, permutations and orders of rank_llm 0.25.7, and ours.

rank_llm runs its decoders on vLLM alone and is written for transformers 4. Here transformers
answers in vLLM's place, and the T5 stack that LiT5 builds on takes the arguments of version 4.
"""

from __future__ import annotations

import random
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    T5ForConditionalGeneration,
    T5Tokenizer,
)
from transformers.models.t5 import modeling_t5

from rerank_bench import Candidates, Document, rerank
from rerank_bench.engines import FakeEngine, Tokens, open_engine
from rerank_bench.rerankers.insert_rank import bm25
from rerank_bench.rerankers.orders import windows
from rerank_bench.rerankers.parsing import read_permutation
from rerank_bench.types import Generation, LabelScores, NextToken

pytest.importorskip("rank_llm")
ftfy = pytest.importorskip("ftfy")

ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
QUERY = "which names [2] does a block bind?"
DOCUMENTS = [
    "A name is bound in its block; see [3] and [12] (or [x]).",
    "two  spaces,\ta tab\n\nand lines\n",
    "{braces} {0}, na\u00efve \u65e5\u672c\u8a9e text \U0001f642",
    "",
]
NUMBERS = [f"[{number}]" for number in range(1, 21)]
LETTERS = [chr(ord("A") + place) for place in range(20)]


class Server:
    """What rank_llm asks of `vllm.LLM`: greedy text, or the logprobs behind a first `[`."""

    every_token = False
    """Whether all logprobs are reported, not only as many as rank_llm asks for."""

    def __init__(self, model: str, **_: object) -> None:
        self._model = model
        self._tokenizer = AutoTokenizer.from_pretrained(model)

    def get_tokenizer(self):
        return self._tokenizer

    @torch.inference_mode()
    def generate(self, prompts, params):
        network = AutoModelForCausalLM.from_pretrained(self._model).eval()
        answer = self._written if params.logprobs is None else self._after_bracket
        return [SimpleNamespace(outputs=[answer(network, text, params)]) for text in prompts]

    def _written(self, network, text, params):
        ids = self._tokenizer(text, return_tensors="pt").input_ids
        written = network.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False,
            min_new_tokens=params.min_tokens, max_new_tokens=params.max_tokens,
        )[0, ids.shape[1] :]  # fmt: skip
        return SimpleNamespace(text=self._tokenizer.decode(written), token_ids=written.tolist())

    def _after_bracket(self, network, text, params):
        ids = self._tokenizer(f"{text}[", return_tensors="pt").input_ids
        found = network(ids).logits[0, -1].log_softmax(-1)
        count = len(found) if self.every_token else params.logprobs
        tokens = found.topk(count).indices.tolist()
        behind = {
            i: SimpleNamespace(logprob=found[i].item(), decoded_token=self._tokenizer.decode([i]))
            for i in tokens
        }
        return SimpleNamespace(logprobs=[{}, behind])


class Stack(modeling_t5.T5Stack):
    """A T5 stack that is built and called as in transformers 4."""

    def __init__(self, config, embed_tokens=None):
        super().__init__(config)
        self.embed_tokens = embed_tokens

    def forward(self, *, return_dict=True, **given):
        return super().forward(**{name: one for name, one in given.items() if one is not None})


@pytest.fixture(scope="module")
def peer():
    """rank_llm's classes, imported with stand-ins for what is not installed or is gone."""
    vllm, outputs = types.ModuleType("vllm"), types.ModuleType("vllm.outputs")
    vllm.LLM, vllm.SamplingParams, vllm.RequestOutput = Server, SimpleNamespace, object
    vllm.outputs, outputs.RequestOutput = outputs, object
    scores = types.ModuleType("rank_llm.rerank.listwise.lit5.modeling_t5")  # of LiT5-Score alone
    scores.T5Stack, scores.T5ForConditionalGeneration = (
        Stack,
        modeling_t5.T5ForConditionalGeneration,
    )
    with pytest.MonkeyPatch.context() as patch:
        for module in (vllm, outputs, scores):
            patch.setitem(sys.modules, module.__name__, module)
        patch.setattr(modeling_t5, "T5Stack", Stack)
        from rank_llm import data
        from rank_llm.rerank.listwise import rank_fid
        from rank_llm.rerank.listwise.rank_listwise_os_llm import TEMPLATES, RankListwiseOSLLM
        from rank_llm.rerank.pairwise.duot5 import DuoT5
        from rank_llm.rerank.pointwise.monot5 import MonoT5
    return SimpleNamespace(
        data=data, templates=TEMPLATES, listwise=RankListwiseOSLLM, fid=rank_fid.RankFiDDistill,
        mono=MonoT5, duo=DuoT5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def read_by(checkpoints, tmp_path_factory):
    """The folder of a tokenizer with the chat template that is given."""
    folders = {}

    def folder(chat: str | None, name: str = "rank_any") -> Path:
        if (chat, name) not in folders:
            folders[chat, name] = tmp_path_factory.mktemp(name)
            checkpoints.byte_pairs(folders[chat, name], chat=chat, bos=chat is None)
        return folders[chat, name]

    return folder


def tokens_of(folder) -> Tokens:
    return Tokens(AutoTokenizer.from_pretrained(folder), name="tiny")


def result(peer, texts, *, query=QUERY, scores=None):
    """A query and its candidates, named by their places."""
    scores = scores or [0.0] * len(texts)
    pairs = zip(texts, scores, strict=True)
    found = [peer.data.Candidate(place, s, {"text": t}) for place, (t, s) in enumerate(pairs)]
    return peer.data.Result(peer.data.Query(query, "q"), found, [])


def order_of(found) -> list[int]:
    return [candidate.docid for candidate in found.candidates]


def reranked(peer, reranker, texts, *, query=QUERY, **options):
    """What rank_llm makes of candidates."""
    given = result(peer, texts, query=query)
    (found,) = reranker.rerank_batch([peer.data.Request(given.query, given.candidates)], **options)
    return found


def asked(tokens, name, texts, *, query=QUERY):
    """The requests of our reranker `name`, for texts that are cut by `tokens`."""
    requests = []

    def answer(request):
        requests.append(request)
        if isinstance(request, NextToken):
            return LabelScores(dict.fromkeys(request.labels, -1.0), prompt_tokens=1)
        return Generation("[1] > [2]", finished=True, prompt_tokens=1, output_tokens=1)

    engine = FakeEngine(answer)
    engine.fit = tokens.fit
    rerank(query, texts, reranker=name, engine=engine)
    return requests


def both(peer, folder, name, texts, *, query=QUERY, scores=None, **options):
    """The prompt of one window as rank_llm writes it, ours, and ours as tokens."""
    reranker = peer.listwise(str(folder), device="cpu", **options)
    given = result(peer, texts, query=query, scores=scores)
    theirs, _ = reranker.create_prompt(given, 0, len(texts))
    tokens = tokens_of(folder)
    request = asked(tokens, name, texts, query=query)[0]
    (rendered,) = tokens.prompts([request.prompt])
    return theirs, tokens.render(request.prompt), rendered.ids


def spaced(theirs: str, first: str = "[1]") -> str:
    """A prompt with the blank line before its passages that rank_llm wrote until June 2025."""
    assert theirs.count(f"\n{first}") == 1
    return theirs.replace(f"\n{first}", f"\n\n{first}")


# Prompts


def test_rank_vicuna_reads_the_same_prompt(peer, read_by):
    folder = read_by(None, "rank_vicuna")
    theirs, ours, ids = both(peer, folder, "RankVicuna", DOCUMENTS)
    assert ours == theirs
    assert ids == AutoTokenizer.from_pretrained(folder)(theirs).input_ids
    assert "[1] A name is bound in its block; see (3) and (12) (or [x]).\n[2] two spaces," in ours
    assert "names (2) does" in ours


@pytest.mark.parametrize("chat", [ZEPHYR, None])
def test_rank_zephyr_reads_the_same_prompt_but_for_a_blank_line(peer, read_by, chat):
    """As in the code of its paper; Zephyr's format is part of our prompt, not of the tokenizer."""
    theirs, ours, _ = both(peer, read_by(ZEPHYR), "RankZephyr", DOCUMENTS)
    assert ours == spaced(theirs)
    tokens = tokens_of(read_by(chat))
    (request,) = asked(tokens, "RankZephyr", DOCUMENTS)
    assert tokens.prompts([request.prompt])[0].ids == tokens.tokenizer(ours).input_ids


def test_first_reads_the_same_prompts_but_for_a_blank_line(peer, read_by, checkpoints):
    alpha = {"use_alpha": True}
    folder = read_by(checkpoints.CHATML)
    theirs, ours, ids = both(peer, folder, "first_mistral", DOCUMENTS, **alpha)
    assert ours == spaced(theirs, "[A]") + "["
    assert ids == AutoTokenizer.from_pretrained(folder)(ours).input_ids
    theirs, ours, _ = both(peer, read_by(ZEPHYR), "FIRST", DOCUMENTS, **alpha)
    worded = theirs.replace(" an alphabetical", " a alphabetical").replace(
        "Answer concisely and directly and only respond", "Only respond"
    )
    assert ours == spaced(worded, "[A]") + "["


def test_rankgpt_writes_the_same_messages_but_for_two_spaces(peer, read_by, checkpoints):
    """The spaces are those of RankGPT's own code."""
    template = peer.templates / "rank_gpt_template.yaml"
    theirs, ours, ids = both(
        peer, read_by(checkpoints.CHATML), "RankGPT-Qwen2.5-7B", DOCUMENTS,
        prompt_template_path=template,
    )  # fmt: skip
    assert ours == theirs.replace("identifier [].\n", "identifier []. \n").replace(
        "Search Query: which names (2) does a block bind?.\n",
        "Search Query: which names (2) does a block bind?. \n",
    )
    assert len(ours) == len(theirs) + 2
    assert ids == AutoTokenizer.from_pretrained(read_by(checkpoints.CHATML))(ours).input_ids


def test_insertrank_writes_the_same_messages_but_for_a_misspelled_word(peer, read_by, checkpoints):
    texts = [*DOCUMENTS, "block and block and block", "which names bind"]
    documents = tuple(Document(str(n), text) for n, text in enumerate(texts))
    scores = bm25(Candidates("t", "q", QUERY, documents))
    assert len(set(scores)) > 3
    theirs, ours, _ = both(
        peer, read_by(checkpoints.CHATML), "InsertRank-Qwen2.5-7B", texts, scores=scores,
        prompt_template_path=peer.templates / "insert_rank_template.yaml",
    )  # fmt: skip
    assert theirs.count(" passge ") == len(texts)
    assert ours == theirs.replace(" passge ", " passage ")


def test_rank_llm_rewrites_text_that_we_leave_as_it_is(peer, read_by):
    """It repairs encodings, which also straightens quotation marks and narrows wide letters."""
    folder = read_by(None, "rank_vicuna")
    text = "\u201ccurly\u201d \ufb01ne \uff46\uff55\uff4c\uff4c &amp; r\u00c3\u00a9sum\u00c3\u00a9"
    fixed = ftfy.fix_text(text)
    assert fixed == '"curly" fine full & r\u00e9sum\u00e9'
    theirs, ours, _ = both(peer, folder, "RankVicuna", [text, "other"], query=text)
    assert f"[1] {text}\n" in ours
    assert both(peer, folder, "RankVicuna", [fixed, "other"], query=fixed)[:2] == (theirs, theirs)


def test_rank_llm_leaves_identifiers_and_special_tokens_that_we_break_up(peer, read_by):
    folder = read_by(None, "rank_vicuna")
    theirs, ours, _ = both(peer, folder, "RankVicuna", ["see [B] and [ 3 ]", "an <|im_end|>"])
    assert "[1] see [B] and [ 3 ]\n[2] an <|im_end|>\n" in theirs
    assert "[1] see (B) and (3)\n[2] an < |im_end|>\n" in ours
    special = AutoTokenizer.from_pretrained(folder).eos_token_id
    assert special in AutoTokenizer.from_pretrained(folder)(theirs).input_ids


def test_long_passages_are_cut_to_fit_by_words_there_and_by_tokens_here(peer, read_by):
    """rank_llm gives each passage equally many words, at most 300; we give each equally many
    tokens, so that all of them fit the same 4,096 with the prompt and the answer."""
    folder = read_by(None, "rank_vicuna")
    words = [f"w{place}" for place in range(500)]
    texts = [" ".join(words[place:]) for place in range(20)]
    theirs, ours, ids = both(peer, folder, "RankVicuna", texts)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    room = 4096 - len(tokenizer(" > ".join(NUMBERS)).input_ids) + 1
    assert max(len(tokenizer(theirs).input_ids), len(ids)) <= room
    kept = [[line.split("] ")[1] for line in prompt.splitlines() if line.startswith("[")]
            for prompt in (theirs, ours)]  # fmt: skip
    assert all(text.startswith(cut) for cuts in kept for text, cut in zip(texts, cuts, strict=True))
    assert len({len(cut.split()) for cut in kept[0]}) == 1
    sizes = [len(tokenizer(cut, add_special_tokens=False).input_ids) for cut in kept[1]]
    assert max(sizes) == 150
    assert sum(sizes) <= 3000


def test_few_passages_have_up_to_450_tokens_here_and_more_than_300_words_there(peer, read_by):
    folder = read_by(None, "rank_vicuna")
    theirs, ours, _ = both(peer, folder, "RankVicuna", ["a " * 4000, "b"])
    assert theirs.count(" a a") * 2 > 2000
    assert ours.count(" a a") * 2 == 450


@pytest.mark.parametrize("name", ["monoT5-base", "duoT5-base", "LiT5-Distill-base"])
def test_t5_reads_the_same_tokens(peer, t5, checkpoints, name):
    """The space behind `Relevant:` makes no token."""
    texts = [checkpoints.TEXTS[0], "Names refer to (3) objects, and the scope\tof\na name"]
    given, query = result(peer, texts, query="which names are used"), "which names are used"
    tokens = tokens_of(t5)
    requests = asked(tokens, name, texts, query=query)
    if name == "monoT5-base":
        reranker = peer.mono(str(t5), device="cpu")
        theirs = [reranker.create_prompt(given, place)[0] for place in (0, 1)]
        ours = [request.prompt for request in requests]
    elif name == "duoT5-base":
        reranker = peer.duo(str(t5), device="cpu")
        theirs = [reranker.create_prompt(given, *pair)[0] for pair in ((0, 1), (1, 0))]
        ours = [request.prompt for request in requests]
    else:
        reranker = peer.fid(str(t5), device="cpu")
        theirs = [prompt["text"] for prompt in reranker.create_prompt(given, 0, 2)[0]]
        ours = list(requests[0].prompts)
    assert [" ".join(prompt.text.split()) + " " for prompt in ours] == theirs
    ids = [rendered.ids for rendered in tokens.prompts(ours, closed=True)]
    assert ids == [tokens.tokenizer(text).input_ids for text in theirs]


def test_rank_llm_changes_t5_documents_that_we_leave_as_they_are(peer, t5):
    """It writes [3] as (3) where nothing is numbered, and drops what the tokenizer does not know;
    pygaggle, whose prompt monoT5 was trained on, does neither."""
    text, query = "the name [3] of \u2603 objects", "which names"
    theirs, _ = peer.mono(str(t5), device="cpu").create_prompt(result(peer, [text]), 0)
    assert "Document: the name (3) of objects Relevant: " in " ".join(theirs.split()) + " "
    tokens = tokens_of(t5)
    (request,) = asked(tokens, "monoT5-base", [text], query=query)
    assert "Document: the name [3] of \u2603 objects Relevant:" in request.prompt.text
    assert tokens.tokenizer.unk_token_id in tokens.prompts([request.prompt])[0].ids


def test_rank_llm_cuts_the_end_of_a_lit5_prompt_and_we_cut_its_passage(peer, t5):
    text = "the name of a " * 60
    tokenizer = AutoTokenizer.from_pretrained(t5)
    ending = tokenizer("Relevance Ranking:").input_ids
    prompts, _ = peer.fid(str(t5), device="cpu").create_prompt(result(peer, [text, "b"]), 0, 2)
    theirs = tokenizer(prompts[0]["text"], truncation=True, max_length=150).input_ids
    tokens = tokens_of(t5)
    (request,) = asked(tokens, "LiT5-Distill-base", [text, "b"])
    ours = tokens.prompts(request.prompts, closed=True)[0].ids
    assert theirs[-len(ending) :] != ending
    assert ours[-len(ending) :] == ending
    assert request.prompts[0].text.count("the name of a") < 60


# Windows


@pytest.fixture(scope="module")
def listwise(peer, read_by):
    return peer.listwise(str(read_by(ZEPHYR)), device="cpu")


def slid(peer, reranker, count, *, window=20, stride=10, rank_end=1000):
    """The windows that rank_llm asks about."""
    seen = []

    def ask(results, start, end, *_):
        seen.append((start, end))
        return results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reranker, "_window_size", window)
        patch.setattr(reranker, "_stride", stride)
        patch.setattr(reranker, "permutation_pipeline_batched", ask)
        reranked(peer, reranker, [""] * count, rank_end=rank_end)
    return seen


def ours_slid(count, *, window=20, stride=10):
    return [(one.start, one.stop) for one in windows(count, size=window, stride=stride)]


@pytest.mark.parametrize(
    ("count", "theirs", "ours"),
    [
        (0, [], []),
        (1, [(0, 1)], []),
        (2, [(0, 2)], [(0, 2)]),
        (19, [(0, 19)], [(0, 19)]),
        (20, [(0, 20)], [(0, 20)]),
        (21, [(1, 21), (0, 11)], [(1, 21), (0, 20)]),
        (40, [(20, 40), (10, 30), (0, 20)], [(20, 40), (10, 30), (0, 20)]),
        (45, [(25, 45), (15, 35), (5, 25), (0, 15)], [(25, 45), (15, 35), (5, 25), (0, 20)]),
    ],
)
def test_both_windows_reach_the_front_and_our_last_is_whole(peer, listwise, count, theirs, ours):
    assert slid(peer, listwise, count) == theirs
    assert ours_slid(count) == ours


@given(st.integers(2, 130), st.integers(2, 30), st.data())
def test_windows_differ_in_the_size_of_the_last_alone(peer, listwise, count, window, data):
    stride = data.draw(st.integers(1, window))
    theirs = slid(peer, listwise, count, window=window, stride=stride)
    ours = ours_slid(count, window=window, stride=stride)
    if count == window - stride:
        assert (theirs, ours) == ([], [(0, count)])  # see the next test
        return
    *before, last = ours
    assert theirs == [*before, (0, count - stride * len(before))]
    assert last == (0, min(window, count))
    if count <= window or (count - window) % stride == 0:
        assert theirs == ours


@pytest.mark.parametrize(("count", "calls"), [(95, 9), (100, 9), (101, 10)])
def test_both_make_as_many_calls(peer, listwise, count, calls):
    assert len(slid(peer, listwise, count)) == len(ours_slid(count)) == calls


def test_rank_llm_leaves_out_pools_of_window_less_stride_and_what_is_behind_100(peer, listwise):
    assert slid(peer, listwise, 10) == []
    assert ours_slid(10) == [(0, 10)]
    assert slid(peer, listwise, 101, rank_end=100)[0] == (80, 100)
    assert ours_slid(101)[0] == (81, 101)


# Permutations


def theirs_read(peer, reranker, text, count):
    found = result(peer, [""] * count)
    return tuple(order_of(reranker.receive_permutation(found, text, 0, count)))


def ours_read(text, count):
    return read_permutation(text, {str(n + 1): n for n in range(count)})


WIDE = str.maketrans("0123456789", "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19")
RAISED = str.maketrans("0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


@st.composite
def answers(draw):
    """A permutation in brackets: identifiers may be missing, repeated or unknown."""
    names = [str(n) for n in draw(st.lists(st.integers(0, 25), max_size=30))]
    names = [name.zfill(draw(st.integers(1, 3))) for name in names]
    between = draw(st.sampled_from([" > ", ">", ", ", "\n", " "]))
    text = between.join(f"[{name}]" for name in names)
    if draw(st.booleans()) and len(names) > 1:
        text = f"[{', '.join(names)}]"
    text = text.translate(draw(st.sampled_from([{}, WIDE, RAISED])))
    return draw(st.sampled_from(["", "<think>\n[4] seems better than 5\n</think>\n"])) + text


@given(answers(), st.integers(1, 20))
def test_permutations_in_brackets_are_read_alike(peer, listwise, text, count):
    assert ours_read(text, count).places == theirs_read(peer, listwise, text, count)


@pytest.mark.parametrize(
    ("text", "theirs", "ours"),
    [
        ("The top 5 passages: [3] > [1] > [2]", (4, 2, 0, 1, 3), (2, 0, 1, 3, 4)),
        ("[4] is on topic, so: [2] > [1]", (3, 1, 0, 2, 4), (1, 0, 2, 3, 4)),
        ("[2] > [1] (of 5)", (1, 0, 4, 2, 3), (1, 0, 2, 3, 4)),
        ("3 > 1 > 2", (2, 0, 1, 3, 4), None),
        ("Passage 3, then 1.", (2, 0, 1, 3, 4), None),
        ("I read 5 passages.", (4, 0, 1, 2, 3), None),
        ("<think>[5] > [4]", (4, 3, 0, 1, 2), None),
        ("[\u2781] > [1]", (0, 1, 2, 3, 4), (1, 0, 2, 3, 4)),
        (f"[3] > [{'1' * 5000}] > [2]", (0, 1, 2, 3, 4), (2, 1, 0, 3, 4)),
    ],
)
def test_numbers_that_are_no_identifiers_count_there_alone(peer, listwise, text, theirs, ours):
    """None: nothing is read, and counted as unparsable. rank_llm loses the whole answer where a
    character is a digit that it cannot convert, or a number has thousands of digits."""
    assert theirs_read(peer, listwise, text, 5) == theirs
    read = ours_read(text, 5)
    assert read.places == (ours or (0, 1, 2, 3, 4))
    assert read.unparsable == (ours is None)


@given(st.text(st.characters(exclude_characters="[]\u3010\u3011\uff3b\uff3d\u3014\u3015")))
def test_text_without_brackets_is_never_a_ranking_here(text):
    assert ours_read(text, 5).unparsable


# The same models


def only_writes(network, tokenizer, words: list[str]) -> None:
    """Let a random network write nothing but `words`, each of which is one token."""
    ids = tokenizer.convert_tokens_to_ids(words)
    assert None not in ids
    assert tokenizer.unk_token_id not in ids
    kept = network.lm_head.weight[ids].detach().clone()
    with torch.no_grad():
        network.lm_head.weight.zero_()
        network.lm_head.weight[ids] = kept


@pytest.fixture(scope="module")
def writer(checkpoints, tmp_path_factory):
    """A random Llama that answers with some words alone, and the chat template that it reads."""

    def build(words: list[str], name: str, chat: str | None) -> Path:
        folder = tmp_path_factory.mktemp(name)
        tokenizer = checkpoints.byte_pairs(folder, chat=chat)
        tokenizer.add_tokens([word for word in words if word not in tokenizer.get_vocab()])
        tokenizer.save_pretrained(folder)
        shape = checkpoints.decoder_shape(len(tokenizer)) | {"max_position_embeddings": 4096}
        torch.manual_seed(11)
        network = LlamaForCausalLM(LlamaConfig(**shape))
        only_writes(network, tokenizer, words)
        network.save_pretrained(folder)
        return folder

    return build


def shuffled(checkpoints, count):
    """Sentences that rank_llm leaves as they are."""
    texts = [ftfy.fix_text(text) for text in checkpoints.TEXTS[:count]]
    return random.Random(5).sample(texts, count)


def test_the_same_listwise_model_gives_the_same_order(peer, writer, checkpoints):
    folder = writer(NUMBERS, "rank_vicuna", None)
    texts = shuffled(checkpoints, 40)
    reranker = peer.listwise(str(folder), device="cpu")
    theirs = order_of(reranked(peer, reranker, texts))
    engine = open_engine("transformers", model=str(folder), device="cpu")
    limit = reranker.num_output_tokens(20)
    ours = rerank(QUERY, texts, reranker=f"RankVicuna:max_tokens={limit}", engine=engine)
    assert [one.index for one in ours] == theirs
    assert sum(place != index for place, index in enumerate(theirs)) > 20
    assert "unparsable" not in ours.counts


@pytest.fixture
def first(peer, writer, checkpoints, tmp_path):
    """rank_llm's FIRST with the prompt of our entry, and our engine on the same model."""
    template = yaml.safe_load((peer.templates / "rank_zephyr_alpha_template.yaml").read_text())
    template["prefix"] += "\n"
    file = tmp_path / "alpha.yaml"
    file.write_text(yaml.safe_dump(template))
    folder = writer(LETTERS, "first", checkpoints.CHATML)
    reranker = peer.listwise(
        str(folder), device="cpu", use_alpha=True, use_logits=True, prompt_template_path=file
    )
    return reranker, open_engine("transformers", model=str(folder), device="cpu")


def test_the_same_first_model_gives_the_same_order(peer, first, checkpoints, monkeypatch):
    """As far as rank_llm is told the logprobs of all letters."""
    monkeypatch.setattr(Server, "every_token", True)
    reranker, engine = first
    texts = shuffled(checkpoints, 40)
    theirs = order_of(reranked(peer, reranker, texts))
    ours = rerank(QUERY, texts, reranker="first_mistral", engine=engine)
    assert [one.index for one in ours] == theirs
    assert sum(place != index for place, index in enumerate(theirs)) > 20


def test_rank_llm_leaves_letters_behind_the_30_most_probable_tokens_in_order(
    peer, first, checkpoints
):
    reranker, engine = first
    texts = shuffled(checkpoints, 20)
    prompt, _ = reranker.create_prompt(result(peer, texts), 0, 20)
    ((told, _),) = reranker.run_llm_batched([prompt])
    seen = [LETTERS.index(letter) for letter in told if letter in LETTERS]
    ours = [one.index for one in rerank(QUERY, texts, reranker="first_mistral", engine=engine)]
    assert 0 < len(seen) < 20
    assert ours[: len(seen)] == seen
    behind = [place for place in range(20) if place not in seen]
    assert order_of(reranked(peer, reranker, texts)) == [*seen, *behind]
    assert ours[len(seen) :] != behind


@pytest.fixture(scope="module")
def lit5(checkpoints, t5, tmp_path_factory):
    """A random T5 whose answers are identifiers."""
    folder = tmp_path_factory.mktemp("lit5")
    tokenizer = T5Tokenizer.from_pretrained(t5)
    tokenizer.add_tokens(NUMBERS)
    tokenizer.save_pretrained(folder)
    network = T5ForConditionalGeneration.from_pretrained(t5)
    torch.manual_seed(36)
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    network.lm_head = torch.nn.Linear(network.model_dim, len(tokenizer), bias=False)
    only_writes(network, tokenizer, NUMBERS)
    network.save_pretrained(folder)
    return folder


def test_the_same_lit5_model_gives_the_same_order(peer, listwise, lit5, checkpoints):
    """Where rank_llm reads its answers as those of its other models."""
    texts = shuffled(checkpoints, 40)
    reranker = peer.fid(str(lit5), precision="float32", device="cpu")
    reranker._inference_handler._clean_response = listwise._inference_handler._clean_response
    theirs = order_of(reranked(peer, reranker, texts, query="which names"))
    # rank_llm allows as many tokens as a permutation has characters, the first token included
    limit = len(" > ".join(NUMBERS)) - 1
    engine = open_engine("transformers", model=str(lit5), device="cpu")
    name = f"LiT5-Distill-base:max_tokens={limit}"
    ours = rerank("which names", texts, reranker=name, engine=engine)
    assert [one.index for one in ours] == theirs
    assert sum(place != index for place, index in enumerate(theirs)) > 20
    assert "unparsable" not in ours.counts


def test_rank_llm_reads_no_answer_of_lit5(peer, lit5, checkpoints):
    """The handler of LiT5's prompts cannot read answers, and the error keeps the order."""
    reranker = peer.fid(str(lit5), precision="float32", device="cpu")
    texts = shuffled(checkpoints, 20)
    found = reranked(peer, reranker, texts, populate_invocations_history=True)
    (call,) = found.invocations_history
    assert ours_read(call.response, 20).places != tuple(range(20))
    assert order_of(found) == list(range(20))


def by_index(ranked):
    return [one.score for one in sorted(ranked, key=lambda one: one.index)]


def by_place(found):
    return [one.score for one in sorted(found.candidates, key=lambda one: one.docid)]


@pytest.fixture
def t5_engine(t5):
    return open_engine("transformers", model=str(t5), device="cpu")


def test_the_same_monot5_model_gives_the_same_scores(peer, t5, t5_engine, checkpoints):
    texts = shuffled(checkpoints, 12)
    theirs = reranked(peer, peer.mono(str(t5), device="cpu", batch_size=1), texts, query="names")
    ours = rerank("names", texts, reranker="monoT5-base", engine=t5_engine)
    probabilities = torch.tensor(by_index(ours)).sigmoid().tolist()
    assert probabilities == pytest.approx(by_place(theirs), abs=1e-5)
    assert [one.index for one in ours] == order_of(theirs)


def test_rank_llm_reads_the_padding_of_a_batch(peer, t5, t5_engine, checkpoints):
    """It passes no attention mask, which transformers 4 inferred; the longest is not padded."""
    texts = shuffled(checkpoints, 12)
    theirs = by_place(reranked(peer, peer.mono(str(t5), device="cpu"), texts, query="names"))
    scores = by_index(rerank("names", texts, reranker="monoT5-base", engine=t5_engine))
    ours = torch.tensor(scores).sigmoid().tolist()
    lengths = [len(tokens_of(t5).encode([text])[0]) for text in texts]
    same = [abs(a - b) < 1e-5 for a, b in zip(theirs, ours, strict=True)]
    assert same == [length == max(lengths) for length in lengths]


def test_the_same_duot5_model_gives_the_same_scores(peer, t5, t5_engine, checkpoints):
    """rank_llm asks about each pair in one order, which is both=false here."""
    texts = shuffled(checkpoints, 7)
    theirs = reranked(peer, peer.duo(str(t5), device="cpu", batch_size=1), texts, query="names")
    ours = rerank("names", texts, reranker="duoT5-base:both=false", engine=t5_engine)
    assert by_index(ours) == pytest.approx(by_place(theirs), abs=1e-5)
    assert [one.index for one in ours] == order_of(theirs)
