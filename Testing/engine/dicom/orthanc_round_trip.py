"""Sends results to a real Orthanc, by C-STORE and by STOW-RS, fetches them back and compares.

Run inside a network of its own: Orthanc listens on every address, whatever it is told.

    unshare -n sh -c 'ip link set lo up && exec python orthanc_round_trip.py RESULTS WORK PLUGIN'

C-STORE: the data set must come back byte by byte; Orthanc writes the preamble and the file meta group itself.
STOW-RS: the whole file must. Prints one JSON object; the caller judges it.
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pydicom

HTTP, DICOM = 18042, 14242


def data_set(content: Any) -> Any:
    """The bytes behind the preamble and the file meta group."""
    return content[144 + int.from_bytes(content[140:144], "little") :]


def call(path: Any, method: Any = "GET") -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{HTTP}{path}", method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def start(work: Any, plugin: Any) -> Any:
    settings = {
        "Name": "round trip",
        "StorageDirectory": str(work / "db"),
        "IndexDirectory": str(work / "db"),
        "HttpPort": HTTP,
        "DicomPort": DICOM,
        "DicomAet": "ORTHANC",
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": [plugin],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (work / "orthanc.json").write_text(json.dumps(settings))
    log = (work / "orthanc.log").open("wb")
    server = subprocess.Popen(["Orthanc", str(work / "orthanc.json")], stdout=log, stderr=log)
    for _ in range(300):
        try:
            call("/system")
            return server
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
    server.kill()
    raise SystemExit((work / "orthanc.log").read_text(errors="replace")[-2000:])


def round_trip(results: Any, address: Any) -> Any:
    """Sends everything, fetches every instance, then empties the server."""
    sent = subprocess.run(
        [sys.executable, "-m", "unoise_engine", "send", str(results), *address, "--again"],
        capture_output=True,
        text=True,
    )
    files = {pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID: p for p in results.rglob("*.dcm")}
    stored = json.loads(call("/instances"))
    outcome = {"exit": sent.returncode, "said": sent.stdout + sent.stderr, "files": len(files), "stored": len(stored)}
    same_file, same_data, differ = 0, 0, []
    for instance in stored:
        back = call(f"/instances/{instance}/file")
        uid = json.loads(call(f"/instances/{instance}/simplified-tags"))["SOPInstanceUID"]
        mine = files.pop(uid).read_bytes()
        same_file += back == mine
        same_data += data_set(back) == data_set(mine)
        if data_set(back) != data_set(mine):
            differ.append(uid)
    for study in json.loads(call("/studies")):
        call(f"/studies/{study}", "DELETE")
    return outcome | {"same_file": same_file, "same_data_set": same_data, "lost": len(files), "differ": differ}


if __name__ == "__main__":
    results, work, plugin = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    orthanc = start(work, plugin)
    try:
        outcome = {
            "store": round_trip(results, ("--to", f"ORTHANC@127.0.0.1:{DICOM}")),
            "stow": round_trip(results, ("--stow", f"http://127.0.0.1:{HTTP}/dicom-web")),
        }
    finally:
        orthanc.terminate()
        orthanc.wait(30)
    print(json.dumps(outcome))
