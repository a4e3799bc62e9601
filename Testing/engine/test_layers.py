"""The rooms as a test: who may import whom, module by module, and where the heavy packages may appear."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "unoise_engine"

# Rooms from the ground up. A module may import from its own room and from those below, never from above.
ROOMS = ("volume", "models", "explanation", "results", "batch", "send", "evaluate", "training", "foreign", "lab", "cli")
GROUND = {
    "child",
    "drawing",
    "errors",
    "file_lock",
    "files",
    "lock",
    "progress",
    "shipped",
    "spreadsheet",
    "strict_json",
    "typed",
}  # open to all
ENTRIES = {"__init__", "__main__", "worker"}  # may import everything
NOT_IN_SLICER = ("training", "lab")
# Rooms that look down only so far.
BLIND = {
    "send": {"models", "explanation", "results", "batch"},
    "training": {"results", "batch", "send"},
    "foreign": {"results", "batch", "send", "evaluate", "training"},
}
HEAVY = {
    "torch": {"training", "foreign"},
    "lightning": {"training"},
    "onnx": {"training", "foreign"},
    "safetensors": {"training"},
    "captum": {"training"},
    "monai": {"training", "foreign"},
    "openvino": {"training"},
    "dynamic_network_architectures": {"foreign"},
    "onnxruntime": {"models.runtime"},
    "google": {"models.onnx_format"},  # protobuf
    "SimpleITK": {"volume", "models", "lab.archive", "results.explanation"},  # the last names its types alone
    "pydicom": {"volume", "results.dicom", "results.convert", "send"},
    "highdicom": {"results.dicom"},
    "pynetdicom": {"send"},
    "http": {"send"},
    "socket": {"send"},
    "matplotlib": {
        "drawing",
        "results.overview",
        "results.picture",
        "results.explanation",
        "evaluate.figures",
        "evaluate.panels",
    },
    "typer": {"cli"},
    "distributed": {"batch.cluster"},
    "dask": {"batch.cluster"},
    "cryptography": {"models.signature"},
    "scipy": {"lab.painted"},
    "rich": {"progress", "lab.demo", "training.progress"},
}
NOWHERE = {"slicer", "qt", "ctk", "vtk", "pickle", "requests", "urllib.request"}


@cache
def imports(path: Any) -> tuple[str, ...]:
    """Names of the modules that a file imports, inside functions and for type checking too."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [name for name in inner if (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()]
            found += known or [node.module or ""]
    return tuple(found)


def modules() -> Any:
    """Module's name within the engine -> its file."""
    for path in ENGINE.rglob("*.py"):
        parts = path.relative_to(ENGINE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path


def within(module: Any, places: Any) -> Any:
    return any(module == place or module.startswith(place + ".") for place in places)


def test_a_room_imports_downwards_only() -> None:
    wrong, seen = [], 0
    for module, path in modules():
        room = module.partition(".")[0]
        assert room in ROOMS or room in GROUND | ENTRIES, f"{path}: give it a room"
        for name in imports(path):
            top, _, rest = name.partition(".")
            if top != "unoise_engine" or not rest or room in ENTRIES:
                continue
            seen += 1
            target = rest.partition(".")[0]
            if target in GROUND:
                continue
            below = () if room in GROUND else ROOMS[: ROOMS.index(room) + 1]
            if target not in below or target in BLIND.get(room, ()):
                wrong.append(f"{module} imports {rest}")
    assert seen > 100, "the test looked at nothing"
    assert not wrong, wrong


def test_heavy_packages_stay_in_their_places() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, path in modules()
        for name in imports(path)
        if {name.partition(".")[0], name} & NOWHERE
        or (name.partition(".")[0] in HEAVY and not within(module, HEAVY[name.partition(".")[0]]))
    ]
    assert not wrong, wrong


def test_no_module_imports_itself_through_others() -> None:
    """No circle, imports for type checking and inside functions included."""
    files = dict(modules())
    needs = {
        module: {rest for name in imports(path) if (rest := name.removeprefix("unoise_engine.")) in files} - {module}
        for module, path in files.items()
    }
    done: set[str] = set()

    def follow(module: Any, way: Any) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for needed in needs[module]:
                follow(needed, [*way, module])
            done.add(module)

    for module in files:
        follow(module, [])


