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

from unoise_engine.explanation.occlusion import FINE, Occlusion, around
from unoise_engine.explanation.protocol import silent
from unoise_engine.models.frame import prepare
from unoise_engine.models.session import DEFAULT_BUNDLE, Bundle, load_bundle
from unoise_engine.volume.read import read_image


class Near:
    """The model, whose predictions change near an organ (h, w) alone."""

    def __init__(self, bundle: Bundle, organ: np.ndarray):
        self.bundle, self.region = bundle, around(organ)

    def occluded(self, *how: Any) -> np.ndarray:
        """As the bundle's; the last argument, the region, is ours."""
        return self.bundle.occluded(*how[:-1], self.region)


def main() -> None:
    """Two lines a CT; the exact map of all takes minutes."""
    words = argparse.ArgumentParser()
    words.add_argument("cts", type=Path, nargs="+")
    words.add_argument("--bundle", default=DEFAULT_BUNDLE)
    asked = words.parse_args()
    bundle = load_bundle(asked.bundle, "cpu")
    for path in asked.cts:
        windowed, _ = prepare(read_image(path), bundle.recipe)
        middle = len(windowed) // 2
        image = bundle.recipe.normalise(windowed[middle : middle + 1])
        logits = bundle.predict(image)
        organ = logits[0, 0] > 0
        if not organ.any():
            print(f"{path.name}: no organ in slice {middle + 1}", flush=True)
            continue
        adaptive = Occlusion()(bundle, image, logits, silent)[0]
        for name, model in (("near", Near(bundle, organ)), ("all", bundle)):
            exact = Occlusion(stride=FINE)(model, image, logits, silent)[0]  # type: ignore[arg-type]
            error = np.abs(adaptive - exact) / np.ptp(exact)
            rms, most = np.sqrt((error**2).mean()), error.max()
            print(f"{path.name}, slice {middle + 1}, {name}: RMS {rms:.2%}, largest {most:.1%}", flush=True)


if __name__ == "__main__":
    main()
