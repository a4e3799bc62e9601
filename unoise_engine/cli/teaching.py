"""`train unoise` on a bundle of somebody else's model, in place of a run of this engine's own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from os.path import lexists
from pathlib import Path

from unoise_engine.errors import MissingExtra, Usage
from unoise_engine.files import exists


def teach_imported(
    data: Sequence[Path],
    bundle: Path,
    out: Path,
    *,
    label: str = "",
    steps: int = 0,
    patch: int = 0,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    progress: str = "auto",
) -> None:
    """Prints what was learnt, once, however many processes taught it. Raises Usage, Environment, Integrity, and
    EngineError if one of the processes is lost."""
    if find_spec("torch") is None:
        raise MissingExtra("torch", "train")
    from unoise_engine.foreign.learn import Teaching
    from unoise_engine.foreign.teach import teach, usable
    from unoise_engine.foreign.together import place_from_outside
    from unoise_engine.models.bundles import load_bundle
    from unoise_engine.models.windowed import Windowed
    from unoise_engine.progress import progress as show

    place = place_from_outside(devices, nodes)
    if lexists(out):
        raise exists(out)
    given = {"steps": steps, "patch": patch}
    how = Teaching(seed=seed, **{name: value for name, value in given.items() if value})
    opened = load_bundle(bundle, usable(device), label=label)
    if not isinstance(opened, Windowed):
        cure = "unpack it into runs first: unoise_engine bundle unpack"
        raise Usage(f"--utility {bundle}", "is a bundle that this engine trained", cure)
    with show("off" if place and place.rank else progress).stage(opened.manifest.organ, "unoise", how.steps) as advance:
        tell = lambda step, of, loss: advance(1)  # noqa: E731
        manifest = teach(opened, data, out, how, opened.device, tell, devices, place)
    if manifest is None:
        return
    told = manifest.metrics["unoise"]
    kept = f"on {told['cts_held_out']} CTs held out" if told["cts_held_out"] else "on the CT it learnt from"
    found, distance = told["objective"], told["objective_of_distance"]
    print(f"{out}: objective {found:.4f} {kept} (of the distance map alone {distance:.4f})")
    if found >= distance:
        print("WARNING: it learnt nothing beyond distance: give more steps or more CTs")
