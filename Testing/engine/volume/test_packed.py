"""The packed stream is plain gzip: what other programs unpack is what was put in."""

import gzip
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unoise_engine.volume import packed as module
from unoise_engine.volume.packed import packed

PIECES = [
    np.frombuffer(b"a header of odd length.", np.uint8),
    np.zeros((40, 50), np.uint8),
    *np.random.default_rng(0).standard_normal((30, 64, 64)).astype("<f4"),
    np.zeros((300, 300), "<f4"),
    np.zeros(0, "<f4"),
]  # an odd number of bytes
CONTENT = b"".join(piece.tobytes() for piece in PIECES)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_same_bytes_for_any_number_of_threads(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "THREADS", threads)
    stream = b"".join(packed(PIECES))
    monkeypatch.setattr(module, "THREADS", 3)
    assert stream == b"".join(packed(iter(PIECES)))
    assert gzip.decompress(stream) == CONTENT
    assert len(stream) < 0.95 * len(CONTENT)


@pytest.mark.skipif(shutil.which("gzip") is None, reason="no gzip program here")
def test_gzip_itself_unpacks_it(tmp_path: Path) -> None:
    path = tmp_path / "stream.gz"
    path.write_bytes(b"".join(packed(PIECES)))
    assert subprocess.run(["gzip", "-dc", path], capture_output=True, check=True).stdout == CONTENT


def test_nothing_is_a_stream_too() -> None:
    assert gzip.decompress(b"".join(packed([]))) == b""


def test_what_fails_while_pieces_are_made_is_told() -> None:
    def pieces() -> Any:
        yield PIECES[1]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        b"".join(packed(pieces()))
