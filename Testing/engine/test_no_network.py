"""What the engine's processes ask of the system: no network, and no file anywhere but where they were told to write.

Every run starts with an empty home and an environment of its own, without the variables by which libraries know
continuous integration and keep quiet. `strace` sees every system call of the process and its children.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

from Testing.engine.conftest import ellipsoid_ct, image_of, question

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
# Not files that stay: devices, and semaphores between processes.
NO_FILES = ("/dev/null", "/dev/tty", "/dev/shm/", "/proc/self/")


def strace_works():
    return (
        shutil.which("strace")
        and not subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode
    )


@pytest.fixture(scope="module", autouse=True)
def strace():
    if sys.platform != "linux":
        pytest.skip("strace: Linux only")
    if not strace_works():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("strace: apt-get install strace, and allow ptrace")


class Watched:
    """Runs of commands, each with an empty home and temporary folder; `network` and `written` say what they did."""

    def __init__(self, folder: Path):
        self.folder, self.cwd, self.temporary = folder, folder / "cwd", folder / "temporary"
        for new in (self.cwd, self.temporary, folder / "home"):
            new.mkdir(parents=True)
        self.network: list[str] = []
        self.written: list[Path] = []

    def run(self, *command, text="", **variables):
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

    def _read(self, log):
        for name, rest in (found.groups() for found in map(CALL.match, log.splitlines()) if found):
            if name in NETWORK:
                if not HARMLESS.search(rest):
                    self.network.append(f"{name}({rest}")
            elif not name.startswith("open") or re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE", rest):
                start, path = PATH.findall(rest)[-1]
                whole = Path(os.path.normpath(self.cwd / start / path))
                if not str(whole).startswith(NO_FILES):
                    self.written.append(whole)

    def outside(self, *allowed):
        """What was written, or tried to be, neither there nor in the temporary folder."""
        homes = (self.temporary, *allowed)
        return sorted({str(p) for p in self.written if not any(p.is_relative_to(home) for home in homes)})

    def left(self):
        """What lies now in the home, the temporary and the working folder."""
        return [str(p) for home in ("home", "temporary", "cwd") for p in (self.folder / home).rglob("*")]


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path / "watched")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two CTs in a folder."""
    folder = tmp_path_factory.mktemp("cohort")
    for k in range(2):
        sitk.WriteImage(image_of(ellipsoid_ct(shape=(6, 40, 48 + k))), str(folder / f"ct{k}.nii.gz"))
    return folder


def assert_quiet(watched, run, out):
    assert run.returncode == 0, run.stderr
    assert any(p.is_relative_to(out) for p in watched.written), "the watch saw nothing of the run"
    assert not watched.network
    assert not watched.outside(out)
    assert not watched.left()


def test_the_watch_sees(watched):
    """A look-up, a listener, and files in the home, the working and the temporary folder, by several ways."""
    run = watched.run(
        "-c",
        "import os, pathlib, socket, subprocess, sys, tempfile\n"
        "home = pathlib.Path.home()\n"
        "(home / '.cache').mkdir()\n"
        "os.chdir(home)\n"
        "os.close(os.open('deviceid', os.O_CREAT | os.O_WRONLY))\n"
        "os.rename('deviceid', 'id')\n"
        "tempfile.mkstemp()\n"
        "socket.create_server(('127.0.0.1', 0)).close()\n"
        "code = 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect((\"127.0.0.1\", 53))'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n",
    )
    assert run.returncode == 0, run.stderr
    assert {Path(p).name for p in watched.outside()} == {".cache", "deviceid", "id"}
    assert {Path(p).name for p in watched.left()} > {".cache", "id"} and len(watched.left()) == 3
    said = "\n".join(watched.network)
    assert "listen(" in said and "SOCK_DGRAM" in said and "htons(53)" in said


def test_the_command(watched, cohort, tiny_bundle):
    """One case, in the process itself."""
    out = watched.folder / "out"
    run = watched.run("-m", "unoise_engine", "explain", cohort / "ct0.nii.gz", "-o", out, "--bundle", tiny_bundle)
    assert_quiet(watched, run, out)
    assert list(out.rglob("overview.png"))


def test_a_batch(watched, cohort, tiny_bundle):
    """Every case in a process of its own."""
    out, options = watched.folder / "out", ("--methods", "unoise", "--jobs", "2", "--format", "nrrd")
    run = watched.run("-m", "unoise_engine", "explain", cohort, "-o", out, "--bundle", tiny_bundle, *options)
    assert_quiet(watched, run, out)
    assert "2 ok" in run.stdout


def test_dicom(watched, tiny_bundle, tmp_path):
    pytest.importorskip("highdicom", reason="the extra 'dicom' is not installed")
    from Testing.engine.dicom.series import write_series

    series, out = write_series(tmp_path / "ct"), watched.folder / "out"
    options = ("--methods", "unoise", "--format", "dicom")
    assert_quiet(
        watched,
        watched.run("-m", "unoise_engine", "explain", series, "-o", out, "--bundle", tiny_bundle, *options),
        out,
    )


def test_the_worker(watched, cohort, tiny_bundle):
    """As 3D Slicer starts it."""
    out = watched.folder / "out"
    request = question((cohort / "ct0.nii.gz",), out, bundle=str(tiny_bundle), methods=("unoise",))
    assert_quiet(watched, watched.run("-m", "unoise_engine.worker", text=request), out)


def test_the_library(watched, cohort, tiny_bundle):
    """In a program that goes on: onnxruntime's telemetry began to look up names ten seconds after its start."""
    run = watched.run(
        "-c",
        "import sys, time, numpy, unoise_engine\n"
        "maps = unoise_engine.explain(sys.argv[1], methods=['unoise'], bundle=sys.argv[2])\n"
        "numpy.save(sys.argv[3], maps['importance-unoise'].voxels)\n"
        "time.sleep(13)\n",
        cohort / "ct0.nii.gz",
        tiny_bundle,
        watched.folder / "map.npy",
    )
    assert_quiet(watched, run, watched.folder / "map.npy")
