"""Time this package beside its peers: same machine, same model, equal outputs.

Runs in the environment that `make test-peers` makes, as .venv-peers/bin/python benchmarks/peers;
cases over vLLM in that of `make bench-vllm`, as .venv-vllm/bin/python benchmarks/peers. Without a
CASE all run that are made for the environment; the options of a case stand behind its name. A case
compares the outputs first; where they differ it gives no ratio, and the exit status is 1.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Sequence

if __name__ == "__main__":
    # No side may ask a hub, as all models and data are local, or draw bars.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}

import click
from cross_encoder import cross_encoder
from evaluation import evaluation
from listwise import listwise
from overhead import overhead
from pointwise import pointwise
from prefix import prefix

CASES: Sequence[click.Command] = (cross_encoder, evaluation, overhead, prefix)
SERVED: Sequence[click.Command] = (listwise, pointwise)


@click.group(
    chain=True,
    invoke_without_command=True,
    help=__doc__,
    subcommand_metavar="[CASE [OPTIONS]]…",
)
@click.pass_context
def main(context: click.Context) -> None:
    """Run all cases for this environment where none is named."""


@main.result_callback()
@click.pass_context
def finish(context: click.Context, equal: Sequence[bool]) -> None:
    """Exit with 1 where the outputs of a case differ."""
    elsewhere = CASES if importlib.util.find_spec("vllm") else SERVED
    here = [one for one in main.commands.values() if one not in elsewhere]
    results = equal if context.invoked_subcommand else [context.invoke(one) for one in here]
    context.exit(0 if all(results) else 1)


for command in (*CASES, *SERVED):
    main.add_command(command)

if __name__ == "__main__":
    logging.disable(logging.INFO)  # rank-llm and mteb have every request logged, also ours
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are ended too
    main(prog_name="python benchmarks/peers")
