"""The floors of the house: imports only run down."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "graphgan"
FLOORS = [
    {"errors", "processes", "watch", "step_graph"},
    {"geometry", "data", "metrics", "cells", "models", "ranks"},
    {"reconstruction", "agreement", "draws", "rewards"},
    {"graph_tensor"},
    {"latents", "separations", "crystal_set", "image_tensor", "molecule_tensor"},
    {"objectives", "encodings"},
    {"networks", "training"},
    {"autoencoding", "testing", "images", "molecules"},
    {"checkpoint"},
    {"sampling", "stability"},
    {"config", "report"},
    {"cli"},
    {"__main__"},
]
TENSOR_BANK = {
    "ranks",
    "draws",
    "watch",
    "step_graph",
    "geometry",
    "reconstruction",
    "agreement",
    "separations",
    "graph_tensor",
    "crystal_set",
    "image_tensor",
    "molecule_tensor",
    "images",
    "molecules",
    "latents",
    "objectives",
    "networks",
    "training",
    "autoencoding",
}


def rooms():
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room != "__init__":
            yield pytest.param(room, path, id=str(path.relative_to(PACKAGE)))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "graphgan":
                yield from (f"graphgan.{alias.name}" for alias in node.names if alias.name != "__version__")


@pytest.mark.parametrize(("room", "path"), list(rooms()))
def test_imports_only_run_down(room, path):
    level = {name: i for i, floor in enumerate(FLOORS) for name in floor}
    assert room in level, f"{room} stands on no floor"
    names = list(imported(path))
    for name in names:
        if name.startswith("graphgan."):
            other = name.split(".")[1]
            assert other == room or level[other] < level[room], f"{path.name} imports {name}"
    outside = {name.split(".")[0] for name in names}
    if room in TENSOR_BANK:
        assert "pymatgen" not in outside
    if room in {"data", "metrics", "cells", "rewards"}:
        assert "torch" not in outside
    if room in {"objectives", "training"}:
        assert "graphgan.networks" not in names
    if room != "cli":
        assert "graphgan.config" not in names


@pytest.mark.parametrize(("room", "path"), list(rooms()))
def test_files_and_functions_stay_readable(room, path):
    text = path.read_text()
    assert text.count("\n") <= 400, f"{path.name} has grown past 400 lines"
    assert ast.get_docstring(ast.parse(text)), f"{path.name} does not say what it knows"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= 70, f"{path.name}: {node.name} has {lines} lines"


def test_no_junk_drawers():
    names = {path.stem for path in PACKAGE.rglob("*.py")}
    assert not names & {"utils", "util", "common", "misc", "helpers", "tools"}
