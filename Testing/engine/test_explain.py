"""The straight line, end to end on the command line, with a net whose answer is known."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import unoise_engine
from Testing.engine.conftest import (
    ORGAN_ABOVE,
    REAL_CT,
    RECIPE,
    asked,
    ellipsoid_ct,
    image_of,
    needs_real_ct,
    question,
)
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.settings import Settings
from unoise_engine.models.bundles import load_bundle
from unoise_engine.volume.volume import AxialView

MAPS = ("importance-unoise", "importance-gradcam", "importance-occlusion")


def engine(*arguments: Any, cwd: Any = None, module: Any = "unoise_engine", stdin: Any = None) -> Any:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, input=stdin, timeout=120)


def same_grid(path: Path, reference: sitk.Image) -> np.ndarray:
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == reference.GetSize()
    for got, want in [
        (image.GetOrigin(), reference.GetOrigin()),
        (image.GetSpacing(), reference.GetSpacing()),
        (image.GetDirection(), reference.GetDirection()),
    ]:
        assert np.allclose(got, want, atol=1e-4)
    return sitk.GetArrayFromImage(image)


def test_a_file_is_explained_on_its_own_grid(ct_file: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    chosen = ("--methods", "unoise,gradcam,occlusion", "--bundle", tiny_bundle)
    done = engine("explain", "-i", ct_file, "-o", tmp_path / "out", *chosen)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Occlusion on ") and "up to " in done.stderr and done.stderr.count("\n") == 1
    assert "CASE case-0001: OK - bright" in done.stdout and "Not for clinical use" in done.stdout
    folder, reference = tmp_path / "out" / "case-0001", sitk.ReadImage(str(ct_file))
    assert not list(folder.parent.glob(".*partial*"))  # no temporary leftovers

    organ = same_grid(folder / "segmentation.nii.gz", reference)
    assert set(np.unique(organ)) == {0, 3}  # the label's value in the bundle
    truth = sitk.GetArrayFromImage(sitk.DiscreteGaussian(sitk.Cast(reference, sitk.sitkFloat32), [4.0] * 3)) > 60
    overlap = 2 * (truth & (organ > 0)).sum() / (truth.sum() + (organ > 0).sum())
    assert truth.sum() > 300 and overlap > 0.9
    for name in MAPS:
        values = same_grid(folder / f"{name}.nii.gz", reference)
        assert values.dtype == np.float32 and np.isfinite(values).all()
        inside, outside = values[organ > 0].mean(), values[organ == 0].mean()
        assert inside > outside + 0.05 * np.ptp(values), name  # larger = more important, and here that is the organ

    report = json.loads((folder / "report.json").read_text())
    assert report["organ"]["volume_ml"] == pytest.approx((organ > 0).sum() * 1.5 * 2.5 * 4.0 / 1000, abs=1e-3)
    kind = "adaptive: within 16 pixels of the organ, finished with an RMS error up to 2%"
    told = report["settings"]["occlusion"]
    assert told["kind"] == Occlusion().kind == kind and told["ended"] == "finished"
    assert told["looked_at"] == told["items"] > 0 and told["places"] > 20 and 0 <= told["estimated_error"] < 0.03
    assert not any("Occlusion" in note for note in report["notes"])
    assert set(report["seconds"]) >= {"read", "prepare", "segmentation", "unoise", "gradcam", "occlusion", "write"}
    assert report["model"]["synthetic"] and "Not for clinical use" in report["warning"]
    assert (folder / "overview.png").read_bytes()[:4] == b"\x89PNG"


def test_segmentation_is_the_logit_at_the_voxel(ct: Any, tiny_bundle: Any) -> None:
    """Against a slow path of its own: where the model's spacing is the CT's, nothing may be resampled."""
    ct = ellipsoid_ct(shape=(4, 40, 48), spacing_mm=(2.0, 2.0, 5.0))
    got = dict(explain_volume(ct, load_bundle(tiny_bundle, "cpu"), Settings(methods=("unoise",))))
    x = (np.clip((ct.voxels.astype(float) + 160) / 400, 0, 1) - 0.25) / 0.25
    blurred = np.stack([sum(np.roll(s, (i, j), (0, 1)) for i in range(-2, 3) for j in range(-2, 3)) / 25 for s in x])
    inner = np.s_[:, 3:-3, 3:-3]
    want = blurred - ORGAN_ABOVE
    assert (want[inner] > 0).any()
    assert np.allclose(got["importance-unoise"].voxels[inner], 5 * want[inner], atol=1e-3)
    clear = np.abs(want) > 1e-4
    assert ((got["segmentation"].voxels > 0) == (want > 0))[inner][clear[inner]].all()


@pytest.mark.parametrize("code", ["RAS", "SPL", "PIR", "LAI", "ASR", "RSP"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_orientation_and_format_do_not_matter(tiny_bundle: Any, tmp_path: Path, code: Any, suffix: Any) -> None:
    def in_world(found: Any, name: Any) -> Any:
        return AxialView.of(found.ct.grid).apply(found[name])

    bundle, upright = load_bundle(tiny_bundle, "cpu"), ellipsoid_ct(shape=(6, 40, 48))
    want = unoise_engine.explain(upright, ("unoise", "gradcam"), bundle)
    path = tmp_path / f"turned{suffix}"
    sitk.WriteImage(sitk.DICOMOrient(image_of(upright), code), str(path))
    got = unoise_engine.explain(path, ("unoise", "gradcam"), bundle)
    assert want.segmentation.any()
    assert (in_world(got, "segmentation") == in_world(want, "segmentation")).all()
    for name in ("unoise", "gradcam"):
        difference = np.abs(in_world(got, name) - in_world(want, name)).max()
        assert difference < 1e-3 * np.abs(want[name]).max()


def test_a_range_of_slices(ct: Any, tiny_bundle: Any) -> None:
    bundle = load_bundle(tiny_bundle, "cpu")
    whole = dict(explain_volume(ct, bundle, Settings(("unoise",))))
    part = dict(explain_volume(ct, bundle, Settings(("unoise",), slices=(4, 7))))
    for name, volume in part.items():
        assert np.allclose(volume.voxels[4:7], whole[name].voxels[4:7], atol=1e-5)
        assert (volume.voxels[:4] == 0).all() and (volume.voxels[7:] == 0).all()


def test_maps_in_files_are_those_in_memory_byte_for_byte(
    ct_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the model that ships: it cleans its segmentation up."""
    from unoise_engine.batch.run import explain_all

    for name, limit in (("memory", 1 << 40), ("files", 0)):
        monkeypatch.setattr("unoise_engine.volume.scratch.IN_MEMORY_BYTES", limit)
        methods = ("unoise", "gradcam", "occlusion")
        request = asked((ct_file,), tmp_path / name, methods=methods, device="cpu", picture=False)
        assert explain_all(request, "off") == 0
    files = sorted((tmp_path / "memory" / "case-0001").glob("*.nii.gz"))
    assert len(files) == 4
    for path in files:
        assert path.read_bytes() == (tmp_path / "files" / "case-0001" / path.name).read_bytes(), path.name
    assert sorted(p.name for p in (tmp_path / "files").glob("[!.]*")) == ["case-0001", "private", "results.jsonl"]


