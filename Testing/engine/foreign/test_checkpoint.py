"""Checkpoints: what is read, and what is refused without being run."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unoise_engine.errors import EngineError, Environment, Integrity, Usage
from unoise_engine.foreign.checkpoint import read_checkpoint, weights


class Runs:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_tensors_and_plain_values_come_back_as_they_were(tmp_path: Path) -> None:
    wanted: dict[str, Any] = {
        "w": torch.arange(6.0).reshape(2, 3),
        "half": torch.ones(3, dtype=torch.float16),
        "n": torch.tensor(4),
        "best": np.float32(0.25),
        "logging": {"dice": [np.float64(0.5), np.int64(3)]},
        "axes": (0, 1),
        "device": torch.device("cpu"),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    for old in (False, True):
        path = tmp_path / f"{old}.pth"
        torch.save(wanted, path, _use_new_zipfile_serialization=not old)
        found = read_checkpoint(path)
        assert found.keys() == wanted.keys()
        assert torch.equal(found["w"], wanted["w"]) and found["half"].dtype == torch.float16
        assert found["best"] == 0.25 and found["logging"]["dice"] == [0.5, 3] and found["axes"] == (0, 1)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_runs_code_is_named_and_not_run(tmp_path: Path, old: bool, protocol: int) -> None:
    mark, path = tmp_path / "ran", tmp_path / "checkpoint_final.pth"
    content = {"network_weights": {"w": torch.ones(2)}, "x": Runs(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=not old, pickle_protocol=protocol)
    with pytest.raises(Integrity) as refused:
        read_checkpoint(path)
    assert not mark.exists()
    assert ("system" in refused.value.what) if protocol == 2 else ("spell out" in refused.value.what)
    torch.load(path, weights_only=False)
    assert mark.exists(), "the pickle would not have run anything"


@pytest.mark.parametrize("thing", [slice(1), range(3), bytearray(b"x"), complex(1), Path("x"), torch.nn.Linear(2, 2)])
def test_what_weights_do_not_need_is_refused(tmp_path: Path, thing: Any) -> None:
    torch.save({"x": thing}, tmp_path / "x.pth")
    with pytest.raises(Integrity, match="which weights do not need"):
        read_checkpoint(tmp_path / "x.pth")


def _repacked(path: Path, how: int) -> None:
    with zipfile.ZipFile(path) as before:
        content = {name: before.read(name) for name in before.namelist()}
    with zipfile.ZipFile(path, "w", how) as after:
        for name, data in content.items():
            after.writestr(name, data)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    torch.save({"w": torch.zeros(1 << 24)}, path)
    _repacked(path, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 18
    with pytest.raises(Integrity, match="unpacks to more than it is"):
        read_checkpoint(path)


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    """Many names for one piece of a file: nothing is packed, and all of it together is larger than the file."""
    path = tmp_path / "bomb.pth"
    torch.save({"w": torch.zeros(1 << 16)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        entry = next(info for info in archive.infolist() if info.file_size >= 1 << 18)
        for k in range(100):
            twin = zipfile.ZipInfo(f"archive/data/9{k}")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(twin, name, getattr(entry, name))
            archive.filelist.append(twin)
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(Integrity, match="unpacks to more than it is"):
        read_checkpoint(path)


@pytest.mark.parametrize("cut", [0, 1, 5, 100, 0.5, 0.99])
@pytest.mark.parametrize("old", [False, True])
def test_a_file_cut_short_is_one_sentence(tmp_path: Path, cut: float, old: bool) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"w": torch.ones(2000)}, path, _use_new_zipfile_serialization=not old)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole)) if isinstance(cut, float) else cut])
    with pytest.raises(EngineError) as refused:
        read_checkpoint(path)
    assert type(refused.value) in (Integrity, Usage) and "\n" not in str(refused.value)


def test_what_is_no_checkpoint_says_so(tmp_path: Path) -> None:
    def fails(name: str, kind: type[EngineError], words: str) -> None:
        with pytest.raises(kind, match=words):
            read_checkpoint(tmp_path / name)

    (tmp_path / "text.pth").write_text("weights")
    fails("text.pth", Integrity, "no checkpoint")
    with zipfile.ZipFile(tmp_path / "plain.pth", "w") as archive:
        archive.writestr("a.txt", "a")
    fails("plain.pth", Usage, "no file that torch.save wrote")
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    fails("list.pth", Usage, "no table of weights but list")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"w": 1}, 2))
    fails("plain.pkl", Integrity, "damaged, or no checkpoint")
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "script.pth")
    fails("script.pth", Usage, "is TorchScript")
    fails("missing.pth", Environment, "cannot be read")
    os.mkfifo(tmp_path / "pipe.pth")
    fails("pipe.pth", Environment, "no regular file|Invalid argument")


def test_weights_are_tensors_that_are_stored_whole_and_finite() -> None:
    path = Path("c.pth")
    good = {"w": torch.ones(3)}
    assert weights(good, path) is good
    with pytest.raises(Usage, match="no table of weights"):
        weights({"w": [1.0]}, path)
    with pytest.raises(Usage, match="no table of weights"):
        weights(None, path)
    with pytest.raises(Integrity, match="larger than what is stored"):
        weights({"w": torch.ones(1).expand(1 << 40)}, path)
    with pytest.raises(Integrity, match="not finite"):
        weights({"w": torch.tensor([float("nan")])}, path)


def test_a_storage_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.save({"w": torch.arange(10.0)}, content)
    with zipfile.ZipFile(content) as before, zipfile.ZipFile(tmp_path / "lie.pth", "w") as after:
        for name in before.namelist():
            after.writestr(
                name, before.read(name).replace(b"K\nt", b"M\x00\x40t").replace(b"K\n\x85", b"M\x00\x40\x85")
            )
    with pytest.raises(Integrity, match="damaged"):
        read_checkpoint(tmp_path / "lie.pth")
