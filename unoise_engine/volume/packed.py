"""A gzip stream packed on several cores: planes apart, one stream together, the same for any number of threads."""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

HEADER = bytes.fromhex("1f8b 08 00 00000000 04 ff")  # RFC 1952: deflate, no name, no time, quickest, no system
END = bytes.fromhex("0300")  # RFC 1951: a last block that holds nothing
THREADS = min(4, os.cpu_count() or 1)


def packed(pieces: Iterable[np.ndarray]) -> Iterator[bytes]:
    """Contiguous arrays, stored as they lie in memory -> a gzip file's bytes, a piece at a time.

    Few pieces are in memory at once. An array must not change until THREADS more are asked for.
    """
    yield HEADER
    checksum, size = 0, 0
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for piece in pieces:
            flat = piece.reshape(-1).view(np.uint8).data
            checksum, size = zlib.crc32(flat, checksum), size + len(flat)
            # Floating-point voxels repeat themselves by chance only; to look for it takes most of the time.
            strategy = zlib.Z_RLE if piece.dtype.kind == "f" else zlib.Z_DEFAULT_STRATEGY
            waiting.append(pool.submit(_deflated, flat, strategy))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    yield END + struct.pack("<2L", checksum, size & 0xFFFFFFFF)


def _deflated(content: memoryview, strategy: int) -> bytes:
    """Whole blocks that end on a byte, with no reference to what comes before."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return packer.compress(content) + packer.flush(zlib.Z_SYNC_FLUSH)
