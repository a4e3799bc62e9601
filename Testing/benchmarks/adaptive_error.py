"""How far default occlusion is from the exact map, on the middle slices of whole CTs; minutes a slice.

python Testing/benchmarks/adaptive_error.py CT... [--bundle B]

`near` compares what happens within 16 pixels of the organ, which default occlusion looks at; `all` the exact map as it
is, which also counts where the grey patch itself is taken for organ. RMS and largest, of the exact map's range.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.explanation.method import silent
from unoise_engine.explanation.occlusion import FINE, Occlusion, around
from unoise_engine.explanation.target import Target
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
from unoise_engine.models.given import own
from unoise_engine.models.input import Input
from unoise_engine.models.segmenter import Wrapped
from unoise_engine.models.session import Bundle
from unoise_engine.volume.read import read_image


class Near(Wrapped):
    """The model, whose predictions change near an organ (h, w) alone."""

    def __init__(self, bundle: Bundle, organ: np.ndarray) -> None:
        super().__init__(bundle)
        self.region = around(organ)

    def occluded(
        self, image: np.ndarray, places: np.ndarray, patch: int, fill: float, region: Any = None
    ) -> np.ndarray:
        return self.model.occluded(image, places, patch, fill, self.region)


def main() -> None:
    """Two lines a CT; the exact map of all takes minutes."""
    words = argparse.ArgumentParser()
    words.add_argument("cts", type=Path, nargs="+")
    words.add_argument("--bundle", default=DEFAULT_BUNDLE)
    asked = words.parse_args()
    bundle = load_bundle(asked.bundle, "cpu")
    for path in asked.cts:
        given = Input.of(read_image(path), own(bundle.recipe))
        middle = len(given) // 2
        image = given.items(slice(middle, middle + 1))
        logits = bundle.predict(image)
        organ = logits[0, 0] > 0
        if not organ.any():
            print(f"{path.name}: no organ in slice {middle + 1}", flush=True)
            continue
        adaptive = Occlusion()(bundle, image, Target(logits), silent)[0]
        for name, model in (("near", Near(bundle, organ)), ("all", bundle)):
            exact = Occlusion(stride=FINE)(model, image, Target(logits), silent)[0]
            error = np.abs(adaptive - exact) / np.ptp(exact)
            rms, most = np.sqrt((error**2).mean()), error.max()
            print(f"{path.name}, slice {middle + 1}, {name}: RMS {rms:.2%}, largest {most:.1%}", flush=True)


if __name__ == "__main__":
    main()
