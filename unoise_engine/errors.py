"""Every failure a user can cause, as a sentence with a next step.

EngineError                 exit 1
├── CaseError               1  one case is not explained; the others go on (carries a short CODE)
│   ├── CaseRefused            the input cannot be explained as given
│   └── CaseFailed             the machine or the engine failed on it
│       └── ModelFault         the model answered what no map can be made of
├── Usage                   2  a wrong option, or nothing to read at all
├── Environment             3  the machine lacks something: no model, output not writable, disk full
│   └── MissingExtra        3  an optional package is needed: names the pip extra
├── Integrity               4  a model bundle is altered, incomplete or of another version
└── Interrupted           130  Ctrl-C or a signal; nothing half-written is left

Signalled                 130, 143  the same on its way up, before anybody knows how far the work has come: no Exception

The command line prints the one sentence and exits with the code; Slicer shows the same sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class EngineError(Exception):
    """Base class: which file or option (`source`), `what` is wrong with it, and what to do about it (`cure`).

    The message is the three, joined: ``source - what - cure``. Programs read the three.
    """

    exit_code = 1

    def __init__(self, source: object, what: str, cure: str):
        self.source, self.what, self.cure = (printable(str(part)) for part in (source, what, cure))
        super().__init__(f"{self.source} - {self.what} - {self.cure}")

    @property
    def code(self) -> str:
        """One word for tables and filters."""
        return type(self).__name__

    @property
    def facts(self) -> dict[str, str]:
        """The failure as data: code, source, what, cure."""
        return {"code": self.code, "source": self.source, "what": self.what, "cure": self.cure}

    def __reduce__(self) -> tuple[Any, ...]:
        """So that it comes back from another process as what it was."""
        return type(self), (self.source, self.what, self.cure)


class CaseError(EngineError):
    """One case is not explained; the others go on. `code` is a short upper-case word, for example ``NOT_3D``."""

    status: str

    def __init__(self, code: str, source: object, what: str, cure: str):
        super().__init__(source, what, cure)
        self._code = code

    @property
    def code(self) -> str:
        return self._code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.source, self.what, self.cure)


class CaseRefused(CaseError):
    """The case cannot be explained as given."""

    status = "REFUSED"


class CaseFailed(CaseError):
    """The case may be fine, but the machine, the model or the engine failed on it."""

    status = "FAILED"


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
        super().__init__(package, "is needed here but not installed", f"run: {install_line(extra)}")
        self._extra = package, extra

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._extra


def install_line(extra: str = "", package: str = "") -> str:
    """What to type for an extra, or for one package that is always needed. The engine is on no index, and how it came
    here is unknown: so the packages are named, as its own metadata do."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        wanted = [line.partition(";") for line in requires("unoise-engine") or ()]
    except PackageNotFoundError:  # run from a source tree
        return f'pip install ".{f"[{extra}]" if extra else ""}" in a clone of the repository'
    of_extra = [
        name.strip() for name, _, marker in wanted if extra and f"extra == '{extra}'" in marker.replace('"', "'")
    ]
    always = [name.strip() for name, _, marker in wanted if "extra ==" not in marker]
    own = [name for name in always if package and name.lower().startswith(package.lower())]
    return "pip install " + " ".join(f'"{name}"' for name in of_extra or own or always)


class Integrity(EngineError):
    """A bundle or a run is not what its hashes say, incomplete, or of another version."""

    exit_code = 4


class ModelFault(CaseFailed):
    """A model's answer is not finite, or of the wrong shape."""

    def __init__(self, source: object, what: str, cure: str):
        super().__init__("MODEL", source, what, cure)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.source, self.what, self.cure)


class Interrupted(EngineError):
    """Ctrl-C or a signal ended the work; 130 as shells have it."""

    exit_code = 130


class Signalled(BaseException):
    """A signal ends the work. Whoever it passes on its way up and who knows sets `what` is done and the `cure`."""

    def __init__(self, number: int, source: str):
        super().__init__(source)
        self.exit_code = 128 + number  # as shells have it
        self.source, self.what, self.cure = source, "", ""

    @property
    def facts(self) -> dict[str, str]:
        return {"code": "Interrupted", "source": self.source, "what": self.what, "cure": self.cure}


def error_from(facts: Mapping[str, str]) -> EngineError:
    """The failure again whose `facts` came from another process; a case's is taken for a refusal."""
    parts = facts["source"], facts["what"], facts["cure"]
    kinds = {kind.__name__: kind for kind in (EngineError, Usage, Environment, Integrity, Interrupted)}
    kinds["MissingExtra"] = Environment
    kind = kinds.get(facts["code"])
    return kind(*parts) if kind else CaseRefused(facts["code"], *parts)
