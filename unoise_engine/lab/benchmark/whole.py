"""A whole CT from file to files, in a process of its own: seconds, seconds inside the models, and peak memory.

python -m unoise_engine.lab.benchmark.whole CT OUT BUNDLE DEVICE THREADS LABEL
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from unoise_engine.errors import Environment
from unoise_engine.explanation.settings import Settings
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.given import modality_of
from unoise_engine.progress import Quiet
from unoise_engine.results.case_folder import explain_case
from unoise_engine.results.settings import ResultSettings
from unoise_engine.volume.case import ReadSettings
from unoise_engine.volume.find import find_cases

MIB = 1 << 20


@dataclass(frozen=True)
class WholeCT:
    """Seconds by stage, of all of it and of the models alone; bytes of the CT in float32, of the models' files, of the
    process before it opened anything, and at its peak (None where the system does not tell)."""

    size: tuple[int, ...]
    stages: dict[str, float]
    seconds: float
    models: float
    ct_bytes: int
    model_bytes: int
    start_bytes: int | None
    peak_bytes: int | None

    @property
    def times_models(self) -> float:
        return self.seconds / self.models

    @property
    def times_ct(self) -> float | None:
        """Peak without the models and the empty process, as a multiple of the CT in float32."""
        if self.peak_bytes is None or self.start_bytes is None:
            return None
        return (self.peak_bytes - self.start_bytes - self.model_bytes) / self.ct_bytes


def explain_whole(source: Path, out: Path, bundle: Path, device: str, threads: int, label: str = "") -> WholeCT:
    """Explains a CT by the model's usual methods in a new process. Raises Environment if that fails."""
    line = [sys.executable, "-m", __name__, str(source), str(out), str(bundle), device, str(threads), label]
    ran = subprocess.run(line, capture_output=True, text=True)  # noqa: S603 - this very file
    if ran.returncode:
        said = (ran.stderr.strip().splitlines() or ["no word"])[-1]
        raise Environment(source, f"could not be explained ({said})", "run the benchmark on a machine with more memory")
    told = json.loads(ran.stdout.splitlines()[-1])
    return WholeCT(**{**told, "size": tuple(told["size"])})


def measure(source: Path, out: Path, folder: Path, device: str, threads: int, label: str = "") -> WholeCT:
    """The same in this process."""
    empty = peak_memory()
    began = time.perf_counter()
    bundle = load_bundle(folder, device, threads, label=label)
    (case,) = find_cases([source], ReadSettings(modality=modality_of(bundle.recipe)))
    report = explain_case(case, out, bundle, Settings().for_model(bundle), Quiet(), ResultSettings(picture=False))
    seconds = time.perf_counter() - began
    size = tuple(report["input"]["geometry_lps"]["size"])
    return WholeCT(
        size=size,
        stages=report["seconds"],
        seconds=seconds,
        models=bundle.seconds,
        ct_bytes=4 * size[0] * size[1] * size[2],
        model_bytes=sum(entry.bytes for entry in bundle.manifest.files.values()),
        start_bytes=empty,
        peak_bytes=peak_memory(),
    )


def peak_memory() -> int | None:
    """Most bytes this process had in memory so far, or None."""
    try:  # Linux: of this program alone, where getrusage may still tell of the one that started it
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


if __name__ == "__main__":
    first, second, third, place, count, name = sys.argv[1:]
    print(json.dumps(vars(measure(Path(first), Path(second), Path(third), place, int(count), name))))
