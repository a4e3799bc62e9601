"""Locks among processes: one holder, and none left behind by the dead."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from unoise_engine.lock import Busy, any_held, held, is_held

HOLD = "import sys, time; from pathlib import Path; from unoise_engine.lock import held\n"
HOLD += "with held(Path(sys.argv[1]), 'a'): print('got', flush=True); time.sleep(60)"
COUNT = """
import sys; from pathlib import Path; from unoise_engine.lock import held
out = Path(sys.argv[1])
for _ in range(200):
    with held(out, "a", wait_s=60):
        n = int((out / "n").read_text()); (out / "n").write_text(str(n + 1))
"""


def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"got\n"
    assert is_held(tmp_path, "a") and any_held(tmp_path) and not is_held(tmp_path, "b")
    started = time.monotonic()
    with pytest.raises(Busy), held(tmp_path, "a", wait_s=0.2):
        pass
    assert 0.2 <= time.monotonic() - started < 5
    child.kill()
    child.wait()
    assert (tmp_path / ".locks" / "a").exists() and not any_held(tmp_path)
    with held(tmp_path, "a"):
        assert any_held(tmp_path)
    assert not (tmp_path / ".locks").exists(), "tidied away"


def test_counting_in_turns_loses_nothing(tmp_path: Path) -> None:
    """Lock files come and go 800 times under four processes; a lock on a removed file would lose counts."""
    (tmp_path / "n").write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)]) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    assert (tmp_path / "n").read_text() == "800"


def test_one_s_own_lock_is_no_other_run(tmp_path: Path) -> None:
    with held(tmp_path, "run-mine"):
        assert any_held(tmp_path) and not any_held(tmp_path, but="run-mine")
        with held(tmp_path, "run-other"):
            assert any_held(tmp_path, but="run-mine")
