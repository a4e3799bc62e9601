"""Training the two models and exporting them to a bundle. The only part of the engine that needs torch."""

from importlib.util import find_spec

from unoise_engine.errors import MissingExtra

for _package in ("torch", "lightning"):
    if find_spec(_package) is None:
        raise MissingExtra(_package, "train")
