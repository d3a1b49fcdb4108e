"""Build a task without any data: find a function of Python's standard library by what it does.

The sources of the running Python are parsed with `ast` and never imported. A query is the first
sentence of a public function's docstring. Its only positive is that function's source without the
docstring. The corpus holds the sources of other functions too.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
import sysconfig
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import BadData, unknown
from .build import build_task
from .files import read_trec_qrels
from .table import Table
from .task import QRELS, Source, Task, TaskOptions

NAME = "stdlib-code"
INSTRUCTION = "Given what a Python function does, find its source code"

QUERIES, DOCUMENTS = 200, 1500
PER_FILE = 40  # no module may dominate the corpus: tkinter alone has over 400 documented methods
LINES = range(3, 61)
WORDS = range(4, 31)

# tests, bundled or generated code, folders outside the library, and programs with a window
_SKIPPED = frozenset(
    {"test", "tests", "idlelib", "lib2to3", "turtledemo", "tkinter", "ensurepip", "encodings"}
    | {"pydoc_data", "_pyrepl", "site-packages", "dist-packages", "lib-dynload", "__pycache__"}
)

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Function:
    """A public function.

    function_id: `module:qualified.name`.
    sentence: the first sentence of the docstring.
    code: the source without the docstring.
    """

    function_id: str
    sentence: str
    code: str


def load_stdlib_code(options: TaskOptions, library: Path | None = None) -> Task:
    """Return the task built from `library` (default: the running Python's standard library).

    The same sources give the same task on every machine: functions are selected by the sha256 of
    file and function names. Raises BadData if the sources are not installed.
    """
    folder = library or Path(sysconfig.get_path("stdlib"))
    functions = _corpus(folder)
    chosen = _queries(functions)
    if not chosen:
        raise BadData(f"{NAME}: no Python sources in {folder}; install them, or use another task")
    documents = {"_id": [f.function_id for f in functions], "text": [f.code for f in functions]}
    ids = [f"q:{f.function_id}" for f in chosen]
    qrels = Table(NAME, {"query-id": ids, "corpus-id": [f.function_id for f in chosen]})
    if options.judgements != QRELS:
        if not Path(options.judgements).is_file():
            raise unknown("qrels config or file", options.judgements, [QRELS])
        qrels = read_trec_qrels(Path(options.judgements))
    task = build_task(
        NAME,
        NAME,
        tables={
            "corpus": Table(NAME, documents),
            "queries": Table(NAME, {"_id": ids, "text": [f.sentence for f in chosen]}),
            "qrels": qrels,
        },
        source=Source(NAME, NAME, revision=platform.python_version()),
        options=options,
    )
    return replace(task, language="en", instruction=INSTRUCTION)


def _corpus(library: Path) -> list[Function]:
    chosen: dict[str, Function] = {}
    for file in _by_hash(_files(library)):
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        own = {f.function_id: f for f in _functions(library / file, module)}
        for function_id in _by_hash(own)[:PER_FILE]:
            chosen.setdefault(own[function_id].code, own[function_id])
        if len(chosen) >= DOCUMENTS:
            break
    return sorted([*chosen.values()][:DOCUMENTS], key=lambda f: f.function_id)


def _queries(functions: list[Function]) -> list[Function]:
    seen = Counter(f.sentence.casefold() for f in functions)
    unique = (f for f in functions if seen[f.sentence.casefold()] == 1)
    fit = {f.function_id: f for f in unique if _is_query(f)}
    return [fit[function_id] for function_id in _by_hash(fit)[:QUERIES]]


def _is_query(function: Function) -> bool:
    """Return whether the sentence is of some length, and neither code nor the function's name."""
    sentence, name = function.sentence, re.split(r"[:.]", function.function_id)[-1]
    words = re.findall(r"\w+", sentence.casefold())
    return (
        len(words) in WORDS
        and sentence[0].isalpha()
        and name.casefold() not in words
        and not re.search(r"\w\(|->|>>>|::|^@|[=<>|{}\\]", sentence)
        and sentence.rstrip(".").casefold() not in function.code.casefold()
    )


def _by_hash(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())


def _files(library: Path) -> Iterator[str]:
    for folder, inner, files in os.walk(library):
        inner[:] = [name for name in inner if name not in _SKIPPED and "." not in name]
        path = Path(folder).relative_to(library).as_posix()
        for name in files:
            # a private module repeats a public one (_pydecimal) or is generated (_sysconfigdata…)
            if name.endswith(".py") and (name == "__init__.py" or not name.startswith("_")):
                yield name if path == "." else f"{path}/{name}"


def _functions(file: Path, module: str) -> Iterator[Function]:
    try:
        source = file.read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):
        return  # the library has a few files with deliberate errors, or in other encodings
    lines = source.splitlines()
    for path, node in _defined(tree.body, ()):
        sentence = _first_sentence(ast.get_docstring(node) or "")
        code = _without_docstring(node, lines)
        if sentence and code.count("\n") + 1 in LINES:
            yield Function(f"{module}:{'.'.join(path)}", sentence, code)


def _defined(
    body: list[ast.stmt], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], _Function]]:
    """Yield the public functions and methods of public classes, the last of each name."""
    found: dict[str, _Function] = {}
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _defined(node.body, (*path, node.name))
        if isinstance(node, _Function) and not node.name.startswith("_"):
            found[node.name] = node
    yield from (((*path, name), node) for name, node in found.items())


def _first_sentence(docstring: str) -> str:
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph, maxsplit=1)[0]


def _without_docstring(node: _Function, lines: list[str]) -> str:
    """Return the function's lines, from its first decorator on, or nothing if no code is left."""
    rest = node.body[1:]
    if not rest:
        return ""
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
    docstring = node.body[0]
    kept = lines[first : docstring.lineno - 1] + lines[docstring.end_lineno : node.end_lineno]
    return textwrap.dedent("\n".join(kept)).strip("\n")
