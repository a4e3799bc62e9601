"""How long from the click on Explain to maps in the scene: a CT of 512 x 512 x 100, U-Noise and Grad-CAM.

    .venv-slicer/bin/python Testing/slicer/time_from_click.py [bundle folder]

The parts are the module's own: write the CT, start the engine (with reading the CT and preparing its slices), compute
(segment, explain, write), load. What else the machine was doing is said by its load average.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import conftest  # noqa: F401  paths and translations
import numpy as np
import stand_in
from offscreen import World

stand_in.install(Path(__file__).resolve().parents[2] / "UNoiseSlicer")

from UNoiseSlicerLib import display, scene_tests
from UNoiseSlicerLib import logic as logics
from UNoiseSlicerLib import scene as scenes

SIZE, SLICES = 512, 100
SLIDER_STEPS = 10


def processor() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{cores} cores of {named}"


def main() -> None:
    from unoise_engine.lab.phantom.abdomen import synthesise

    world = World()
    world.lay_out()
    stand_in.start(world)
    phantom = synthesise(2026, size=SIZE, slices=SLICES)
    grid = phantom.ct.grid
    matrix = np.diag([-grid.spacing_mm[0], -grid.spacing_mm[1], grid.spacing_mm[2], 1.0])
    matrix[:3, 3] = np.multiply(grid.origin_mm, (-1, -1, 1))
    ct = scene_tests.add_volume(world.scene, phantom.ct.voxels, matrix, "phantom")
    model = sys.argv[1] if len(sys.argv) > 1 else ""
    logic = logics.UNoiseSlicerLogic(sys.executable)

    started = time.monotonic()
    run = logic.explain(ct, logics.Choices(str(model), ("unoise", "gradcam")))
    longest = 0.0
    done = False
    while not done:
        before = time.monotonic()
        done = run.step()
        longest = max(longest, time.monotonic() - before)
        time.sleep(0.05)
    shown = time.monotonic()
    display.show(world.scene, ct, "unoise", display.Look())
    first = time.monotonic() - shown
    sliding = time.monotonic()
    for share in np.linspace(90, 10, SLIDER_STEPS):
        display.show(world.scene, ct, "unoise", display.Look(share=float(share)))
        world.views["Red"].picture()
    slide = (time.monotonic() - sliding) / SLIDER_STEPS
    report = scenes.report_of(world.scene, ct)
    load = ", ".join(f"{n:.1f}" for n in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    print(f"{SIZE} x {SIZE} x {SLICES}, {report['model']['name']}, {processor()}, load average {load}")
    print("  " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in run.seconds.items()))
    print("  engine: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in report["seconds"].items()))
    print(f"  click to maps {shown - started:.1f} s, first drawing {first:.2f} s, share slider {slide:.2f} s a step,")
    print(f"  window blocked {longest:.2f} s at most (placing the results)")


if __name__ == "__main__":
    main()
