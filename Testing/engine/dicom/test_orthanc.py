"""A round trip through a real archive, in a network of its own."""

import glob
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("orthanc_round_trip.py")
PLUGINS = glob.glob("/usr/share/orthanc/plugins/libOrthancDicomWeb.so") + glob.glob(
    "/usr/lib/*/orthanc/libOrthancDicomWeb.so*"
)


def missing() -> Any:
    if shutil.which("Orthanc") is None or not PLUGINS:
        return "Orthanc: apt-get install orthanc orthanc-dicomweb"
    if shutil.which("ip") is None:
        return "ip: apt-get install iproute2"
    try:
        alone = subprocess.run(["unshare", "-n", "ip", "link", "set", "lo", "up"], capture_output=True)
    except OSError:
        return "unshare: apt-get install util-linux"
    return "" if alone.returncode == 0 else "unshare -n is not permitted here (needs root)"


def test_orthanc_gives_back_what_it_got(result: Any, tmp_path: Path) -> None:
    if why := missing():
        pytest.skip(why)
    shutil.copytree(result, tmp_path / "out" / "ct")
    inside = 'ip link set lo up && exec "$@"'
    command = [
        "unshare",
        "-n",
        "sh",
        "-c",
        inside,
        "sh",
        sys.executable,
        SCRIPT,
        tmp_path / "out",
        tmp_path,
        PLUGINS[0],
    ]
    run = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    outcome = json.loads(run.stdout.splitlines()[-1])
    for way in ("store", "stow"):
        got = outcome[way]
        assert got["exit"] == 0, got["said"]
        assert got["files"] == got["stored"] == got["said"].count("SENT ") > 3
        assert got["same_data_set"] == got["files"], got["differ"]
    assert outcome["stow"]["same_file"] == outcome["stow"]["files"]
