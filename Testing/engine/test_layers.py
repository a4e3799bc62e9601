"""The layering as a test: who may import whom, and where the heavy packages may appear."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "unoise_engine"

# Who may import whom. cli and demo may import everything; errors, files and the package itself are open to all.
MAY_IMPORT = {
    "errors": set(),
    "files": set(),
    "progress": set(),
    "shipped": set(),
    "ct": set(),
    "trust": {"ct"},
    "archive": {"ct"},
    "prepare": {"ct"},
    "methods": set(),
    "evaluate": {"ct", "bundle", "methods", "progress", "shipped"},
    "overview": {"methods"},
    "bundle": {"ct", "shipped", "trust"},
    "pipeline": {"ct", "bundle", "methods", "progress", "trust"},
    "results": {"ct", "bundle", "methods", "overview", "pipeline", "progress", "trust"},
    "obscure": {"ct", "bundle", "evaluate"},
    "send": set(),
    "batch": {"ct", "bundle", "methods", "pipeline", "results", "overview", "progress"},
    "run": {"ct", "bundle", "methods", "pipeline", "progress", "results", "batch"},
    "convert": {"ct", "methods", "progress"},
    "worker": {"run", "convert", "progress"},
    "phantom": {"ct"},
    "painted": {"ct", "phantom", "shipped"},
    "training": {"ct", "bundle", "evaluate", "methods", "phantom", "trust"},
    "benchmark": {
        "ct",
        "bundle",
        "evaluate",
        "methods",
        "phantom",
        "pipeline",
        "progress",
        "results",
        "training",
    },
    "reproduce": {"ct", "bundle", "evaluate", "methods", "phantom", "progress", "shipped", "training"},
}
ENTRIES = {"cli", "demo", "__init__", "__main__"}
HEAVY = {
    "torch": {"training"},
    "lightning": {"training"},
    "onnx": {"training"},
    "safetensors": {"training"},
    "captum": {"training"},
    "monai": {"training"},
    "onnxruntime": {"bundle"},
    "SimpleITK": {"ct", "archive"},
    "pydicom": {"ct", "send"},
    "highdicom": {"ct"},
    "pynetdicom": {"send"},
    "dicomweb_client": {"send"},
    "matplotlib": {"overview", "evaluate"},
    "PIL": {"overview"},
    "typer": {"cli"},
    "distributed": {"batch"},
    "dask": {"batch"},
    "cryptography": {"bundle"},
    "scipy": {"painted"},
    "rich": {"progress", "demo", "training"},
}
NOWHERE = {"slicer", "qt", "ctk", "vtk", "pickle", "requests", "urllib.request"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def test_imports_point_one_way():
    wrong, seen = [], 0
    for path in ENGINE.rglob("*.py"):
        home = path.relative_to(ENGINE).parts[0].removesuffix(".py")
        assert home in MAY_IMPORT or home in ENTRIES, f"{path}: give it a place in the layering"
        for name in imports(path):
            top, _, rest = name.partition(".")
            if {top, name} & NOWHERE or home not in HEAVY.get(top, {home}):
                wrong.append(f"{path.name} imports {name}")
            if top == "unoise_engine" and rest and home in MAY_IMPORT:
                seen += 1
                target = rest.partition(".")[0]
                if target not in {home, "errors", "files"} | MAY_IMPORT[home]:
                    wrong.append(f"{path.name} imports {name}")
    assert seen > 20, "the test looked at nothing"
    assert not wrong, wrong


@pytest.mark.parametrize("module", ["unoise_engine.cli", "unoise_engine"])
def test_nothing_heavy_at_start(module):
    heavy = sorted({*HEAVY, "numpy"} - {"typer", "rich"})
    code = f"import {module}, sys; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
