"""What the engine needs and Slicer lacks: asks once, installs only that, helps those without internet.

Nothing of Slicer's own Python is touched: the wheels are installed without their dependencies, since what the engine
uses of onnxruntime needs numpy alone, which Slicer brings, and protobuf needs nothing. Hence slicer.util.pip_install,
not slicer.packaging.pip_ensure, which would install them.

That a package is installed does not mean that it loads: this shows in the engine's own process (`broken_message`).
"""

from __future__ import annotations

import importlib.metadata
import inspect
import platform
import sys
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from UNoiseSlicerLib.exchange import Refused

PACKAGE = "onnxruntime"
REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"


class PackageMissing(Refused):
    """The engine's package is not there; a wheel from a file would help."""


def requirements(path: Path = REQUIREMENTS) -> list[str]:
    """The lines that are meant for this computer, without their conditions."""
    from packaging.requirements import Requirement

    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    wanted = [Requirement(line) for line in lines if line]
    return [f"{one.name}{one.specifier}" for one in wanted if one.marker is None or one.marker.evaluate()]


def missing(wanted: list[str]) -> list[str]:
    """The requirements (name>=version) that this Python does not satisfy."""
    return [line for line in wanted if not _satisfied(line)]


def _satisfied(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    importlib.invalidate_caches()
    for distribution in (wanted.name, f"{wanted.name}-gpu"):
        try:
            found = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return wanted.specifier.contains(found, prereleases=True)
    return False


def ensure(ui: Any, wanted: list[str] | None = None) -> None:
    """Asks, and installs what is missing; while Slicer runs its tests, neither. Raises PackageMissing.

    `ui` has Slicer's confirmOkCancelDisplay(text, title) and pip_install(list of arguments): slicer.util.
    """
    absent = missing(requirements() if wanted is None else wanted)
    if not absent:
        return
    names = ", ".join(absent)
    question = _(
        "The engine needs what Slicer lacks: {names}, from the Python Package Index.\n\n"
        "Install it into Slicer now? Nothing else in Slicer's Python is changed. Slicer does not answer meanwhile."
    ).format(names=", ".join(line + _size(line) for line in absent))
    # In tests Slicer's own question is answered with yes, by nobody.
    if _is_testing() or not ui.confirmOkCancelDisplay(question, _("U-Noise")):
        raise PackageMissing(
            _("{names} is not installed - click Explain again to install it, or Install from file.").format(names=names)
        )
    try:
        # --no-deps: numpy, protobuf and the like stay as Slicer has them. Wheels only: nothing is compiled.
        _pip(ui, ["--no-deps", "--only-binary=:all:", *absent])
    except Exception:  # pip's own error: a process's exit code, of a type that depends on Slicer's version
        raise PackageMissing(wheel_message(absent)) from None
    if left := missing(absent):
        raise PackageMissing(wheel_message(left))


def _size(requirement: str) -> str:
    return _(" (16 to 28 MB, up to 78 MB when installed)") if _package(requirement) == PACKAGE else ""


def _is_testing() -> bool:
    app = getattr(slicer, "app", None)
    return app is not None and bool(app.testingEnabled())


def _pip(ui: Any, arguments: list[str]) -> None:
    """Slicer's pip, told who asks where it takes that, and without its progress window: after a failure that window
    shows a message of its own, and ours would be the second."""
    try:
        takes = dict(inspect.signature(ui.pip_install).parameters)
    except ValueError:
        takes = {}
    anything = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    more = {"requester": _("U-Noise"), "show_progress": False}
    ui.pip_install(arguments, **{name: value for name, value in more.items() if anything or name in takes})


def wheel_message(absent: list[str] | None = None) -> str:
    """For a computer without internet: which files to bring, and what to do with them."""
    absent = absent or missing(requirements()) or requirements()
    return _(
        "{names} is missing and could not be installed from the internet - on another computer download {wheels} from "
        "the Python Package Index (pypi.org, Download files), bring it here, and click Install from file."
    ).format(names=", ".join(absent), wheels=_wheels(absent))


def broken_message(what: str) -> str:
    """For onnxruntime that is installed but does not load; `what` is wrong in the engine's words."""
    if sys.platform == "win32":
        text = _(
            "onnxruntime {what} - install the Microsoft Visual C++ Redistributable from microsoft.com and start Slicer "
            "again, or bring another version ({wheels}) and click Install from file."
        )
    else:
        text = _("onnxruntime {what} - bring another version of it ({wheels}) and click Install from file.")
    return text.format(what=what, wheels=_wheels([line for line in requirements() if _package(line) == PACKAGE]))


def _wheels(wanted: list[str]) -> str:
    """Patterns of file names, and which versions serve."""
    return ", ".join(f"{wheel_name(_package(line))} ({_versions(line)})" for line in wanted)


def _versions(requirement: str) -> str:
    version = requirement.partition(">=")[2]
    if _package(requirement) == PACKAGE and sys.platform == "darwin" and platform.machine().lower() == "x86_64":
        return _("{version}, the last for Intel Macs").format(version=version)
    return _("{version} or newer").format(version=version)


def _package(requirement: str) -> str:
    return requirement.partition(">=")[0]


def wheel_name(package: str = PACKAGE) -> str:
    """The pattern of the wheel's file name for this Python and this computer."""
    if package != PACKAGE:
        return f"{package}-*-py3-none-any.whl"
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = platform.machine().lower()
    system = {
        "win32": "win_arm64" if machine.startswith("arm") else "win_amd64",
        "darwin": f"macosx_*_{machine}",
    }.get(sys.platform, f"manylinux*_{machine}")
    return f"{PACKAGE}-*-{python}-{python}-{system}.whl"


def install_file(ui: Any, path: Path, wanted: list[str] | None = None) -> str:
    """Installs a wheel from a file, without internet, and returns a sentence. Raises PackageMissing."""
    wanted = requirements() if wanted is None else wanted
    reason = _unfit(path, wanted)
    if reason:
        raise PackageMissing(
            _("{file} cannot be used ({reason}) - choose a file named like {wheel}.").format(
                file=path.name, reason=reason, wheel=wheel_name())
        )  # fmt: skip
    try:
        _pip(ui, ["--no-index", "--no-deps", str(path)])
        absent = missing(wanted)
        trouble = _("it is not there afterwards") if path.name.startswith(tuple(map(_package, absent))) else ""
    except Exception as error:  # pip's own error, see above
        trouble = str(error) or type(error).__name__
    if trouble:
        raise PackageMissing(
            _("{file} could not be installed ({trouble}) - download it again, or see Slicer's Python console.").format(
                file=path.name, trouble=trouble)
        )  # fmt: skip
    if absent:
        return _("{file} is installed - now {wheel}, too.").format(
            file=path.name, wheel=wheel_name(_package(absent[0]))
        )
    return _("{file} is installed - click Explain.").format(file=path.name)


def _unfit(path: Path, wanted: list[str]) -> str:
    """Why a wheel does not serve; empty if it does, by its name."""
    from packaging import tags, utils
    from packaging.requirements import Requirement

    try:
        name, version, _build, made_for = utils.parse_wheel_filename(path.name)
    except utils.InvalidWheelFilename:
        return _("its name is not that of a wheel")
    needed = next((one for one in map(Requirement, wanted) if name in (one.name, f"{one.name}-gpu")), None)
    if needed is None:
        return _("it is {name}, not {wanted}").format(name=name, wanted=_(" or ").join(map(_package, wanted)))
    if not needed.specifier.contains(version, prereleases=True):
        return _("version {version} is too old").format(version=version)
    if made_for.isdisjoint(tags.sys_tags()):
        return _("it is made for another Python or another kind of computer")
    return ""
