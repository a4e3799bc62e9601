"""The first use: one question, only what is missing, nothing of Slicer's touched, help without internet."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)

from UNoiseSlicerLib import install


class User:
    """Answers the question; pip does what `pip` says."""

    def __init__(self, answer=True, pip=lambda _arguments: None):
        self.answer, self.pip, self.asked, self.installed = answer, pip, [], []

    def confirmOkCancelDisplay(self, text, _title):
        self.asked.append(text)
        return self.answer

    def pip_install(self, arguments):
        self.installed.append(arguments)
        self.pip(arguments)


def offline(_arguments):
    raise subprocess.CalledProcessError(1, "pip")


def test_nothing_is_asked_when_nothing_is_missing():
    user = User()
    assert install.ensure(user, ["numpy>=1.20"]) == "" and user.asked == user.installed == []


def test_one_question_and_only_what_is_missing():
    user = User()
    install.ensure(user, ["numpy>=1.20", "unoise-no-such-package>=1", "numpy>=999"])
    assert len(user.asked) == 1 and "unoise-no-such-package>=1" in user.asked[0]
    (arguments,) = user.installed
    assert arguments.startswith("--no-deps --only-binary=:all: ")
    assert "unoise-no-such-package" in arguments and '"numpy>=1.20"' not in arguments


def test_a_no_is_respected():
    user = User(answer=False)
    sentence = install.ensure(user, ["unoise-no-such-package>=1"])
    assert user.installed == [] and "not installed" in sentence and "again" in sentence


def test_without_internet_the_wheel_is_named():
    for pip in (offline, lambda _arguments: None):  # pip fails, or says it worked and it did not
        sentence = install.ensure(User(pip=pip), ["unoise-no-such-package>=1"])
        tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
        assert tag in sentence and ".whl" in sentence and "slicer.util.pip_install" in sentence and "\n" not in sentence


def test_the_shipped_requirements_are_read():
    assert install.requirements() == ["onnxruntime>=1.20"]


def test_versions_are_compared_as_numbers():
    assert install._numbers("1.20.0") > install._numbers("1.9") and install._numbers("2.5.1+cpu") == (2, 5, 1)
