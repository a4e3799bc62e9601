"""The engine's process: lines in order, never waiting, and nothing left alive. No Slicer and no Qt; a real process."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # it is loaded by its path: see below
    from UNoiseSlicerLib.engine_process import EngineProcess

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "UNoiseSlicer" / "UNoiseSlicerLib" / "engine_process.py"
spec = importlib.util.spec_from_file_location("engine_process", SOURCE)
assert spec is not None and spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
PATIENCE_SECONDS = 30

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups: the branch for Windows is not tried")


def engine(tmp_path: Path, code: str, request: dict[str, Any] | None = None) -> EngineProcess:
    """A process whose unoise_engine.worker is this code."""
    package = tmp_path / "unoise_engine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "worker.py").write_text(code, encoding="utf-8")
    return module.EngineProcess(sys.executable, tmp_path, request or {}, os.environ)


def events_of(process: EngineProcess, until: Any = lambda event: False) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    end = time.monotonic() + PATIENCE_SECONDS
    while not process.ended and time.monotonic() < end:
        before = time.monotonic()
        for event in process.poll():
            events.append(event)
            if until(event):
                return events
        assert time.monotonic() - before < 1.0, "poll waited"
        time.sleep(0.01)
    return events


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_lines_come_in_order_and_end_comes_last(tmp_path: Path) -> None:
    code = (
        "import sys, json\n"
        "asked = json.loads(sys.stdin.buffer.read().decode())\n"
        "print(json.dumps({'event': 'progress', 'done': asked['größe']}))\n"
        "print('{half an object')\n"
        "print('[1, 2]')\n"
        "print('Rücken', file=sys.stderr)\n"
        "sys.exit(3)\n"
    )
    events = events_of(engine(tmp_path, code, {"größe": 7}))
    said = [e for e in events if e != {"event": "log", "text": "Rücken"}]
    assert len(said) == len(events) - 1
    assert said == [
        {"event": "progress", "done": 7},
        {"event": "log", "text": "{half an object"},
        {"event": "log", "text": "[1, 2]"},
        {"event": "end", "code": 3},
    ]


def test_a_flood_of_lines_blocks_nobody(tmp_path: Path) -> None:
    code = "for k in range(200_000): print('x' * 50)"
    events = events_of(engine(tmp_path, code))
    assert len(events) == 200_001 and events[-1]["code"] == 0


def held_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc: the memory held is not measured")
@pytest.mark.parametrize(
    "code",
    [
        "for k in range(400): sys.stdout.write('x' * (1 << 20))\nprint()",
        "for k in range(400): sys.stdout.write('x' * (1 << 20))",
        "for k in range(400): sys.stderr.write('x' * (1 << 20))",
        'sys.stdout.write(\'{"event": "progress", "stage": "\'); sys.stdout.write(\'x\' * (400 << 20)); print(\'"}\')',
    ],
)
def test_a_line_without_end_is_cut(tmp_path: Path, code: Any) -> None:
    """400 MB on one line, of text or of JSON: little of it is held, and what follows is heard."""
    before = held_mb()
    code = f'import sys\n{code}\nprint(\'\\n{{"event": "after"}}\')\nsys.exit(5)'
    most, events = 0.0, []

    def watch(event: Any) -> None:
        nonlocal most
        most = max(most, held_mb())

    events = events_of(engine(tmp_path, code), until=watch)
    assert most - before < 60
    assert {"event": "after"} in events and events[-1] == {"event": "end", "code": 5}
    cut = [e["text"] for e in events if e["event"] == "log" and e["text"]]
    assert len(cut) == 1 and len(cut[0]) < 2100 and cut[0].endswith(" ...")


@pytest.mark.parametrize("opening", ["[", '{"event":', '{"event": "progress", "done": ['])
def test_json_nested_without_end_is_a_line_of_the_log(tmp_path: Path, opening: Any) -> None:
    events = events_of(engine(tmp_path, f"print({opening!r} * 100_000)"))
    assert [e["event"] for e in events] == ["log", "end"] and events[-1]["code"] == 0


def test_an_engine_that_is_not_listened_to_waits(tmp_path: Path) -> None:
    """Lines without end: those that nobody took are not piled up, and a kill ends it all the same."""
    process = engine(tmp_path, "while True: print('x' * 50)")
    time.sleep(2)
    assert process._lines.qsize() <= module.LINES_AHEAD
    process.kill()
    assert not alive(process.pid)
    events = events_of(process)
    assert events[-1] == {"event": "end", "code": -9} and len(events) < 2 * module.LINES_AHEAD


def test_a_large_request_to_a_deaf_engine(tmp_path: Path) -> None:
    """The pipe fills up: the window must not wait for it."""
    started = time.monotonic()
    process = engine(tmp_path, "import time; time.sleep(60)", {"x": "y" * 5_000_000})
    assert process.poll() == [] and time.monotonic() - started < 5
    process.kill()
    assert not alive(process.pid)


def test_kill_ends_the_whole_tree(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        'print(\'{"event": "child", "pid": %d}\' % child.pid, flush=True)\n'
        "time.sleep(60)\n"
    )
    process = engine(tmp_path, code)
    child = events_of(process, until=lambda e: e["event"] == "child")[-1]["pid"]
    assert alive(process.pid) and alive(child)
    process.kill()
    end = time.monotonic() + 5
    while alive(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not alive(process.pid) and not alive(child)
    assert events_of(process)[-1] == {"event": "end", "code": -9}
    process.kill()  # harmless


def test_an_interpreter_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        module.EngineProcess(str(tmp_path / "python"), tmp_path, {}, {})


BEATS = """
import threading, time
print('{"event": "alive"}', flush=True)
def beat():
    while True:
        time.sleep(0.1)
        print('{"event": "alive"}', flush=True)
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 1.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("stopped", [False, True])
def test_an_engine_that_hangs_is_ended_and_said_so(tmp_path: Path, stopped: Any) -> None:
    """It gives no sign of life any more: by a fault of its own, or stopped by somebody. Nothing of it stays."""
    more = "threading.Thread(target=beat, daemon=True).start()\n" if stopped else ""
    process = engine(tmp_path, f'{BEATS}\n{more}print(\'{{"event": "asked"}}\', flush=True)\ntime.sleep(100)')
    assert events_of(process, until=lambda e: e["event"] == "asked")[-1] == {"event": "asked"}
    if stopped:
        os.kill(process.pid, signal.SIGSTOP)
    error, end = events_of(process)
    assert (error["event"], error["code"], end) == ("error", "Hangs", {"event": "end", "code": -9})
    assert not alive(process.pid) and not process.runs


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("beats", [False, True])
def test_silence_alone_is_no_sign_of_a_fault(tmp_path: Path, beats: Any) -> None:
    """Of a command that gives no signs of life, or of one that does while it says nothing else."""
    start = "threading.Thread(target=beat, daemon=True).start()" if beats else ""
    code = f'{BEATS if beats else "import time"}\n{start}\ntime.sleep(3)\nprint(\'{{"event": "done"}}\')'
    assert [e["event"] for e in events_of(engine(tmp_path, code))] == ["done", "end"]


