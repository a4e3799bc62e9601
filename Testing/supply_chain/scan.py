"""Nothing that ships can run by being loaded: looks through the wheel and the Slicer module (make scan).

    python -m Testing.supply_chain.scan

By content, whatever a file is called: no file is a pickle or an archive that could hold one. And by picklescan and
modelscan; that they see anything at all is shown by a planted pickle that each of them must find.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import pickletools
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7z", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}
WITHOUT_PICKLE = (".nii.gz",)  # a packed CT: its content is looked at unpacked
FOUND = {"picklescan": {1}, "modelscan": {1}}  # exit codes
NOTHING = {"picklescan": {0}, "modelscan": {0, 3}}  # 3: no file of a kind it knows


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("true",)


def what_ships(folder: Path) -> None:
    """The wheel, unpacked, and the Slicer module's own files."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "wheel")
    wheel.unlink()
    hidden = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "UNoiseSlicer", folder / "slicer", ignore=hidden)
    shutil.copytree(ROOT / "Resources", folder / "resources", ignore=hidden)


def is_pickle(content: bytes) -> bool:
    """Whether all of it reads as instructions of a pickle that do something."""
    try:
        names = [opcode.name for opcode, _, _ in pickletools.genops(io.BytesIO(content))]
    except Exception:
        return False
    return len(names) > 1


def complaint(path: Path) -> str:
    content = path.read_bytes()
    for magic, kind in ARCHIVES.items():
        if content.startswith(magic):
            if not path.name.endswith(WITHOUT_PICKLE):
                return f"is a {kind} archive"
            content = gzip.decompress(content)
    return "is a pickle" if is_pickle(content) else ""


def tool(name: str, folder: Path) -> int:
    program = Path(sys.executable).with_name(name)
    run = subprocess.run([program, "-p", str(folder)], capture_output=True, text=True, cwd=folder)
    return run.returncode


def plant(folder: Path) -> None:
    content = pickle.dumps(Evil())
    (folder / "weights.pkl").write_bytes(content)
    with zipfile.ZipFile(folder / "weights.pt", "w") as archive:
        archive.writestr("x/data.pkl", content)
    (folder / "utility.onnx").write_bytes(content)  # the tools go by names and miss it; `complaint` does not


def main() -> int:
    with tempfile.TemporaryDirectory() as home:
        shipped, planted = Path(home, "shipped"), Path(home, "planted")
        shipped.mkdir()
        what_ships(shipped)
        files = sorted(p for p in shipped.rglob("*") if p.is_file())
        wrong = [f"{p.relative_to(shipped)} {why}" for p in files if (why := complaint(p))]
        shutil.copytree(shipped, planted)
        plant(planted)
        seen = sorted(p.name for p in planted.rglob("*") if p.is_file() and complaint(p))
        if seen != ["utility.onnx", "weights.pkl", "weights.pt"]:
            wrong.append(f"of three planted pickles only {seen} were seen")
        used = []
        for name in FOUND:
            if not Path(sys.executable).with_name(name).is_file():
                continue  # modelscan is not made for the newest Pythons
            used.append(name)
            if tool(name, planted) not in FOUND[name]:
                wrong.append(f"{name} does not find a planted pickle")
            if tool(name, shipped) not in NOTHING[name]:
                wrong.append(f"{name} finds something: run {name} -p on what ships")
    print("\n".join(wrong))
    by = " and ".join(used) or "no tool"
    print(f"{len(files)} files that ship, looked at by content and by {by}: {len(wrong)} wrong")
    return 1 if wrong or not used else 0


if __name__ == "__main__":
    sys.exit(main())
