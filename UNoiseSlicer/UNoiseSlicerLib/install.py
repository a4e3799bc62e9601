"""The one package that the engine needs and Slicer lacks: asks once, installs only it, helps those without internet.

Nothing of Slicer's own Python is touched: the wheel is installed without its dependencies, since what the engine uses
of onnxruntime needs numpy alone, which Slicer brings.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import sysconfig
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"


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


def ensure(ui: Any, wanted: list[str] | None = None) -> str:
    """Asks, installs what is missing, and returns "" or the sentence to show.

    `ui` has Slicer's confirmOkCancelDisplay(text, title) and pip_install(arguments): slicer.util.
    """
    absent = missing(requirements() if wanted is None else wanted)
    if not absent:
        return ""
    names = ", ".join(absent)
    question = _(
        "The engine needs one more Python package: {names} (about 20 MB, from the Python Package Index).\n\n"
        "Install it into Slicer now? Nothing else in Slicer's Python is changed."
    ).format(names=names)
    if not ui.confirmOkCancelDisplay(question, _("U-Noise")):
        return _("{names} is not installed - click Explain again to install it.").format(names=names)
    try:
        ui.pip_install(pip_arguments(absent))
    except Exception:  # pip's own error: a process's exit code, of a type that depends on Slicer's version
        return wheel_message()
    return "" if not missing(absent) else wheel_message()


def pip_arguments(what: list[str]) -> str:
    """--no-deps: numpy, protobuf and the like stay as Slicer has them. Wheels only: nothing is compiled."""
    return " ".join(["--no-deps", "--only-binary=:all:", *(f'"{w}"' for w in what)])


def wheel_message() -> str:
    """For a computer without internet: which file to bring, and what to do with it."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = re.sub(r"[^a-z0-9]+", "_", sysconfig.get_platform())
    return _(
        "onnxruntime is missing and could not be installed from the internet - elsewhere download the file "
        "onnxruntime-...-{tag}-...-{machine}.whl (1.20 or newer) from the Python Package Index (package onnxruntime), "
        "bring it here, and "
        "in Slicer's Python console run: slicer.util.pip_install('--no-deps \"/path/to/the/file.whl\"')"
    ).format(tag=tag, machine=machine)