def test_the_slicer_module_knows_the_worker_alone() -> None:
    """Slicer's side never imports the engine, nor names one of its modules but the worker."""
    for path in (ROOT / "UNoiseSlicer").rglob("*.py"):
        assert not [name for name in imports(path) if name.partition(".")[0] in {"unoise_engine", "torch"}], path
        named = [
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith("unoise_engine.")
        ]
        assert set(named) <= {"unoise_engine.worker"}, path


def test_what_slicer_gets_needs_neither_training_nor_laboratory() -> None:
    """The worker's imports, followed through, never leave what CMake installs."""
    files = dict(modules())
    todo, seen = ["worker"], set()
    while todo:
        module = todo.pop()
        seen.add(module)
        assert not within(module, NOT_IN_SLICER), module
        found = (name.removeprefix("unoise_engine.") for name in imports(files[module]))
        todo += [name for name in found if name in files and name not in seen]
    assert len(seen) > 20
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert all(f'PATTERN "{room}" EXCLUDE' in cmake for room in NOT_IN_SLICER)


@pytest.mark.parametrize("module", ["unoise_engine.cli.app", "unoise_engine"])
def test_nothing_heavy_at_start(module: Any) -> None:
    heavy = sorted({*HEAVY, "numpy"} - {"typer", "rich"})
    code = f"import {module}, sys; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# What changes files goes through files.py, which knows what is ours. Elsewhere a draft that it gave is written to.
CHANGES = {
    "unlink", "rmtree", "rmdir", "rename", "renames", "removedirs", "move", "copy2", "copyfile", "copytree",
    "write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "truncate",
}  # fmt: skip
SAVES = {"savefig", "save", "save_as", "save_file", "WriteImage", "save_checkpoint", "imsave", "tofile", "savez"}
MAY_CHANGE = {
    "file_lock": "lock files, which are empty",
    "files": "the one place",
    "volume.decode": "one slice in a temporary folder of its own",
    "results.overview": "draws into a draft of its caller",
    "training.export": "ONNX files in a bundle that is being made",
    "volume.write": "ITK's header, into a draft",
}


def changes(tree: Any) -> Any:
    """Line and name of every call that changes files, but for writing into a draft."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        given = [ast.unparse(one) for one in (*node.args, *(k.value for k in node.keywords))]
        mode = next((text for text in given if re.fullmatch(r"'[rwaxbt+]+'", text)), "'r'")
        own = (
            "draft" in owner
            or any("draft" in text for text in given)
            or any(text.startswith("grow(") for text in given)
        )
        of_path = bool(owner) and len(given) == 1  # replace of a text takes two
        if name in CHANGES or (owner == "os" and name in ("remove", "replace")) or (name == "replace" and of_path):
            yield node.lineno, name
        elif name == "open" and not own and set(mode) & set("wax+"):
            yield node.lineno, f"open {mode}"
        elif name == "open" and owner == "os" and any("O_CREAT" in text or "O_WRONLY" in text for text in given):
            yield node.lineno, "os.open"
        elif name in SAVES and not own and owner not in ("self", "dataset"):
            yield node.lineno, name


def test_files_are_changed_in_one_place() -> None:
    wrong, found = [], set()
    for module, path in modules():
        for line, name in changes(ast.parse(path.read_text(encoding="utf-8"))):
            found.add(module)
            if module not in MAY_CHANGE:
                wrong.append(f"{path.relative_to(ENGINE)}:{line}: {name}")
    assert not wrong, wrong
    assert found == set(MAY_CHANGE), "an exception that nobody needs any more"


@pytest.mark.parametrize("line", [
    "path.unlink()", "shutil.rmtree(folder)", "os.replace(a, b)", "path.rename(b)", "path.write_text(text)",
    "os.remove(a)", "path.replace(b)",
    "path.open('w')", "open(path, mode='ab')", "path.open('r+b')", "figure.savefig(path)", "os.open(a, os.O_CREAT)",
])  # fmt: skip
def test_a_change_is_seen(line: Any) -> None:
    assert list(changes(ast.parse(line)))