def test_json_progress(ct_file: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    chosen = ("--methods", "unoise,occlusion,gradcam", "--bundle", tiny_bundle, "--progress", "json")
    done = engine("explain", ct_file, "-o", tmp_path / "o", *chosen)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    stages = [line["stage"] for line in lines if line["event"] == "progress"]
    assert list(dict.fromkeys(stages)) == ["segmentation", "unoise", "occlusion", "gradcam"]
    (estimate,) = (line for line in lines if line["event"] == "estimate")
    assert estimate["stage"] == "occlusion" and 0 < estimate["slices"] <= 10 and estimate["seconds"] > 0
    place = lines.index(estimate)
    assert lines[place - 1]["stage"] == "unoise" and lines[place + 1]["stage"] == "occlusion"  # before it starts
    last = [line for line in lines if line["event"] == "progress"][-1]
    assert last["done"] == last["total"] == 10 and last["seconds_left"] == 0
    assert lines[-1]["event"] == "case" and lines[-1]["status"] == "OK"


def test_the_worker_answers_a_program(ct_file: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    out = tmp_path / "mit Umlaut äöü"
    chosen = {"bundle": str(tiny_bundle), "methods": ("unoise",), "format": "nrrd"}
    done = engine(module="unoise_engine.worker", stdin=question((ct_file,), out, **chosen))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["folder"] == str(out / "case-0001")
    assert (out / "case-0001" / "importance-unoise.nrrd").is_file()
    done = engine(module="unoise_engine.worker", stdin="{}")
    assert done.returncode == 2 and json.loads(done.stdout.splitlines()[-1])["event"] == "error"


def test_a_program_may_have_results_quickly(ct_file: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    """No picture, nothing compressed: the same voxels at the same place."""
    chosen = {"bundle": str(tiny_bundle), "methods": ("unoise",), "format": "nrrd"}
    folders = []
    for out, more in (("kept", {}), ("quick", {"picture": False, "compress": False})):
        done = engine(module="unoise_engine.worker", stdin=question((ct_file,), tmp_path / out, **chosen, **more))
        assert done.returncode == 0, done.stderr
        folders.append(tmp_path / out / "case-0001")
    kept, quick = folders
    assert (kept / "overview.png").exists() and not (quick / "overview.png").exists()
    report = json.loads((quick / "report.json").read_text())
    assert report["notes"] == [] and "overview" not in report["files"]
    for name in ("segmentation", "importance-unoise"):
        assert b"encoding: raw" in (quick / f"{name}.nrrd").read_bytes()[:500]
        one = sitk.ReadImage(str(kept / f"{name}.nrrd"))
        np.testing.assert_array_equal(same_grid(quick / f"{name}.nrrd", one), sitk.GetArrayFromImage(one))
    wrong = question((ct_file,), tmp_path / "o", format="nrrd", compress=False).replace('"nrrd"', '"nifti"')
    done = engine(module="unoise_engine.worker", stdin=wrong)
    assert done.returncode == 2 and "choose nrrd" in done.stderr


def test_raw_volumes_are_whole_or_not_there(ct: Any, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="no file size limits on this system")
    from unoise_engine.volume.raw import write_raw

    path = tmp_path / "map.nrrd"
    importance = ct.with_voxels(np.zeros(ct.voxels.shape, np.float32))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(OSError):
            write_raw(importance, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


def test_the_worker_needs_no_command_line_package(ct_file: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    """As in Slicer: only numpy, SimpleITK, pydicom and onnxruntime."""
    blocked = ("typer", "click", "rich", "matplotlib", "torch")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); from unoise_engine.worker import main; main()"
    request = question((ct_file,), tmp_path / "o", bundle=str(tiny_bundle), methods=("unoise",))
    done = subprocess.run([sys.executable, "-c", code], input=request, capture_output=True, text=True)
    assert '"status": "OK"' in done.stdout, done.stderr
    report = json.loads((tmp_path / "o" / "case-0001" / "report.json").read_text())
    assert report["notes"] == [] and (tmp_path / "o" / "case-0001" / "overview.png").exists()


@pytest.mark.parametrize(
    ("package", "command", "cure"),
    [
        ("torch", "train utility . -o run", '"torch>='),
        ("onnxruntime", "explain ct.nii.gz -o o --bundle {bundle}", 'run: pip install "onnxruntime>='),
    ],
)
def test_a_missing_package_is_one_line(ct_file: Any, tiny_bundle: Any, package: Any, command: Any, cure: Any) -> None:
    words = ["unoise_engine", *command.format(bundle=tiny_bundle).split(" ")]
    code = (
        f"import sys; sys.modules[{package!r}] = None; sys.argv = {words}; from unoise_engine.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ct_file.parent, timeout=60)
    assert done.returncode == 3 and done.stderr.count("\n") == 1, done.stderr
    assert package in done.stderr and cure in done.stderr and "internal error" not in done.stderr


def test_a_refused_case_does_not_stop_the_others(ct_file: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.nrrd").write_text("no")
    done = engine("explain", tmp_path / "bad.nrrd", ct_file, "-o", tmp_path / "o", "--bundle", tiny_bundle)
    assert done.returncode == 1
    assert "CASE case-0001: REFUSED " in done.stderr and "CASE case-0002: OK" in done.stdout
    assert [p.parent.name for p in (tmp_path / "o").glob("*/segmentation.nii.gz")] == ["case-0002"]


def test_a_name_that_the_terminal_cannot_show_ends_no_run(
    ct_file: Any, tiny_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    wrong = tmp_path / "a\nb\x1b[31m" / "none.nii.gz"
    done = engine("explain", ct_file, wrong, "-o", tmp_path / "患者", "--bundle", tiny_bundle, "--methods", "unoise")
    assert done.returncode == 1 and "2 inputs = 1 ok" in done.stdout and "\\u60a3\\u8005" in done.stdout, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("CASE case-0002: REFUSED NOT_FOUND: ") and line.isprintable()


def test_earlier_results_are_safe(ct_file: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    call = ("explain", ct_file, "-o", tmp_path / "o", "--bundle", tiny_bundle, "--methods", "unoise")
    assert engine(*call).returncode == 0
    before = (tmp_path / "o" / "case-0001" / "report.json").stat().st_mtime_ns
    again = engine(*call)
    assert again.returncode == 3 and "--overwrite" in again.stderr
    assert (tmp_path / "o" / "case-0001" / "report.json").stat().st_mtime_ns == before
    assert engine(*call, "--overwrite").returncode == 0
    assert (tmp_path / "o" / "case-0001" / "report.json").stat().st_mtime_ns > before


BAD = [
    (["explain", "nowhere.nii.gz", "-o", "o"], 2, "does not exist"),
    (["explain", "empty", "-o", "o"], 2, "holds no CT"),
    (["explain", "notes.txt", "-o", "o"], 2, "not a kind of file"),
    (["explain", "ct.nii.gz", "-o", "o", "--methods", "lime"], 2, "unknown method"),
    (["explain", "ct.nii.gz", "-o", "o", "--methods", ","], 2, "names no method"),
    (["explain", "ct.nii.gz", "-o", "o", "--slices", "5"], 2, "A:B"),
    (["explain", "ct.nii.gz", "-o", "o", "--slices", "5:500"], 2, "--slices 5:500 - outside the CT's 10 axial slices"),
    (["explain", "ct.nii.gz", "-o", "o", "--slices", "0:5"], 2, "from 1 at the feet"),
    (["explain", "ct.nii.gz", "-o", "o", "--slices", "6:5"], 2, "A:B"),
    (["explain", "-o", "o"], 2, "INPUT - is missing"),
    (["explain", "ct.nii.gz", "-o", "o", "--log", "nowhere/run.log"], 3, "--log nowhere/run.log - cannot be written"),
    (["explain", "ct.nii.gz", "-o", "o", "--sliced", "5"], 2, "see unoise_engine explain --help"),
    (["explain", "ct.nii.gz", "-o", "o", "--stride", "-1"], 2, "--stride -1"),
    (["explain", "ct.nii.gz", "-o", "o", "--format", "bmp"], 2, "--format"),
    (["explain", "ct.nii.gz", "-o", "o", "--device", "tpu"], 2, "--device tpu"),
    (["explain", "ct.nii.gz"], 2, "-o"),
    (["explode"], 2, "explode"),
    (["explain", "ct.nii.gz", "-o", "o", "--bundle", "nobody"], 3, "no such model bundle"),
    (["explain", "ct.nii.gz", "-o", "notes.txt/o"], 3, "cannot be written"),
    (["bundle", "verify", "empty"], 3, "bundle.json"),
    (["train", "utility", "empty", "-o", "run", "--recipe", "phantom-card"], 2, "--recipe phantom-card"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_calls_say_one_line(ct_file: Any, tiny_bundle: Any, arguments: Any, code: Any, said: Any) -> None:
    if arguments[0] == "train":
        pytest.importorskip("torch")
    home = ct_file.parent
    (home / "empty").mkdir()
    (home / "notes.txt").write_text("x")
    if "--bundle" not in arguments and arguments[0] == "explain":
        arguments = [*arguments, "--bundle", str(tiny_bundle)]
    done = engine(*arguments, cwd=home)
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0], done.stderr
    assert not list(home.glob("o/*/importance*"))
    assert "Traceback" in engine(*arguments, "--debug", cwd=home).stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals; there a process is simply ended")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_run_leaves_nothing_by_halves(tmp_path: Path, tiny_bundle: Any, sent: Any, code: Any) -> None:
    """Ctrl-C keeps the maps that are finished, and says how to go on; a signal of the system ends at once."""
    big = ellipsoid_ct(shape=(120, 96, 96))
    sitk.WriteImage(image_of(big), str(tmp_path / "big.nrrd"))
    command = [sys.executable, "-m", "unoise_engine", "explain", "big.nrrd", "-o", "o", "--bundle", str(tiny_bundle)]
    command += ["--methods", "unoise,occlusion,gradcam", "--progress", "json"]
    run = subprocess.Popen(
        [*command, "--stride", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if '"progress"' in line and '"occlusion"' in line:
            break
    time.sleep(0.1)
    run.send_signal(sent)
    _, said = run.communicate(timeout=30)
    assert run.returncode == code and not list((tmp_path / "o").glob(".*partial*"))
    maps = [path.name for path in (tmp_path / "o").glob("*/importance*")]
    if sent == signal.SIGTERM:
        assert said == "error: terminated - nothing of it is kept - run it again\n" and maps == []
        return
    assert said.endswith("error: interrupted - the maps that were finished are kept - go on with --resume\n")
    report = json.loads((tmp_path / "o" / "case-0001" / "report.json").read_text())
    assert maps == ["importance-unoise.nii.gz"] and report["settings"]["methods"] == ["unoise"]
    assert "interrupted before it was finished: Occlusion, Grad-CAM" in report["notes"]
    again = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "o").glob("*/importance*"))) == 3


def test_occlusion_takes_the_time_that_it_is_given(tmp_path: Path, tiny_bundle: Any) -> None:
    sitk.WriteImage(image_of(ellipsoid_ct(shape=(200, 128, 128))), str(tmp_path / "big.nrrd"))
    told = ["--bundle", tiny_bundle, "--methods", "occlusion", "--minutes", "0.02", "--no-view"]
    done = engine("explain", tmp_path / "big.nrrd", "-o", tmp_path / "o", *told)
    assert done.returncode == 0 and "up to 0:01" in done.stderr, done.stderr
    report = json.loads((tmp_path / "o" / "case-0001" / "report.json").read_text())
    made = report["settings"]["occlusion"]
    assert made["ended"] == "out of time" and made["minutes"] == 0.02 and 1 < made["looked_at"] <= made["items"]
    (note,) = [note for note in report["notes"] if note.startswith("Occlusion: ")]
    assert f"out of time after {made['places']} places, {made['looked_at']} of {made['items']} slices" in note
    reference = sitk.ReadImage(str(tmp_path / "big.nrrd"))
    values = same_grid(tmp_path / "o" / "case-0001" / "importance-occlusion.nii.gz", reference)
    organ = same_grid(tmp_path / "o" / "case-0001" / "segmentation.nii.gz", reference) > 0
    shown = organ.any((1, 2))
    assert shown.sum() == made["items"]
    assert values[shown].max((1, 2)).min() > 0 and not values[~shown].any(), "no slice with organ stays empty"
    assert values[organ].mean() > 2 * values[shown][~organ[shown]].mean()


@needs_real_ct
def test_the_real_series(tiny_bundle: Any, tmp_path: Path) -> None:
    done = engine("explain", REAL_CT, "-o", tmp_path, "--bundle", tiny_bundle, "--methods", "unoise,gradcam")
    assert done.returncode == 0, done.stderr
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(REAL_CT)))
    reference = reader.Execute()
    folder = tmp_path / "case-0001"
    organ = same_grid(folder / "segmentation.nii.gz", reference) > 0
    assert organ.any()
    hu = sitk.GetArrayFromImage(reference)
    assert np.median(hu[organ]) > 60  # bright tissue is where the overlay says it is
    for name in MAPS[:2]:
        values = same_grid(folder / f"{name}.nii.gz", reference)
        assert np.isfinite(values).all() and (values != 0).any()


def test_recipe_of_the_tiny_bundle_is_what_the_test_assumes() -> None:
    assert RECIPE.window_hu == (-160.0, 240.0) and RECIPE.mean == (0.25,) and RECIPE.std == (0.25,)
