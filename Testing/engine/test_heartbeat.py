"""A worker whose program is gone ends, whatever it is at. Real processes; nobody reads what they say any more."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups")

# A worker with work of this test's own.
WORKER = """
import subprocess, sys, threading, time
from unoise_engine.cli import heartbeat
from unoise_engine.cli.guard import guarded
heartbeat.BEAT_SECONDS, heartbeat.GRACE_SECONDS = 0.2, 1.0

def work():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    print('{"event": "child", "pid": %d}' % child.pid, flush=True)
    try:
        with heartbeat.heartbeat():
            WORK
    finally:
        child.kill()
        open(sys.argv[1], "w").write("tidied up")

sys.exit(guarded(work, json_lines=True, debug=False))
"""
WORK = {
    "silent": "[time.sleep(0.05) for _ in range(6000)]",  # hours of work between two words
    "hung": "threading.Lock().acquire() and (lock := threading.Lock()).acquire() and lock.acquire()",  # for ever
}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("kind", WORK)
def test_nobody_reads_any_more(tmp_path: Path, kind: Any) -> None:
    words = [sys.executable, "-c", WORKER.replace("WORK", WORK[kind], 1), str(tmp_path / "end")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        child = json.loads(process.stdout.readline())["pid"]
        assert json.loads(process.stdout.readline()) == {"event": "alive"} and alive(child)
        process.stdout.close()
        process.wait(timeout=60)
    end = time.monotonic() + 10
    while alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(child)
    if kind == "silent":
        assert process.returncode == 141 and (tmp_path / "end").read_text() == "tidied up"
    else:
        assert process.returncode == -signal.SIGKILL


def test_signs_of_life_while_somebody_reads(tmp_path: Path) -> None:
    words = [sys.executable, "-c", WORKER.replace("WORK", "time.sleep(2)", 1), str(tmp_path / "end")]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    events = [json.loads(line)["event"] for line in ran.stdout.splitlines()]
    assert events[0] == "child" and events.count("alive") > 3 and ran.stderr == ""
