"""A model file that belongs to no bundle, run as onnxruntime runs any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from unoise_engine.models.session import providers


def open_bare(path: Path, device: str = "auto", threads: int = 0) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Returns a function from the inputs, by name, to the first output. Raises Environment or Usage for the device."""
    from unoise_engine.models.runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=providers(device))
    known = {port.name for port in session.get_inputs()}
    return lambda feeds: session.run(None, {name: v for name, v in feeds.items() if name in known})[0]
