from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from rerank_bench.errors import BadData, UnknownName
from rerank_bench.tasks import Task, TaskOptions, find_tasks
from rerank_bench.tasks.stdlib_code import load_stdlib_code


@pytest.fixture(scope="module")
def task() -> Task:
    (ref,) = find_tasks("stdlib-code")
    return ref.load()


def test_it_has_200_queries_over_1500_documents_and_names_its_python(task):
    assert (len(task.queries), len(task.corpus)) == (200, 1500)
    assert len({text.casefold() for text in task.queries.values()}) == 200
    assert len(set(task.corpus.values())) == 1500
    assert (task.source.revision, task.language) == (platform.python_version(), "en")
    assert task.instruction
    assert task.notes == {}


def test_the_only_positive_of_a_query_is_its_own_function_which_it_does_not_name(task):
    for query_id, text in task.queries.items():
        (positive,) = task.positives(query_id)
        assert task.qrels[query_id] == {query_id.removeprefix("q:"): 1}
        assert positive in task.corpus
        name = positive.replace(":", ".").split(".")[-1]
        assert name.casefold() not in text.casefold().split()
        assert text.rstrip(".").casefold() not in task.corpus[positive].casefold()
        assert len(text.split()) >= 3


def test_it_is_the_same_in_another_process_and_imports_none_of_its_documents(task: Task):
    code = (
        "import sys; from rerank_bench.tasks import find_tasks; before = set(sys.modules);"
        "t = find_tasks('stdlib-code')[0].load();"
        "print(t.source.sha256, len(set(sys.modules) - before))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "PATH": ""},
    ).stdout.split()
    assert output[0] == task.source.sha256
    assert int(output[1]) < 10


SOURCE = '''
import missing_package_that_would_fail

def area(width, height):
    """Multiply two sides of a rectangle. More words.

    And more.
    """
    # comment
    size = width * height
    return size

def _private(x):
    """Return a thing nobody should see."""
    y = x
    return y

def stub():
    """Promise something for later use."""

class Shape:
    @property
    def corners(self):
        """Count the points where edges meet."""
        found = self._find()
        return len(found)

    def named(self):
        """named() -> text of the label here"""
        text = self.label
        return text
'''


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "shapes.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("def (:\n")
    for folder in ("test", "site-packages"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shapes.py").write_text(SOURCE)
    return tmp_path


def test_documents_are_sources_without_docstrings_and_queries_first_sentences(library):
    task = load_stdlib_code(TaskOptions(), library)
    assert set(task.corpus) == {"shapes:area", "shapes:Shape.corners", "shapes:Shape.named"}
    code = task.corpus["shapes:Shape.corners"]
    assert code.startswith("@property\ndef corners(self):\n    found")
    assert "rectangle" not in task.corpus["shapes:area"]
    assert "# comment" in task.corpus["shapes:area"]
    assert task.queries == {
        "q:shapes:Shape.corners": "Count the points where edges meet.",
        "q:shapes:area": "Multiply two sides of a rectangle.",
    }


def test_a_python_without_sources_is_an_error_that_says_where_it_looked(tmp_path: Path):
    with pytest.raises(BadData, match=f"no Python sources in {tmp_path}"):
        load_stdlib_code(TaskOptions(), tmp_path)


def test_it_takes_a_trec_file_but_no_other_qrels_config(library: Path):
    file = library / "mine.qrels"
    file.write_text("q:shapes:area 0 shapes:Shape.named 1\n")
    task = load_stdlib_code(TaskOptions(qrels=str(file)), library)
    assert task.qrels == {"q:shapes:area": {"shapes:Shape.named": 1}}
    assert task.notes["queries without a positive"].count == 1
    with pytest.raises(UnknownName, match="did you mean qrels"):
        load_stdlib_code(TaskOptions(qrels="qrelz"), library)
