"""Training the two models and exporting them to a bundle. The only part of the engine that needs torch."""

import os
import tempfile
from contextlib import suppress
from importlib.util import find_spec

from unoise_engine.drawing import load_matplotlib
from unoise_engine.errors import MissingExtra

for _package in ("torch", "lightning"):
    if find_spec(_package) is None:
        raise MissingExtra(_package, "train")

# Lightning imports matplotlib where it is installed, and torch's compiler, which makes a folder for what it compiles.
# Nothing is compiled here: any folder that exists will do.
with suppress(MissingExtra):
    load_matplotlib()
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir())
