"""Imports point down: which room of the project may import which, held against the syntax trees of all its files."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

BELOW_STAGES = {"inference", "data", "scoring", "registry"}
MAY_IMPORT: dict[str, set[str]] = {
    "registry": set(),
    "scoring": {"registry"},
    "data": {"registry"},
    "inference": {"registry"},
    "curation": BELOW_STAGES,
    "train": BELOW_STAGES,
    "eval": BELOW_STAGES,
    "plotting": BELOW_STAGES,
    "slurm": BELOW_STAGES | {"plotting"},
    "meds1": BELOW_STAGES | {"curation", "train", "eval", "plotting", "slurm"},
}
OUTSIDE = {"demo", "benchmarks", "tests", "docs"}  # they may import any room; no room imports them
OURS = OUTSIDE | MAY_IMPORT.keys()

NEVER_HEAVY = {"registry", "slurm", "meds1"}
NEVER = {"torch", "transformers", "pandas", "pyarrow"}
HEAVY_IN_FUNCTIONS_ONLY = {"inference", "data", "scoring"}  # imported by other rooms
SECONDS_TO_IMPORT = NEVER | {"trl", "vllm", "datasets"}


def violations(root: Path) -> list[str]:
    """One line for each import under `root` that breaks the rules, and for each room that the rules do not know."""
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        room = parts[0].removesuffix(".py")
        if parts[0].startswith(".") or room in OUTSIDE:
            continue
        where = path.relative_to(root)
        if room not in MAY_IMPORT:
            found.append(f"{where}: {room} is no room of the design; say in MAY_IMPORT what it may import")
            continue
        for line, target, lazy in _imports(ast.parse(path.read_text(encoding="utf-8"))):
            problem = _problem(room, target, lazy)
            if problem:
                found.append(f"{where}:{line}: {problem}")
    return found


def _problem(room: str, target: str, lazy: bool) -> str | None:
    if target in OURS and target != room and target not in MAY_IMPORT[room]:
        return f"{room} must not import {target}"
    if room in NEVER_HEAVY and target in NEVER:
        return f"{room} never imports {target}"
    if room in HEAVY_IN_FUNCTIONS_ONLY and target in SECONDS_TO_IMPORT and not lazy:
        return f"{room} imports {target} only inside functions"
    return None


def _imports(node: ast.AST, lazy: bool = False) -> Iterator[tuple[int, str, bool]]:
    """Line, top-level module and whether importing the file leaves it out, of each absolute import below `node`."""
    for child in ast.iter_child_nodes(node):
        for module in _modules(child):
            yield child.lineno, module.split(".")[0], lazy  # type: ignore[attr-defined]
        deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        )
        yield from _imports(child, lazy or deferred)


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        name = ast.unparse(node.func)
        if name in ("__import__", "import_module", "importlib.import_module"):
            return [str(node.args[0].value)]
    return []


def test_the_project_imports_point_down() -> None:
    assert violations(ROOT) == []


WRONG_ARROWS = [
    ("registry/a.py", "import scoring", "1: registry must not import scoring"),
    ("train/a.py", "from eval.run import f", "1: train must not import eval"),
    ("train/a.py", "def f():\n    from curation import x", "2: train must not import curation"),
    ("data/a.py", "from inference.chat import f", "1: data must not import inference"),
    ("slurm/a.py", "import eval.stage as e", "1: slurm must not import eval"),
    ("plotting/a.py", "import slurm", "1: plotting must not import slurm"),
    ("eval/a.py", "import importlib\nimportlib.import_module('train.x')", "2: eval must not import train"),
    ("scoring/a.py", "if TYPE_CHECKING:\n    import eval", "2: scoring must not import eval"),
    ("meds1.py", "from tests.cluster import throwaway", "1: meds1 must not import tests"),
    ("meds1.py", "def f():\n    import pandas as pd", "2: meds1 never imports pandas"),
    ("registry/a.py", "async def f():\n    import torch.nn", "2: registry never imports torch"),
    ("slurm/a.py", "from pyarrow import parquet", "1: slurm never imports pyarrow"),
    ("inference/a.py", "class A:\n    import vllm", "2: inference imports vllm only inside functions"),
]


@pytest.mark.parametrize(("path", "source", "expected"), WRONG_ARROWS)
def test_each_wrong_arrow_is_named(tmp_path: Path, path: str, source: str, expected: str) -> None:
    _write(tmp_path / path, source)
    assert violations(tmp_path) == [f"{path}:{expected}"]


def test_a_room_that_the_rules_do_not_know_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "extras/a.py", "")
    expected = "extras/a.py: extras is no room of the design; say in MAY_IMPORT what it may import"
    assert violations(tmp_path) == [expected]


def test_right_arrows_pass(tmp_path: Path) -> None:
    _write(tmp_path / "meds1.py", "def f():\n    import eval, slurm, plotting, registry")
    _write(tmp_path / "slurm/a.py", "import plotting, registry.errors\nfrom . import eval")
    _write(tmp_path / "inference/a.py", "def f():\n    import vllm, torch\nif TYPE_CHECKING:\n    import torch")
    _write(tmp_path / "train/a.py", "import torch\nfrom inference import chat\nfrom scoring import metrics")
    _write(tmp_path / "demo/a.py", "import train, eval, meds1")
    _write(tmp_path / ".venv/lib/a.py", "import eval")
    assert violations(tmp_path) == []


def test_the_command_and_its_ground_load_no_heavy_library() -> None:
    """The static rule cannot see what a third-party library pulls in; a fresh interpreter can."""
    rooms = [ROOT / "registry", ROOT / "slurm"]
    files = [ROOT / "meds1.py", *(path for room in rooms for path in sorted(room.rglob("*.py")))]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in files
        if path.name != "__main__.py"
    ]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(sorted(set(sys.modules) & {SECONDS_TO_IMPORT!r}))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (loaded.stdout, loaded.stderr) == ("[]\n", "")


def _write(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
