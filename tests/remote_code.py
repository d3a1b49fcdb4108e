"""A tiny encoder whose code comes with it, as many rerankers on the hub have it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

MODELING = """
import torch
from transformers import BertConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class ToyConfig(BertConfig):
    model_type = "toy"


class Cosines(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        {lines}

    def forward(self, states, positions):
        return {forward}


class ToyModel(PreTrainedModel):
    config_class = ToyConfig
    base_model_prefix = "toy"

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.rotary = Cosines(config)
        self.layer = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
            module.weight.data.normal_(0.0, 0.2)
        {init}

    def forward(self, input_ids, attention_mask=None, **kwargs):
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        states = self.rotary(self.embeddings(input_ids), positions)
        return self.layer(states).tanh() * attention_mask[..., None]


class ToyForSequenceClassification(PreTrainedModel):
    config_class = ToyConfig
    base_model_prefix = "toy"
    _init_weights = ToyModel._init_weights

    def __init__(self, config):
        super().__init__(config)
        self.toy = ToyModel(config)
        self.classifier = torch.nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **kwargs):
        states = self.toy(input_ids, attention_mask)
        logits = self.classifier(states.sum(1) / 8)
        return SequenceClassifierOutput(logits=logits)
"""


def toy(
    folder: Path,
    tokenizer: Path,
    lines: str,
    *,
    forward: str = "states * self.cosines[positions].to(states)",
    init: str = "pass",
) -> type:
    """Write the checkpoint with `lines` in the constructor of the module that has the buffer.

    tokenizer: folder to take the tokenizer from. Return the class, built under plain torch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    code = MODELING.format(lines=lines, forward=forward, init=init)
    (folder / "modeling_toy.py").write_text(code)
    space: dict[str, type] = {"__name__": "toy"}
    exec(code, space)  # noqa: S102 - the code above
    head = space["ToyForSequenceClassification"]
    torch.manual_seed(8)
    config = space["ToyConfig"](
        vocab_size=1200, hidden_size=32, num_labels=1, max_position_embeddings=128
    )
    head(config).save_pretrained(folder)
    told = json.loads((folder / "config.json").read_text())
    told["auto_map"] = {
        "AutoConfig": "modeling_toy.ToyConfig",
        "AutoModel": "modeling_toy.ToyModel",
        "AutoModelForSequenceClassification": "modeling_toy.ToyForSequenceClassification",
    }
    (folder / "config.json").write_text(json.dumps(told))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder / name)
    return head
