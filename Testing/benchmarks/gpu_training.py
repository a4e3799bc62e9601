"""Training on a GPU: float32 beside bf16, and DDP where there are two; loss and time of a step of each.

python -m Testing.benchmarks.gpu_training DATA OUT [--device cuda] [--quick]

DATA is a folder of labelled CTs. Writes OUT/training.md. The published utility (34 million parameters) at its own size;
the time is that of the last of three rounds, validation included: in the first one kernels are chosen.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from unoise_engine.files import write
from unoise_engine.shipped import shipped
from unoise_engine.training.recipes import Net, UtilityRecipe, read_recipe
from unoise_engine.training.tables import to_toml

ROUNDS, STEPS = 3, 20


def recipe(precision: str, quick: bool) -> UtilityRecipe:
    told = read_recipe(shipped("recipes", "paper-utility.toml")["paper-utility"], UtilityRecipe)
    steps = 2 if quick else STEPS
    fit = replace(told.fit, epochs=0, max_steps=ROUNDS * steps, round_steps=steps, precision=precision)
    told = replace(told, fit=fit, data=replace(told.data, val_cases=1, val_slices=4))
    return replace(told, net=Net(told.net.depth, 4), draw=replace(told.draw, batch=1)) if quick else told


def trained(data: Path, out: Path, how: UtilityRecipe, device: str, devices: int) -> tuple[float, float]:
    """The last round's loss, and seconds of one of its steps."""
    file = out.with_suffix(".toml")
    write(file, to_toml(how), replace=True)
    command = [sys.executable, "-m", "unoise_engine", "train", "utility", str(data), "-o", str(out)]
    command += ["--recipe", str(file), "--device", device, "--devices", str(devices)]
    subprocess.run(command, check=True)
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as f:
        *_, before, last = csv.DictReader(f)
    seconds = float(last["seconds"]) - float(before["seconds"])
    return float(last["train_loss"]), seconds / (int(last["step"]) - int(before["step"]))


def main() -> None:
    """A line a way of training, also in OUT/training.md."""
    words = argparse.ArgumentParser()
    words.add_argument("data", type=Path)
    words.add_argument("out", type=Path)
    words.add_argument("--device", default="cuda")
    words.add_argument("--quick", action="store_true")
    asked = words.parse_args()
    ways = [("float32", "32-true", 1), ("bf16", "bf16-mixed", 1)]
    if asked.device == "cuda" and torch.cuda.device_count() > 1:
        ways.append(("bf16, DDP on two", "bf16-mixed", 2))
    lines = ["| training | loss | a step |", "|---|---|---|"]
    for name, precision, devices in ways:
        home = asked.out / f"run-{precision}-{devices}"
        loss, seconds = trained(asked.data, home, recipe(precision, asked.quick), asked.device, devices)
        lines.append(f"| {name} | {loss:.4f} | {1000 * seconds:.0f} ms |")
    write(asked.out / "training.md", "\n".join(lines) + "\n", replace=True)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
