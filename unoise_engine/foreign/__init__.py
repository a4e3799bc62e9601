"""Models that people already have, turned into bundles once; explaining them then needs no package of theirs."""

import os
import tempfile
from importlib.util import find_spec

from unoise_engine.errors import Environment, MissingExtra


def need(*packages: str) -> None:
    """Raises Environment for the first of the packages, by the names they are imported by, that is not installed."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir())  # torch makes a folder where none is named
    for package in packages:
        if find_spec(package) is None and package == "monai":  # in no extra: only some need it
            raise Environment("monai", "is needed for MONAI bundles, but not installed", "run: pip install monai")
        if find_spec(package) is None:
            raise MissingExtra(package.replace("_", "-"), "import")
