"""A bundle's models run once, in a process of their own (probe.py), before they are trusted with a CT."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from unoise_engine.child import environment, python
from unoise_engine.errors import Integrity
from unoise_engine.models.manifest import read_manifest
from unoise_engine.models.preparation import cubes_of

SECONDS = 120  # the model that ships takes 2
PROBE = "unoise_engine.models.probe"


def try_out(folder: Path) -> None:
    """Raises Integrity if a model of the bundle does not answer as it must, within limits of time and memory."""
    import unoise_engine.models.runtime  # noqa: F401 - should it not load, that is no fault of the bundle

    seconds = SECONDS * cubes_of(read_manifest(folder).recipe)
    try:
        ran = subprocess.run(  # noqa: S603 - our own interpreter and our own code
            python(PROBE, str(folder), str(seconds)),
            capture_output=True,
            timeout=seconds,
            env=environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Integrity(
            folder, f"its models gave no answer for a small slice within {seconds:g} s", "do not use this bundle"
        ) from None
    try:
        said = json.loads(ran.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise Integrity(
            folder,
            f"its models ended the process that tried them (exit status {ran.returncode}; often: they ask for "
            "too much memory)",
            "do not use this bundle",
        ) from None
    if said:
        raise Integrity(said["source"], said["what"], said["cure"])
