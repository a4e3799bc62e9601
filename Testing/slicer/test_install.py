"""The first use: one question, only what is missing, nothing of Slicer's touched, help without internet."""

from __future__ import annotations

import fnmatch
import platform
import re
import subprocess
import sys
import tomllib
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)

import slicer
from UNoiseSlicerLib import install

ROOT = Path(__file__).resolve().parents[2]


class User:
    """Answers the question; pip does what `pip` says."""

    def __init__(self, answer: Any = True, pip: Any = lambda _arguments: None) -> None:
        self.answer, self.pip = answer, pip
        self.asked: list[str] = []
        self.installed: list[list[str]] = []

    def confirmOkCancelDisplay(self, text: Any, _title: Any) -> Any:
        self.asked.append(text)
        return self.answer

    def pip_install(self, arguments: Any) -> None:
        self.installed.append(arguments)
        self.pip(arguments)


def offline(_arguments: Any) -> None:
    raise subprocess.CalledProcessError(1, "pip")


NOWHERE = ["unoise-no-such-package>=1"]


def test_nothing_is_asked_when_nothing_is_missing() -> None:
    user = User()
    install.ensure(user, ["numpy>=1.20"])
    assert user.asked == [] and user.installed == []


def test_one_question_and_only_what_is_missing() -> None:
    user = User()
    with pytest.raises(install.PackageMissing):
        install.ensure(user, ["numpy>=1.20", *NOWHERE, "numpy>=999"])
    assert len(user.asked) == 1 and NOWHERE[0] in user.asked[0]
    assert user.installed == [["--no-deps", "--only-binary=:all:", *NOWHERE, "numpy>=999"]]


def test_a_no_is_respected() -> None:
    user = User(answer=False)
    with pytest.raises(install.PackageMissing, match="not installed - click Explain again"):
        install.ensure(user, NOWHERE)
    assert user.installed == []


def test_slicers_own_tests_are_asked_nothing_and_install_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer answers its questions itself then, with yes."""
    user = User()
    monkeypatch.setattr(slicer, "app", types.SimpleNamespace(testingEnabled=lambda: True), raising=False)
    with pytest.raises(install.PackageMissing, match="is not installed"):
        install.ensure(user, NOWHERE)
    assert user.asked == [] and user.installed == []
    slicer.app.testingEnabled = lambda: False
    with pytest.raises(install.PackageMissing):
        install.ensure(user, NOWHERE)
    assert len(user.asked) == len(user.installed) == 1


def test_pip_is_told_who_asks_and_shows_no_message_of_its_own() -> None:
    """As far as this Slicer's pip_install takes it."""
    told = []

    class New(User):
        def pip_install(self, arguments: Any, **more: Any) -> None:
            told.append(more)

    class Newer(User):
        def pip_install(self, arguments: Any, constraints: Any = None, requester: Any = None) -> None:
            told.append({"requester": requester, "constraints": constraints})

    for user in (New(), Newer(), User()):
        with pytest.raises(install.PackageMissing):
            install.ensure(user, NOWHERE)
    assert told == [{"requester": "U-Noise", "show_progress": False}, {"requester": "U-Noise", "constraints": None}]


def test_the_question_tells_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "missing", lambda wanted: list(wanted))
    user = User(answer=False)
    with pytest.raises(install.PackageMissing):
        install.ensure(user)
    assert all(line in user.asked[0] for line in install.requirements())
    assert "16 to 28 MB" in user.asked[0] and "78 MB" in user.asked[0]


