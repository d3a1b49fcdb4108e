from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank_bench.errors import BadOption, RerankBenchError, UnknownName
from rerank_bench.tasks import TaskOptions, catalogue, find_tasks

Writer = Callable[..., Path]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("NanoMMTEB-v2/beleble", "NanoMMTEB-v2/belebele"),
        ("NanoMMTEB-v3/belebele", "NanoMMTEB-v2/belebele"),
        ("NanoMMTEB-v3", "NanoMMTEB-v2"),
        ("nanobeir-en", "NanoBEIR-en"),
        ("NanoBEIR-en/arguanna", "NanoBEIR-en/arguana"),
        ("hakari-bench/NanoMMTEB-v2/mlqaa", "hakari-bench/NanoMMTEB-v2/mlqa"),
        ("stdlibcode", "stdlib-code"),
        ("NanoMTEB-v2/belebele", "NanoMMTEB-v2/belebele?"),
        ("NanoMMTEB-v2/belebel", "NanoMMTEB-v2/belebele?"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(wrong: str, meant: str):
    with pytest.raises(UnknownName) as caught:
        find_tasks(wrong)
    assert f"did you mean {meant}" in str(caught.value)


@pytest.mark.parametrize(
    "wrong", ["", "nothing like it", "a/b/c/d", "/", "./none/of/these", "~none/x"]
)
def test_a_name_of_nothing_is_an_unknown_name(
    wrong: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RerankBenchError) as caught:
        find_tasks(wrong)
    assert "\n" not in str(caught.value)


def test_a_folder_needs_no_dot_before_it(nano_folder: Writer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(nano_folder().parent.parent)
    inner = nano_folder().parent.name
    assert find_tasks(f"{inner}/Tiny/a")[0].name == "Tiny/a"
    assert find_tasks(f"{inner}/Tiny/")[0].name == "Tiny/a"


def test_the_stdlib_takes_no_revision_and_no_hub():
    with pytest.raises(BadOption, match="cannot pin stdlib-code"):
        find_tasks("stdlib-code", TaskOptions(revision="3.12"))
    with pytest.raises(BadOption, match="hub 'modelscope' does not have stdlib-code"):
        find_tasks("stdlib-code", TaskOptions(hub="modelscope"))


def test_identical_documents_are_excluded_from_any_task_when_asked(nano_folder: Writer):
    (ref,) = find_tasks(str(nano_folder()), TaskOptions(exclude_identical=True))
    assert ref.load().exclude_identical
    assert ref.load().identical_by == "text"


def test_the_catalogue_is_listed_without_a_network_or_a_heavy_import():
    code = (
        "import sys; from rerank_bench.tasks import catalogue; assert len(catalogue()) == 584;"
        "print(*{'datasets', 'pyarrow', 'numpy', 'huggingface_hub', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert "NanoMMTEB-v2/belebele" in catalogue()
