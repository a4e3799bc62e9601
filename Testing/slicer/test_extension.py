"""The extension as files: what CMake would package, what the Extensions Index asks, the .ui, and every module's source.

Needs no Slicer and no Qt.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "UNoiseSlicer"
SOURCES = sorted(MODULE.rglob("*.py"))
UI = MODULE / "Resources" / "UI" / "UNoiseSlicer.ui"
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
SCRIPTED = Path("lib/Slicer-5.x/qt-scripted-modules")
# The index accepts these keys (schema 1.0.2) and, of its fixed list, this category fits.
REQUIRED_KEYS = {"$schema", "category", "scm_url"}
OPTIONAL_KEYS = {"scm_revision", "build_dependencies", "build_subdirectory", "tier"}
LARGEST_CHECKOUT_MB = 100
MRML_ONLY = {"annotation.py", "axial.py", "body.py", "compare.py", "display.py", "exchange.py", "fingerprint.py",
             "naming.py", "report_page.py", "scene.py", "scene_tests.py", "segmentation.py", "space.py",
             "under_cursor.py", "volumes.py"}  # fmt: skip


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `cmake --install` puts into a package, with stand-ins for Slicer's macros."""
    cmake = shutil.which("cmake") or shutil.which("cmake", path=str(Path(sys.executable).parent))
    if cmake is None:
        pytest.skip("cmake is not installed: the package is not built")
    build, prefix = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("prefix")
    stand_in = Path(__file__).parent / "stand_in_slicer"
    for command in (
        [cmake, "-S", str(ROOT), "-B", str(build), f"-DSlicer_DIR={stand_in}", f"-DCMAKE_INSTALL_PREFIX={prefix}"],
        [cmake, "--install", str(build), "--component", "RuntimeLibraries"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return build, prefix / SCRIPTED


def tree(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def test_no_file_of_the_module_is_forgotten(package: Any) -> None:
    _build, installed = package
    wanted = tree(MODULE) - {"CMakeLists.txt"}
    assert {f for f in tree(installed) if not f.startswith("unoise_engine/")} == wanted


def test_the_engine_travels_with_the_module_without_training_and_laboratory(package: Any) -> None:
    build, installed = package
    engine = {f for f in tree(ROOT / "unoise_engine") if f.endswith(".py") and not f.startswith(("training/", "lab/"))}
    models = {f"resources/models/{f}" for f in tree(ROOT / "Resources" / "Models")}
    assert tree(installed / "unoise_engine") == engine | models
    assert tree(build / SCRIPTED / "unoise_engine") == engine | models, "the build tree runs too"
    assert (build / "unittests.txt").read_text() == "UNoiseSlicer.py\n"


def test_the_packaged_engine_runs(package: Any) -> None:
    """Without the source tree in sight: it refuses an empty request with its own sentence."""
    pytest.importorskip("SimpleITK")
    _build, installed = package
    done = subprocess.run(
        [sys.executable, "-m", "unoise_engine.worker"], cwd=installed, input="{}", capture_output=True, text=True,
        env={"PYTHONPATH": str(installed), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 2 and "is no request" in done.stderr
    where = subprocess.run(
        [sys.executable, "-c", "import unoise_engine; print(unoise_engine.__file__)"],
        cwd=installed, capture_output=True, text=True, env={"PYTHONPATH": str(installed), "PATH": ""},
    )  # fmt: skip
    assert where.stdout.startswith(str(installed))


def test_catalogue_entry() -> None:
    path = ROOT / "UNoise.json"
    raw, entry = path.read_bytes(), json.loads(path.read_text(encoding="utf-8"))
    assert b"\r" not in raw
    assert set(entry) >= REQUIRED_KEYS and set(entry) <= REQUIRED_KEYS | OPTIONAL_KEYS
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert entry["category"] == "Segmentation" and 1 <= entry["tier"] <= 5
    assert re.fullmatch(r"(https|git)://[^/]+/.+", entry["scm_url"])
    repository = entry["scm_url"].rstrip("/").split("/")[-1].removesuffix(".git")
    assert repository.startswith("Slicer") and not path.stem.startswith("Slicer")
    assert re.findall(r"project\s*\(\s*([^\s)]+)", CMAKE)[:1] == [path.stem]
    assert entry["scm_url"].removesuffix(".git") in CMAKE, "CMake and the catalogue name one repository"


def test_cmake_metadata_as_the_index_reads_it() -> None:
    """By the index's own regular expressions: one quoted string on one line."""
    icon = re.findall(r'set\s*\(EXTENSION_ICONURL\s*"([^"]+)"[ ]*\)', CMAKE)
    shots = re.findall(r'set\s*\(EXTENSION_SCREENSHOTURLS\s*"([^"]+)"\)', CMAKE)
    assert len(icon) == len(shots) == 1
    for url in [icon[0], *shots[0].split()]:
        assert url.startswith("https://") and url.endswith(".png")
        local = ROOT / url.split("/main/", 1)[1]
        assert local.read_bytes().startswith(b"\x89PNG"), f"{local} is no PNG"
    size = struct.unpack(">II", (ROOT / icon[0].split("/main/", 1)[1]).read_bytes()[16:24])
    assert size == (128, 128)
    for name in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "DEPENDS"):
        assert re.search(rf'set\(EXTENSION_{name} "[^"]+"\)', CMAKE), name


def test_licence_and_size() -> None:
    assert (ROOT / "LICENSE").is_file()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    total = sum((ROOT / f).stat().st_size for f in listed.stdout.split("\0") if f and (ROOT / f).is_file())
    assert total < LARGEST_CHECKOUT_MB * 1e6 / 2, "leave half for .git"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_source(path: Any) -> None:
    """Python 3.12 syntax, never torch, and layers: only the panel knows Qt, the scene knows neither Qt nor the app."""
    text = path.read_text(encoding="utf-8")
    body = ast.parse(text, feature_version=(3, 12))
    imported = {
        name.split(".")[0]
        for n in ast.walk(body)
        if isinstance(n, ast.Import | ast.ImportFrom)
        for name in ([a.name for a in n.names] if isinstance(n, ast.Import) else [n.module or ""])
    }
    assert not imported & {"torch", "unoise_engine", "onnxruntime", "SimpleITK", "matplotlib"}
    if path.name != "widget.py":
        assert not imported & {"qt", "ctk"}
    if path.name in MRML_ONLY:
        assert "slicer.app" not in text and "slicer.modules" not in text and "slicer.mrmlScene" not in text
    if path.name == "engine_process.py":
        assert not imported & {"slicer", "vtk"}
    assert "setStyleSheet" not in text


# Names, and what is looked for in the engine's own sentences; none goes to the screen as it is.
NAMES_AND_MATCHES = {
    "U-Noise for CT contributors",
    "Synthetic abdomen",
    "U-Noise DICOM",
    "U-Noise difference",
    "U-Noise hidden",
    "U-Noise importance",
    "standard input",
    "not installed",  # looked for in what the engine says
    r"No module named '([\w.]+)'",
}
SHOWN_BY = {"setText", "setToolTip", "addItem", "_say", "Refused", "ask_folder", "SetTitleText",
            "confirmOkCancelDisplay", "confirmYesNoDisplay", "setHorizontalHeaderLabels"}  # fmt: skip


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name != "scene_tests.py"], ids=lambda p: p.name)
def test_every_text_is_translatable(path: Any) -> None:
    """No literal text goes to the screen unless it passed through _()."""
    body = ast.parse(path.read_text(encoding="utf-8"))
    for call in ast.walk(body):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name == "_":
            assert isinstance(call.args[0], ast.Constant), f"line {call.lineno}: _() takes a literal, then .format()"
        if name in SHOWN_BY:
            for argument in call.args:
                bare = [n for n in ast.walk(argument) if isinstance(n, ast.Constant | ast.JoinedStr)]
                inside = {id(n) for t in ast.walk(argument) if isinstance(t, ast.Call) for n in ast.walk(t)}
                for n in bare:
                    spoken = isinstance(n, ast.JoinedStr) or (isinstance(n.value, str) and n.value.strip())
                    assert id(n) in inside or not spoken, f"line {n.lineno}: a text without _()"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name != "scene_tests.py"], ids=lambda p: p.name)