@pytest.mark.parametrize("machine", ["x86_64", "arm64"])
def test_which_versions_serve_is_told_with_the_wheel(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For Intel Macs, the last that was made for them: none of the newer has such a file."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    told = "1.23.2, the last for Intel Macs" if machine == "x86_64" else "1.25 or newer"
    line = f"onnxruntime>={told.split()[0].strip(',')}"
    assert f"{install.wheel_name()} ({told})" in install.wheel_message([line])


@pytest.mark.parametrize("system", ["win32", "linux", "darwin"])
def test_a_package_that_does_not_load_has_a_way_on(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    said = install.broken_message("is installed but does not load (DLL load failed)")
    assert said.startswith("onnxruntime is installed but does not load (DLL load failed) - ")
    assert "Install from file" in said and install.wheel_name() in said
    assert ("Visual C++" in said) == (system == "win32")


def test_without_internet_the_wheel_is_named() -> None:
    for pip in (offline, lambda _arguments: None):  # pip fails, or says it worked and it did not
        with pytest.raises(install.PackageMissing) as refusal:
            install.ensure(User(pip=pip), NOWHERE)
        assert "unoise-no-such-package-*" in str(refusal.value) and "Install from file" in str(refusal.value)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("system", "machine", "published"),
    [
        ("win32", "AMD64", "win_amd64"),
        ("darwin", "arm64", "macosx_14_0_arm64"),
        ("darwin", "x86_64", "macosx_13_0_x86_64"),
        ("linux", "x86_64", "manylinux_2_28_x86_64"),
        ("linux", "x86_64", "manylinux_2_27_x86_64.manylinux_2_28_x86_64"),
    ],
)
def test_the_name_is_that_of_the_published_wheels(
    system: Any, machine: Any, published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert fnmatch.fnmatch(f"onnxruntime-1.32.0-{python}-{python}-{published}.whl", install.wheel_name())


def wheel(folder: Any, name: Any = "onnxruntime-99.1-py3-none-any.whl", good: Any = True) -> Any:
    """A wheel of one module that says nothing, and asks for a numpy that does not exist."""
    path = folder / name
    package, version = re.split("-", name)[:2]
    info = f"{package}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("brought_on_a_stick.py", "")
        if good:
            z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
                                           "Requires-Dist: numpy>=999\n")  # fmt: skip
            z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            z.writestr(f"{info}/RECORD", "")
    return path


def test_a_wheel_from_a_file_is_installed_by_real_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an index, into a folder of its own, from a path with blanks; numpy is left alone."""
    home, stick = tmp_path / "site", tmp_path / "a stick"
    stick.mkdir()
    monkeypatch.syspath_prepend(str(home))

    def pip(arguments: Any) -> None:
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(home), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    wanted = ["onnxruntime>=99"]
    assert install.missing(wanted) == wanted
    said = install.install_file(User(pip=pip), wheel(stick), wanted)
    assert "onnxruntime-99.1-py3-none-any.whl is installed" in said and "Explain" in said
    said = install.install_file(User(pip=pip), wheel(stick), [*wanted, *NOWHERE])
    assert said.endswith("is installed - now unoise-no-such-package-*-py3-none-any.whl, too.")
    assert install.missing(wanted) == [] and (home / "brought_on_a_stick.py").is_file()
    assert sorted(p.name for p in home.iterdir() if "numpy" in p.name) == []
    with pytest.raises(install.PackageMissing, match="could not be installed"):
        install.install_file(User(pip=pip), wheel(stick, "onnxruntime-99.2-py3-none-any.whl", good=False), wanted)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("holiday.jpg", "not that of a wheel"),
        ("numpy-2.0-py3-none-any.whl", "it is numpy, not onnxruntime or protobuf"),
        ("protobuf-3.20.3-py2.py3-none-any.whl", "too old"),
        ("onnxruntime-1.9.0-py3-none-any.whl", "too old"),
        ("onnxruntime-1.32.0-cp27-cp27m-win32.whl", "another Python"),
        ("onnxruntime-1.32.0-cp312-cp312-plan9_vax.whl", "another kind of computer"),
    ],
)
def test_a_wheel_that_does_not_serve_is_refused_unopened(name: Any, reason: Any, tmp_path: Path) -> None:
    user = User()
    with pytest.raises(install.PackageMissing) as refusal:
        install.install_file(user, tmp_path / name)
    assert name in str(refusal.value) and reason in str(refusal.value) and install.wheel_name() in str(refusal.value)
    assert user.installed == []


def test_a_wheel_of_another_make_serves_too(tmp_path: Path) -> None:
    assert install._unfit(tmp_path / "onnxruntime_gpu-1.32.0-py3-none-any.whl", install.requirements()) == ""


def test_the_shipped_requirements_are_read() -> None:
    assert install.requirements() == ["onnxruntime>=1.25", "protobuf>=4.25.8"]
    assert install.missing(install.requirements()) == []


@pytest.mark.parametrize(
    ("system", "machine", "wanted"),
    [("darwin", "x86_64", "onnxruntime>=1.23.2"), ("darwin", "arm64", "onnxruntime>=1.25"),
     ("win32", "AMD64", "onnxruntime>=1.25"), ("linux", "x86_64", "onnxruntime>=1.25")],
)  # fmt: skip
def test_intel_macs_take_their_last_release(
    system: Any, machine: Any, wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from packaging import markers

    here = markers.default_environment() | {"sys_platform": system, "platform_machine": machine}
    monkeypatch.setattr(markers, "default_environment", lambda: here)
    assert install.requirements() == [wanted, "protobuf>=4.25.8"]


def test_versions_are_compared_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "1.100.0+cpu")
    assert install.missing(["onnxruntime>=1.25", "onnxruntime>=1.101"]) == ["onnxruntime>=1.101"]


def test_every_wheel_that_is_missing_is_named() -> None:
    said = install.wheel_message(["onnxruntime>=1.25", "protobuf>=4"])
    assert install.wheel_name() in said and "protobuf-*-py3-none-any.whl" in said


def test_the_requirements_are_those_of_the_engine() -> None:
    """What the engine needs (pyproject.toml) and Slicer's Python lacks, in the same versions, which stand nowhere else
    in the module."""
    engine = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    needed = [line for line in engine if re.split("[<>=~ ;]", line)[0] in {"onnxruntime", "protobuf"}]
    lines = (line.split("#")[0].strip() for line in install.REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    assert sorted(line.replace('"', "'") for line in lines if line) == sorted(needed) and len(needed) == 3
    for path in (ROOT / "UNoiseSlicer").rglob("*.py"):
        assert not re.search(r"1\.2\d", path.read_text(encoding="utf-8")), path.name