@pytest.mark.usefixtures("impatient")
def test_nor_is_the_time_in_which_nobody_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The computer slept, or the window was held."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 1.0)
    process = engine(tmp_path, f'{BEATS}\ntime.sleep(4)\nprint(\'{{"event": "done"}}\')')
    end = time.monotonic() + PATIENCE_SECONDS
    while not process._beats and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(2)
    assert process.poll() == [] and process.runs
    process.kill()


SLICER = """
import importlib.util, os, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("engine_process", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
session = ("unoise_engine.worker", "--session")
engine = module.EngineProcess(sys.executable, Path(sys.argv[2]), None, os.environ, session)
if len(sys.argv) > 3:
    engine.ask({"about": {}})
    while not any(event["event"] == "answered" for event in engine.poll()):
        time.sleep(0.05)
print(engine.pid, flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("asked", [[], ["asked"]])
def test_the_engine_ends_with_a_slicer_that_is_killed(asked: Any) -> None:
    """The real worker, started as the panel starts it, by a process that SIGKILL ends."""
    words = [sys.executable, "-c", SLICER, str(SOURCE), str(ROOT), *asked]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as slicer:
        assert slicer.stdout is not None
        pid = int(slicer.stdout.readline())
        assert alive(pid)
        slicer.kill()
    end = time.monotonic() + PATIENCE_SECONDS
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(pid)
