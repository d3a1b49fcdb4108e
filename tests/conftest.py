"""Fixtures shared by all tests.

Test modules cannot import one another (nothing is put on `sys.path`), so what they share is here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # processes of one thread each, set before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A law is true on a busy machine too, so the time of one example is not limited.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def nano() -> Path:
    """The folder of real Nano data sets, where this machine has it."""
    chosen = os.environ.get("RERANK_BENCH_NANO")
    folder = Path(chosen) if chosen else Path(__file__).parents[2] / "shared" / "nano"
    if not folder.is_dir():
        pytest.skip(f"no real Nano data at {folder} (set RERANK_BENCH_NANO)")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, but what ranx compiles is kept for the next one."""
    kept = Path(__file__).parents[1] / ".cache" / "numba"
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.environ.get("NUMBA_CACHE_DIR", str(kept)))
    monkeypatch.setenv("RERANK_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def converted_models(own_cache: None, models_folder: Path, tmp_path: Path) -> None:
    """Keep models that are converted from GGUF, which takes half a minute, for the next test."""
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / "models").symlink_to(models_folder)


def _neighbour(name: str) -> Any:
    """Load the module `name` of this folder, once."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A `Hub` of loopback_hub.py, which the real clients take for theirs; nothing is cached yet."""
    import huggingface_hub.constants as constants

    served = _neighbour("loopback_hub").Hub()
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, served.url)
    monkeypatch.setattr(constants, "ENDPOINT", served.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # tests/peers sets it for the whole process
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("ENDPOINT", "DOMAIN"):
        monkeypatch.setenv(f"MODELSCOPE_{name}", served.url)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    _forget_hubs()
    yield served
    served.close()
    _forget_hubs()


def _forget_hubs() -> None:
    """Drop the clients that packages made for the hub of a test."""
    if "modelscope_hub.config" in sys.modules:
        sys.modules["modelscope_hub.config"].set_default_config(None)
    if "transformers.utils.hub" in sys.modules:
        sys.modules["transformers.utils.hub"]._hf_api = None


@pytest.fixture(scope="session")
def comparator() -> Any:
    """The module comparator.py: `oracle(relevance, noise=…, seed=…)` and `text_of(name)`."""
    return _neighbour("comparator")


@pytest.fixture(scope="session")
def mechanisms() -> Any:
    """The module mechanisms.py: every way in which a language model reranks, and comparisons."""
    return _neighbour("mechanisms")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `mechanism` for every reranker of mechanisms.py."""
    if "mechanism" in metafunc.fixturenames:
        here = f"{Path(__file__).parent}/"
        names = _neighbour("mechanisms").NAMES
        metafunc.parametrize("mechanism", names, ids=[name.replace(here, "") for name in names])


@pytest.fixture(scope="session")
def checkpoints() -> Any:
    """The module checkpoints.py: tiny random models with real tokenizers, and their texts."""
    return _neighbour("checkpoints")


def _checkpoint(name: str) -> Any:
    """A fixture that builds the checkpoint `name` of checkpoints.py and gives its folder."""

    @pytest.fixture(scope="session", name=name)
    def build(tmp_path_factory: pytest.TempPathFactory, checkpoints: Any) -> Path:
        folder: Path = tmp_path_factory.mktemp(name)
        getattr(checkpoints, name)(folder)
        return folder

    return build


cross_encoder = _checkpoint("cross_encoder")
two_labels = _checkpoint("two_labels")
encoder = _checkpoint("encoder")
llama = _checkpoint("llama")
qwen = _checkpoint("qwen")
qwen_judge = _checkpoint("qwen_judge")
qwen_classifier = _checkpoint("qwen_classifier")
gemma_judge = _checkpoint("gemma_judge")
base_llama = _checkpoint("base_llama")
llama_classifier = _checkpoint("llama_classifier")
qwen_reranker = _checkpoint("qwen_reranker")
t5 = _checkpoint("t5")


@pytest.fixture
def beir(tmp_path: Path) -> Callable[..., Path]:
    """Write a BEIR folder from plain mappings and return its path."""

    def write(
        queries: Mapping[str, str],
        corpus: Mapping[str, str],
        qrels: Mapping[str, Mapping[str, int]],
        *,
        name: str = "data",
    ) -> Path:
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        for part, texts in (("queries", queries), ("corpus", corpus)):
            lines = (json.dumps({"_id": i, "text": text}) for i, text in texts.items())
            (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
        rows = [f"{q}\t{d}\t{g}" for q, grades in qrels.items() for d, g in grades.items()]
        (folder / "qrels" / "test.tsv").write_text(
            "\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n"
        )
        return folder

    return write


@pytest.fixture(scope="session")
def toy() -> Any:
    """The function of remote_code.py: write a checkpoint that brings its own code."""
    return _neighbour("remote_code").toy
