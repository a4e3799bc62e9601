"""Where the cause is known: a small MONAI net, taught here within a minute or two, and what its maps say of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.foreign import planted_cause
from Testing.foreign.planted_cause import ABOVE_TISSUE, DISTANCE, judge
from unoise_engine.lab.phantom.planted import LABELS
from unoise_engine.volume.distance import signed_distance

SIZE = 32


@pytest.fixture
def labels() -> np.ndarray:
    """A target with its landmark beside it; a decoy, farther away."""
    found = np.zeros((SIZE, SIZE), int)
    found[6:12, 6:12] = LABELS["target"]
    found[7:10, 15:18] = LABELS["landmark"]
    found[22:28, 22:28] = LABELS["decoy"]
    return found


def test_a_map_of_the_landmark_and_one_of_the_decoy(labels: np.ndarray) -> None:
    tie = np.random.default_rng(0).random(labels.shape)
    assert judge((labels == LABELS["landmark"]).astype(float), labels, tie) == (1.0, 1.0)
    decoys, tissue = judge((labels == LABELS["decoy"]).astype(float), labels, tie)
    assert decoys == 0.0 and 0.3 < tissue < 0.7


def test_nearness_alone_is_found_out(labels: np.ndarray) -> None:
    """It ranks the landmark above decoys, which lie farther away, but not above tissue that is as far."""
    decoys, tissue = judge(signed_distance(labels == LABELS["target"]), labels, np.zeros(labels.shape))
    assert decoys == 1.0 and 0.35 < tissue < 0.65


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("monai", reason="MONAI is in the environment of `make test-foreign`")
    from Testing.foreign.train_monai import train
    from unoise_engine.lab.phantom.write import write_phantoms

    home = tmp_path_factory.mktemp("planted")
    torch.set_num_threads(1)
    write_phantoms(home / "phantoms", 16, 0, 96, 24, 1, planted=True)
    return train(home, home / "phantoms", "2d", 450)


def test_a_net_of_monai(net: Path, tmp_path: Path) -> None:
    """From training to the table, U-Noise taught by the command itself."""
    taught = ["--taught", str(net.parent / "phantoms"), "--steps", "30"]
    words = [str(tmp_path), str(net), "--cts", "3", "--methods", "gradient", "unoise-near", *taught]
    found = planted_cause.main(words)[net.name]
    assert np.mean(found.dices) > 0.5 and found.judged
    assert set(found.rows) == {DISTANCE, "gradient", "unoise-near"}
    gradient = found.rows["gradient"]
    assert np.mean(gradient.learnt[ABOVE_TISSUE]) > 0.1 + np.mean(gradient.shuffled[ABOVE_TISSUE])
    assert "| gradient |" in (tmp_path / "planted.md").read_text()
