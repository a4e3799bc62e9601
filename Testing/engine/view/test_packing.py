"""Volumes as a page carries them, unpacked again here by other means."""

import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest

from unoise_engine.results.view.packing import SILENT, Box, pack_ct, pack_map, pack_mask
from unoise_engine.results.view.page import viewer

SHAPE = (5, 12, 14)
ALL = Box(SHAPE[1:], range(5), slice(0, 12), slice(0, 14))


def unpacked_ct(packed: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    found = np.zeros(shape, np.int16)
    bytes_of = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape[0], 2, -1).astype(np.uint16)
    for k, (low, high) in enumerate(bytes_of):
        folded = low | high << 8
        steps = (folded >> 1) ^ (-(folded & 1).astype(np.int32)).astype(np.uint16)
        found[k] = np.cumsum(steps, dtype=np.uint16).astype(np.int16).reshape(shape[1:])
    return found


@pytest.mark.parametrize("low, high", [(-1024, 3071), (-32768, 32767), (0, 1)])
def test_every_value_of_a_ct_comes_back(low: int, high: int) -> None:
    hu = np.random.default_rng(0).integers(low, high, SHAPE, np.int16, endpoint=True)
    hu[0, 0, :4] = low, high, low, high
    assert np.array_equal(unpacked_ct(pack_ct(hu), SHAPE), hu)


def test_a_ct_packs_better_than_by_zlib_alone() -> None:
    z, y, x = np.indices((4, 64, 64))
    hu = (40 + 30 * np.sin(x / 9) + 20 * y / 64 + np.random.default_rng(0).normal(0, 8, z.shape)).astype(np.int16)
    assert len(pack_ct(hu)) < 0.85 * len(zlib.compress(hu.tobytes(), 9))


def test_a_mask_is_ones() -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 3:5, 4:9] = 7
    assert np.array_equal(np.frombuffer(zlib.decompress(pack_mask(mask)), np.uint8).reshape(SHAPE), mask > 0)


def test_codes_follow_values_and_ranks() -> None:
    values = np.random.default_rng(0).lognormal(0, 1.5, (5, 120, 140)).astype(np.float32)
    values[0, 0, 0] = 5000  # one voxel is far brighter than all others
    values[1, :60] = 0
    box = Box((120, 140), range(5), slice(0, 120), slice(0, 140))
    packed, table = pack_map(lambda k: None if k == 3 else values[k], range(5), box)
    codes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(values.shape)
    assert (codes[3] == SILENT).all() and (codes[1, :60] == 1).all() and table.values[1] == 0
    said, true = np.array(table.values)[codes], values.copy()
    true[3] = 0
    assert np.abs(said - true).max() <= 0.011 * 5000, "a hundredth of the largest, at most"
    below = np.concatenate([[0], np.cumsum(table.counts)])[codes] / sum(table.counts)
    rest = values[[0, 1, 2, 4]]
    for k, one in zip((0, 1, 2, 4), rest):
        ranks = np.searchsorted(np.sort(rest.ravel()), one) / rest.size
        assert np.abs(below[k] - ranks).max() < 0.011, "and a hundredth in rank"
    assert sum(table.counts) == rest.size
    assert table.top == pytest.approx(np.quantile(rest[rest > 0], 0.995), rel=0.1), "where the colours end"


def test_what_is_cut_off_still_counts() -> None:
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    box = Box(SHAPE[1:], range(1, 3), slice(2, 10), slice(4, 8), step=2)
    packed, table = pack_map(lambda k: values[k], range(5), box)
    codes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(2, 4, 2)
    assert sum(table.counts) == values.size
    assert np.abs(np.array(table.values)[codes] - values[1:3, 2:10:2, 4:8:2]).max() < 0.011 * values.max()


def test_a_map_that_says_nothing() -> None:
    packed, table = pack_map(lambda k: None, range(5), ALL)
    assert zlib.decompress(packed) == bytes(5 * 12 * 14) and sum(table.counts) == 0 and table.top == 1


def test_the_viewer_is_what_its_note_says() -> None:
    script, licence = viewer()
    note = dict(line.split(": ", 1) for line in script.with_name("niivue.txt").read_text("utf-8").splitlines())
    assert hashlib.sha256(script.read_bytes()).hexdigest() == note["sha256"]
    assert script.name == f"niivue-{note['version']}.js" and "BSD 2-Clause" in licence.read_text("utf-8")
    assert Path(script).stat().st_size < 3e6
