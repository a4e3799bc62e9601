"""Where a safetensors file's tensors may lie, to the byte."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from unoise_engine.errors import Integrity
from unoise_engine.models import content as module
from unoise_engine.models.content import check_content

FILE = Path("weights.safetensors")
FACTS = {"__metadata__": {"made": "by hand"}}


def stored(header: Any, body: Any = 0, length: Any = None) -> Any:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(body)


def tensor(*offsets: Any) -> Any:
    return {"dtype": "U8", "shape": [4], "data_offsets": offsets}


@pytest.mark.parametrize("name", ["weights.pkl", "weights.pt", "setup.py", "weights", "weights.onnx.exe"])
def test_no_other_kind_of_file(name: str) -> None:
    with pytest.raises(Integrity, match="is no kind of file a bundle may hold"):
        check_content(Path(name), b"{}")
    check_content(Path("notes.TXT"), b"{}")


def test_a_model_that_is_none() -> None:
    with pytest.raises(Integrity, match=r"model\.onnx"):
        check_content(Path("model.onnx"), b"no message of protobuf")


@pytest.mark.parametrize(
    ("header", "body"),
    [({}, 0), (FACTS, 0), ({"w": tensor(0, 4)}, 4), ({"v": tensor(0, 0), "w": tensor(4, 4)}, 4)],
)
def test_what_fits(header: Any, body: Any) -> None:
    check_content(FILE, stored(header, body))


@pytest.mark.parametrize(
    "wrong",
    [tensor(0, 5), tensor(-1, 4), tensor(3, 2), tensor(0), tensor("a", 4), {"dtype": "U8"}, [0, 4], 7],
)
def test_what_does_not(wrong: Any) -> None:
    with pytest.raises(Integrity, match="tensor 'w' is not within the file"):
        check_content(FILE, stored(FACTS | {"w": wrong}, 4))


def test_a_name_is_cut_short() -> None:
    with pytest.raises(Integrity, match=f"tensor '{60 * 'n'}' is"):
        check_content(FILE, stored({99 * "n": 7}))


def test_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    text = len(json.dumps(FACTS))
    for wrong in (stored(FACTS, 3, text + 4), stored(FACTS, 0, 1 << 60)):
        with pytest.raises(Integrity, match="damaged: a header of"):
            check_content(FILE, wrong)
    with pytest.raises(Integrity, match="its header is no table"):
        check_content(FILE, stored([1]))
    with pytest.raises(Integrity):
        check_content(FILE, b"\0" * 7)
    monkeypatch.setattr(module, "LARGEST_HEADER", text)
    check_content(FILE, stored(FACTS))
    monkeypatch.setattr(module, "LARGEST_HEADER", text - 1)
    with pytest.raises(Integrity, match="damaged: a header of"):
        check_content(FILE, stored(FACTS))
