"""Runs of a process under `strace`, which sees every system call of it and of its children."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# "?": not every processor's Linux has all of them.
CREATING = (
    "open openat openat2 creat mkdir mkdirat rename renameat renameat2 link linkat symlink symlinkat mknod mknodat"
)
NETWORK = ("socket", "connect", "bind", "listen")
CALLS = ",".join([*NETWORK, *(f"?{call}" for call in CREATING.split())])
CALL = re.compile(r"^\d+ +(\w+)\((.*)")
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')  # -y: a descriptor, and the folder behind it
# urllib3, imported by pydicom where an extra brought it, asks whether this machine knows IPv6: it binds a TCP socket to
# the machine itself and closes it; without `connect` or `listen` nothing comes of it. UNIX sockets stay on the machine.
HARMLESS = re.compile(r'AF_UNIX|^AF_INET6, SOCK_STREAM|AF_INET6, sin6_port=htons\(0\),.*"::1"')
NO_FILES = ("/dev/null",)


def needs_strace() -> None:
    """Skips where it cannot run, but fails in continuous integration."""
    if sys.platform != "linux":
        pytest.skip("strace: Linux only")
    tried = shutil.which("strace") and subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True)
    if not tried or tried.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("strace: apt-get install strace, and allow ptrace")


class Watched:
    """Runs of commands, each with an empty home and temporary folder; `network` and `written` say what they did."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cwd, self.temporary = folder, folder / "cwd", folder / "temporary"
        for new in (self.cwd, self.temporary, folder / "home"):
            new.mkdir(parents=True)
        self.network: list[str] = []
        self.written: list[Path] = []

    def run(self, *command: Any, text: Any = "", **variables: Any) -> Any:
        log = self.folder / "strace.log"
        own = {"HOME": self.folder / "home", "TMPDIR": self.temporary, "PYTHONPATH": ROOT, "PATH": os.environ["PATH"]}
        # Compiled modules beside their sources are Python's, and are there once a package is installed.
        own |= {"PYTHONDONTWRITEBYTECODE": "1", **variables}
        line = ["strace", "-f", "-y", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", log]
        run = subprocess.run(
            [*map(str, line), sys.executable, *map(str, command)],
            cwd=self.cwd,
            env={name: str(value) for name, value in own.items()},
            input=text,
            capture_output=True,
            text=True,
        )
        self._read(log.read_text(errors="replace"))
        return run

    def _read(self, log: Any) -> None:
        for name, rest in (found.groups() for found in map(CALL.match, log.splitlines()) if found):
            if name in NETWORK:
                if not HARMLESS.search(rest):
                    self.network.append(f"{name}({rest}")
            elif not name.startswith("open") or re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE", rest):
                start, path = PATH.findall(rest)[-1]
                whole = Path(os.path.normpath(self.cwd / start / path))
                if not str(whole).startswith(NO_FILES):
                    self.written.append(whole)

    def outside(self, *allowed: Any) -> Any:
        """What was written, or tried to be, neither there nor in the temporary folder."""
        homes = (self.temporary, *allowed)
        return sorted({str(p) for p in self.written if not any(p.is_relative_to(home) for home in homes)})

    def assert_quiet(self, run: Any, out: Any) -> None:
        """It worked, wrote `out` (a folder or file) and nothing else, and opened no connection."""
        assert run.returncode == 0, run.stderr
        assert any(p.is_relative_to(out) for p in self.written), "the watch saw nothing of the run"
        assert not self.network, self.network
        assert not self.outside(out), self.outside(out)
        assert not self.left(), self.left()

    def left(self) -> Any:
        """What lies now in the home, the temporary and the working folder."""
        return [str(p) for home in ("home", "temporary", "cwd") for p in (self.folder / home).rglob("*")]
