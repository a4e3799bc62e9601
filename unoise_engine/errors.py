"""Every failure a user can cause, as a sentence with a next step.

EngineError                 exit 1
├── CaseRefused             1  this input cannot be explained; the others go on (carries a short CODE)
├── Usage                   2  a wrong option, or nothing to read at all
├── Environment             3  the machine lacks something: no model, output not writable, disk full
│   └── MissingExtra        3  an optional package is needed: names the pip extra
├── Integrity               4  a model bundle is altered, incomplete or of another version
├── ModelFault              1  a model answered what no map can be made of: the case has failed
└── Interrupted           130  Ctrl-C or a signal; nothing half-written is left

The command line prints the one sentence and exits with the code; Slicer shows the same sentence.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base class. The message says what went wrong, with which file, and what to do about it."""

    exit_code = 1


class CaseRefused(EngineError):
    """One case cannot be explained as given.

    `code` is a short upper-case word for tables and filters (for example ``NOT_3D``); the message is
    ``file - what - cure``.
    """

    def __init__(self, code: str, source: object, what: str, cure: str):
        super().__init__(printable(f"{source} - {what} - {cure}"))
        self.code = code
        self._parts = code, str(source), what, cure

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str]]:
        """So that it comes back from another process as what it was."""
        return type(self), self._parts


def printable(text: str) -> str:
    """The text on one line of a terminal or log: line breaks, escape codes and broken bytes in file names are spelt."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Usage(EngineError):
    """An option or a file of the call is wrong; nothing was read or written yet."""

    exit_code = 2


class Environment(EngineError):
    """The machine lacks something: a model, space, the right to write."""

    exit_code = 3


class MissingExtra(Environment):
    """An optional package is not installed; the sentence names the extra that brings it."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is needed here but not installed - run: pip install 'unoise-engine[{extra}]'")


class Integrity(EngineError):
    """A bundle or a run is not what its hashes say, incomplete, or of another version."""

    exit_code = 4


class ModelFault(EngineError):
    """A model's answer is not finite, or of the wrong shape. In a batch the case has FAILED, the others go on."""

    code = "MODEL"


class Interrupted(EngineError):
    """Ctrl-C or a signal ended the work; 130 as shells have it."""

    exit_code = 130