def test_no_sentence_goes_round_the_translator(path: Any) -> None:
    """Whatever way it takes to the screen: every literal of several words is a doc string, in _(), or named here."""
    body, fine = ast.parse(path.read_text(encoding="utf-8")), set()
    for n in ast.walk(body):
        if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(n.body[0], ast.Expr):
            fine.add(id(n.body[0].value))
        if isinstance(n, ast.Call) and getattr(n.func, "attr", getattr(n.func, "id", "")) in {"_", "translate"}:
            fine |= {id(inside) for inside in ast.walk(n)}
    several = re.compile(r"[A-Za-z]{2,} [A-Za-z(]{2,}")
    said = {
        n.value
        for n in ast.walk(body)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in fine and several.search(n.value)
    }
    assert {text for text in said if not text.startswith("<") and "SCT^" not in text} <= NAMES_AND_MATCHES


def test_tutorial_tells_the_messages_as_they_are() -> None:
    """Troubleshooting by the text of the message: a message that was reworded would not be found."""
    page = (ROOT / "docs/tutorials/slicer.md").read_text(encoding="utf-8")
    table = page.split("## Troubleshooting, by the text of the message")[1].split("\n\n")[1]
    lines = table.splitlines()[2:]
    rows = re.findall(r"^\| (.+?) \|", "\n".join(lines), re.MULTILINE)
    assert len(rows) == len(lines)
    literals = [
        n.value
        for path in (*SOURCES, *(ROOT / "unoise_engine").rglob("*.py"))
        for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    said = re.sub(r"\{\w*\}", "*", "\n".join(literals))
    assert len(rows) > 15 and rows[-1] == "anything else"
    for row in rows[:-1]:
        row = re.sub(
            r"code -9|\bpancreas\b|\bhighdicom\b|\bonnxruntime\b", lambda m: "code *" if m[0][0] == "c" else "*", row
        )
        for part in re.split(r"\.\.\.| / ", re.sub(r" \(also .+?\)", "", row)):
            assert part.strip(" )") in said, f"no message says: {part.strip()}"


def widgets() -> list[ET.Element]:
    return list(ET.parse(UI).getroot().iter("widget"))


def test_ui_declares_what_it_uses() -> None:
    root = ET.parse(UI).getroot()
    known = {c.findtext("class") for c in root.iter("customwidget")}
    used = {w.get("class", "") for w in widgets()}
    assert {c for c in used if c.startswith(("q", "ctk"))} <= known
    connected = {
        c.findtext("receiver") for c in root.iter("connection") if "mrmlSceneChanged" in c.findtext("signal", "")
    }
    need = {w.get("name") for w in widgets() if w.get("class", "").startswith("qMRML")} - {"UNoiseSlicer"}
    assert need == connected
    names = [w.get("name") for w in widgets()]
    assert len(names) == len(set(names))
    assert "styleSheet" not in UI.read_text(encoding="utf-8")


def test_ui_names_only_parameters_that_exist() -> None:
    text = (MODULE / "UNoiseSlicerLib" / "parameters.py").read_text(encoding="utf-8")
    node = next(n for n in ast.parse(text).body if isinstance(n, ast.ClassDef) and n.name.endswith("ParameterNode"))
    known = {ast.unparse(n.target) for n in node.body if isinstance(n, ast.AnnAssign)}
    bound = {p[0].text for p in ET.parse(UI).getroot().iter("property") if p.get("name") == "SlicerParameterName"}
    filled = {"model", "label", "methods", "methodParameters", "shownMethod"}
    assert bound <= known and known - bound == filled, "by the panel"


def test_ui_is_usable_by_keyboard_and_explains_itself() -> None:
    root = ET.parse(UI).getroot()
    order = [t.text for t in root.iter("tabstop")]
    interactive = {"QComboBox", "QCheckBox", "QSpinBox", "QPushButton", "ctkSliderWidget", "qMRMLNodeComboBox"}
    for w in widgets():
        if w.get("class") in interactive:
            assert w.get("name") in order, f"{w.get('name')} is not in the tab order"
            assert any(p.get("name") == "toolTip" for p in w.findall("property")), f"{w.get('name')} has no tool tip"
    buddies = {p[0].text for p in root.iter("property") if p.get("name") == "buddy"}
    assert {"inputSelector", "modelBox", "regionBox", "deviceBox", "methodBox", "shareSlider"} <= buddies
    assert order[0] == "inputSelector" and order.index("explainButton") < order.index("methodBox")


def test_ui_stands_in_the_order_of_a_run() -> None:
    """Top to bottom: volume, model, methods, slices, device; Explain, progress, message, log (closed); results."""
    panel = "widget[1]/layout/item/widget"
    root = ET.parse(UI).getroot()
    parts = [w.get("name") for w in root.findall(panel)]
    assert parts == ["inputsButton", "explainButton", "progressBar", "stageLabel", "messageLabel", "wheelButton",
                     "logButton", "resultsButton", "hiddenButton", "batchButton"]  # fmt: skip
    names = [w.get("name") for w in root.findall(f"{panel}[@name='inputsButton']//widget")]
    rows = ["inputSelector", "modelBox", "methodsBox", "estimateLabel", "regionBox", "firstBox", "lastBox",
            "deviceBox"]  # fmt: skip
    assert [n for n in names if n in rows] == rows
    log = next(w for w in widgets() if w.get("name") == "logButton")
    assert [p.findtext("bool") for p in log.findall("property") if p.get("name") == "collapsed"] == ["true"]


def test_ui_names_only_widgets_that_the_panel_uses() -> None:
    text = (MODULE / "UNoiseSlicerLib" / "widget.py").read_text(encoding="utf-8")
    used = set(re.findall(r"self\.ui\.(\w+)", text))
    assert used <= {w.get("name") for w in widgets()}


def test_requirements_are_ranges_and_touch_nothing_of_slicer() -> None:
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line.split("#")[0]) for line in lines if line and not line.startswith("#")]
    assert wanted and all([s.operator for s in one.specifier] == [">="] for one in wanted)
    assert not {one.name.lower() for one in wanted} & {"numpy", "simpleitk", "vtk", "pydicom", "torch"}
