"""Rules for the package: who may import whom, what a wheel contains, what starts fast."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    *("torch", "transformers", "vllm", "ray", "ranx", "numba", "pandas", "datasets", "faiss"),
    "bm25s",
}
ORDER = [
    *("errors", "types", "flags", "folders", "progress", "quiet", "signatures", "prompt"),
    *("tasks", "engines", "pools", "reranking", "runs", "suite", "evaluation", "report"),
    *("inspect", "integrations", "api", "cli"),
]
"""Parts of harness/; each may import those before it."""


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "harness").parts[0].removesuffix(".py")


def imports(path: Path, *, top_level_only: bool = False) -> list[tuple[str, int]]:
    """(module, level) of every import; those under TYPE_CHECKING and in functions on demand."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: list[tuple[str, int]] = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(name, node.level) for name in names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
    return found


def harness_files() -> list[Path]:
    return sorted((ROOT / "harness").rglob("*.py"))


def test_each_part_of_the_harness_imports_only_what_comes_before_it():
    for path in harness_files():
        part, depth = part_of(path), len(path.relative_to(ROOT / "harness").parts)
        if part == "__init__":
            continue
        for module, level in imports(path):
            assert not module.startswith("rerank_bench"), f"{path} imports {module} absolutely"
            if level == depth:
                target, _, file = module.partition(".")
                assert ORDER.index(target) < ORDER.index(part), f"{path} imports {target}"
                assert not file or part == "cli", f"{path} imports the file {module}"


def test_heavy_packages_are_imported_only_inside_functions():
    for path in harness_files():
        tops = {module.partition(".")[0] for module, _ in imports(path, top_level_only=True)}
        assert part_of(path) == "engines" or not tops & HEAVY, f"{path} imports {tops & HEAVY}"


def test_no_two_classes_of_the_harness_share_a_name():
    """Those of integrations are used with another tool's names, and not with the harness's own."""
    found: dict[str, list[str]] = {}
    for path in harness_files():
        if part_of(path) == "integrations":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in found.items() if len(paths) > 1}


@pytest.mark.parametrize("folder", ["rerankers", "tests"])
def test_rerankers_and_tests_import_the_package_as_a_stranger_does(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for module, level in imports(path):
            assert level == 0 or folder == "rerankers", f"{path} imports relatively"
            first = module.partition(".")[0]
            assert first not in {"harness", "prompts"} or level, f"{path} imports {module}"
            files = module.startswith("rerank_bench.") and module.count(".") > 1
            assert folder == "tests" or not files, f"{path} imports a file, not a folder: {module}"


def test_no_folder_of_the_root_is_imported_under_its_own_name():
    assert not {"harness", "rerankers", "prompts"} & set(sys.modules)


def test_a_wheel_has_every_file_of_the_three_folders(tmp_path):
    source = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    folders = {"harness": "rerank_bench", "rerankers": "rerank_bench/rerankers"}
    folders["prompts"] = "rerank_bench/prompts"
    wanted = {
        f"{home}/{Path(name).relative_to(folder).as_posix()}"
        for folder, home in folders.items()
        for name in listed
        if name.startswith(folder + "/")
    }
    assert packed == wanted


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.process_time()\n"
        "from rerank_bench.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(time.process_time() - start, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *modules = done.stdout.splitlines()[-1].split()
    assert not HEAVY & {name.partition(".")[0] for name in modules}
    assert float(seconds) < 0.5


def test_the_changelog_and_the_package_agree_on_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in changelog or f"## {version}" in changelog


def test_every_dependency_of_the_package_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["demo"], *extras["dev"]]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    names = {w.partition(">")[0].partition("=")[0].strip().lower() for w in wanted}
    assert names <= pinned
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_public_names_are_sorted_and_all_there():
    import rerank_bench

    assert list(rerank_bench.__all__) == sorted(rerank_bench.__all__)
    for name in rerank_bench.__all__:
        assert getattr(rerank_bench, name) is not None


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_a_benchmark_imports_only_names_that_exist(path, monkeypatch):
    monkeypatch.syspath_prepend(path.parent)
    runpy.run_path(str(path), run_name="benchmark")
