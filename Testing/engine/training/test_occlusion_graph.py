"""One occluded patch by windows against a full pass, bit for bit or to rounding."""

from typing import Any

import numpy as np
import onnxruntime
import pytest

from Testing.engine.training.world import lively_net
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.target import Target
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.parts import with_weights
from unoise_engine.training.export import export_bundle
from unoise_engine.training.fold import rounded
from unoise_engine.training.gradcam_graph import explained_model
from unoise_engine.training.occlusion_graph import clean_model, patched_model

SIZE = (64, 96)
WHOLE = (0, 0, *SIZE)
PLACES = [(0, 0), (49, 81), (0, 81), (30, 0), (20, 31), (7, 46)]


def opened(content: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


SHAPES = [(1, 2, 3), (3, 2, 3), (1, 3, 4), (3, 3, 4), (1, 4, 16), (3, 4, 16), (1, 5, 16)]


@pytest.mark.parametrize(("channels", "depth", "width"), [*SHAPES, pytest.param(3, 5, 64, marks=pytest.mark.slow)])
def test_windows_equal_a_full_pass(channels: Any, depth: Any, width: Any) -> None:
    """In the middle, at every border, in corners and anywhere; the whole slice and regions of it, near and far. The
    last two shapes are those of the model that ships and of the paper."""
    net = rounded(lively_net(1, in_channels=channels, depth=depth, first_channels=width))
    lender = explained_model(net).SerializeToString()
    full = opened(lender)
    clean, patched = (
        opened(with_weights(part(net).SerializeToString(), lender)) for part in (clean_model, patched_model)
    )
    x = np.random.default_rng(0).normal(size=(1, channels, *SIZE)).astype(np.float32)
    names = [port.name for port in clean.get_outputs()]
    layers = dict(zip(names, clean.run(names, {"slices": x})))
    base = layers.pop("logits")
    told = 0
    chance = np.random.default_rng(depth)
    anywhere = [tuple(int(chance.integers(n - 14)) for n in SIZE) for _ in range(2)]
    for place in (*PLACES, *anywhere):
        row, column = place
        hidden = x.copy()
        hidden[:, :, row : row + 15, column : column + 15] = 0.3
        wanted = full.run(["logits"], {"slices": hidden})[0]
        for region in (WHOLE, (10, 20, 30, 40), (0, 0, 7, 9), (50, 90, 64, 96), (40, 1, 41, 2)):
            feeds = {"patch": np.full((1, channels, 15, 15), 0.3, np.float32)}
            feeds |= {"place": np.array(place), "region": np.array(region), **layers}
            part, (top, left, bottom, right) = patched.run(["logits", "window"], feeds)
            got = base.copy()
            got[:, :, top:bottom, left:right] = part
            inside = np.s_[:, :, region[0] : region[2], region[1] : region[3]]
            np.testing.assert_allclose(got[inside], wanted[inside], rtol=0, atol=1e-5 * np.abs(wanted).max())
            told += np.abs(base - wanted)[inside].max() > 0.1
            if region != WHOLE:  # and nothing is written elsewhere
                assert top >= region[0] and left >= region[1] and bottom <= region[2] and right <= region[3]
    assert told > len(PLACES) + 3, "the patches changed too little to tell"


@pytest.fixture(scope="module")
def trained(utility_run: Any, unoise_run: Any) -> Any:
    from Testing.engine.training.test_export import CARD

    folder = export_bundle(utility_run, unoise_run, utility_run.parent / "hidden", card=CARD, weights=False)
    return load_bundle(folder, "cpu", threads=1)


def ball(seed: Any) -> Any:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :56]
    image = np.where((y - 24) ** 2 + (x - 28) ** 2 < 400, -0.5, -1.0)
    image[(y - random.uniform(18, 30)) ** 2 + (x - random.uniform(22, 34)) ** 2 < 49] = 1.7
    return (image + random.normal(0, 0.03, image.shape)).astype(np.float32)[None]


def test_a_trained_model_by_windows_and_by_full_passes(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map of every second pixel; and the adaptive map, whose error is told against that one."""
    image = ball(3)
    logits = trained.predict(image[None])
    assert (logits > 0).sum() > 30
    exact, adaptive = (Occlusion(9, stride)(trained, image[None], Target(logits), silent)[0] for stride in (2, 0))
    monkeypatch.setattr("unoise_engine.models.session.PARTS", ("none",))  # no windows
    slow = Occlusion(9, 2)(trained, image[None], Target(logits), silent)[0]
    assert slow.max() > 0.1
    np.testing.assert_allclose(exact, slow, rtol=0, atol=1e-5)
    by_regions = Occlusion(9, 0)(trained, image[None], Target(logits), silent)[0]
    np.testing.assert_allclose(adaptive, by_regions, rtol=0, atol=1e-5)
    assert np.sqrt(((adaptive - slow) ** 2).mean()) < 0.02 * np.ptp(slow)


def test_threads_and_calls_do_not_change_the_map(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image = ball(4)
    logits = trained.predict(image[None])
    once = Occlusion(9, 6)(trained, image[None], Target(logits), silent)
    monkeypatch.setattr("unoise_engine.explanation.search.PLACES_A_CALL", 3)
    two = load_bundle(trained.folder, "cpu", threads=2)
    np.testing.assert_allclose(Occlusion(9, 6)(two, image[None], Target(logits), silent), once, rtol=0, atol=1e-5)
    assert once.max() > 0.1
