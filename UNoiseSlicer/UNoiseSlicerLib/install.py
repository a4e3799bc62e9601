"""The one package that the engine needs and Slicer lacks: asks once, installs only it, helps those without internet.

Nothing of Slicer's own Python is touched: the wheel is installed without its dependencies, since what the engine uses
of onnxruntime needs numpy alone, which Slicer brings. Hence slicer.util.pip_install, not slicer.packaging.pip_ensure,
which would install them.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from UNoiseSlicerLib.exchange import Refused

PACKAGE = "onnxruntime"
REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"


class PackageMissing(Refused):
    """The engine's package is not there; a wheel from a file would help."""


def requirements(path: Path = REQUIREMENTS) -> list[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def missing(wanted: list[str]) -> list[str]:
    """The requirements (name>=version) that this Python does not satisfy."""
    return [line for line in wanted if not _satisfied(line)]


def _satisfied(requirement: str) -> bool:
    name, _sep, least = requirement.partition(">=")
    importlib.invalidate_caches()
    found = None
    for distribution in (name.strip(), f"{name.strip()}-gpu"):
        try:
            found = importlib.metadata.version(distribution)
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    return found is not None and _numbers(found) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:3])


def ensure(ui: Any, wanted: list[str] | None = None) -> None:
    """Asks, and installs what is missing. Raises PackageMissing.

    `ui` has Slicer's confirmOkCancelDisplay(text, title) and pip_install(list of arguments): slicer.util.
    """
    absent = missing(requirements() if wanted is None else wanted)
    if not absent:
        return
    names = ", ".join(absent)
    question = _(
        "The engine needs one more Python package: {names} (about 20 MB, from the Python Package Index).\n\n"
        "Install it into Slicer now? Nothing else in Slicer's Python is changed."
    ).format(names=names)
    if not ui.confirmOkCancelDisplay(question, _("U-Noise")):
        raise PackageMissing(
            _("{names} is not installed - click Explain again to install it, or Install from file.").format(names=names)
        )
    try:
        # --no-deps: numpy, protobuf and the like stay as Slicer has them. Wheels only: nothing is compiled.
        ui.pip_install(["--no-deps", "--only-binary=:all:", *absent])
    except Exception:  # pip's own error: a process's exit code, of a type that depends on Slicer's version
        raise PackageMissing(wheel_message()) from None
    if missing(absent):
        raise PackageMissing(wheel_message())


def wheel_message() -> str:
    """For a computer without internet: which file to bring, and what to do with it."""
    return _(
        "onnxruntime is missing and could not be installed from the internet - on another computer download "
        "{wheel} (1.20 or newer) from the Python Package Index (pypi.org, project onnxruntime, Download files), bring "
        "it here, and click Install from file."
    ).format(wheel=wheel_name())


def wheel_name() -> str:
    """The pattern of the wheel's file name for this Python and this computer."""
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
        ui.pip_install(["--no-index", "--no-deps", str(path)])
        trouble = _("it is not there afterwards") if missing(wanted) else ""
    except Exception as error:  # pip's own error, see above
        trouble = str(error) or type(error).__name__
    if trouble:
        raise PackageMissing(
            _("{file} could not be installed ({trouble}) - download it again, or see Slicer's Python console.").format(
                file=path.name, trouble=trouble)
        )  # fmt: skip
    return _("{file} is installed - click Explain.").format(file=path.name)


def _unfit(path: Path, wanted: list[str]) -> str:
    """Why a wheel does not serve; empty if it does, by its name."""
    from packaging import tags, utils

    try:
        name, version, _build, made_for = utils.parse_wheel_filename(path.name)
    except utils.InvalidWheelFilename:
        return _("its name is not that of a wheel")
    if name not in (PACKAGE, f"{PACKAGE}-gpu"):
        return _("it is {name}, not {wanted}").format(name=name, wanted=PACKAGE)
    least = next((line.partition(">=")[2] for line in wanted if line.startswith(PACKAGE)), "0")
    if _numbers(str(version)) < _numbers(least):
        return _("version {version} is too old").format(version=version)
    if made_for.isdisjoint(tags.sys_tags()):
        return _("it is made for another Python or another kind of computer")
    return ""
