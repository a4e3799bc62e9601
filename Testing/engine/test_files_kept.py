"""Whatever a command is asked, every byte that the user had is still there afterwards.

Each test makes a folder of the user's, hashes it, calls the command, and hashes again.
"""

import hashlib
import io
import json
import shutil
import signal
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import ellipsoid_ct
from Testing.engine.dicom.series import write_series
from Testing.engine.lab.prepare.world import save, torso, write_msd, write_pancreas_ct
from unoise_engine.cli.app import app
from unoise_engine.cli.guard import guarded
from unoise_engine.cli.question import answer
from unoise_engine.files import INVENTORY, new_file, write
from unoise_engine.lab.painted.tissues import NUMBERS
from unoise_engine.results.view.page import viewer
from unoise_engine.volume.write import write_volume

MINE = "years of work"


def engine(*words: Any) -> Any:
    """The command line, in this process: a hundred calls, and torch is loaded once."""
    return ended(lambda: guarded(lambda: app(list(map(str, words)), standalone_mode=False), False, False))


def worker(**question: Any) -> Any:
    return ended(lambda: guarded(lambda: answer(json.dumps(question, default=str).encode()), True, False))


def ended(work: Any) -> Any:
    before = signal.getsignal(signal.SIGTERM)
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = work()
    signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())


def tree(folder: Any) -> Any:
    """Relative name -> sha256, of every file."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def put(*paths: Any) -> None:
    """The user's own files, at these places."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MINE)


class Kept:
    """The user's folder: what lay in it when this was made must lie there, unchanged."""

    def __init__(self, folder: Any) -> None:
        self.folder, self.before = folder, tree(folder)
        assert self.before

    def check(self) -> Any:
        after = tree(self.folder)
        lost = [name for name, digest in self.before.items() if after.get(name) != digest]
        assert not lost, lost
        return after.keys() - self.before.keys()


def refused(done: Any, code: Any) -> None:
    """One sentence with a cure, and this exit code."""
    assert done.returncode == code, done
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and last.count(" - ") >= 2 and "another" in last, done


@pytest.fixture
def world(tmp_path: Path, tiny_bundle: Any) -> Any:
    """Inputs of every kind, each in a folder of its own, with something beside that no command knows."""
    home = tmp_path / "world"
    write_series(home / "series")
    write_volume(ellipsoid_ct(), home / "ct.nii.gz")
    (home / INVENTORY).unlink()  # it is the user's
    for k in range(4):
        hu, organ = torso(k)
        save(hu, home / "pairs" / f"p{k}-ct.nii.gz")
        save(organ[: 11 if k == 3 else 12].astype(np.uint8), home / "pairs" / f"p{k}-labels.nii.gz")
    (home / "pairs" / "labels.json").write_text('{"pancreas": 1, "bright": 1}')
    write_msd(home / "msd")
    write_pancreas_ct(home / "pancreas-ct")
    save(np.where(torso(1)[1], NUMBERS["pancreas"], 0).astype(np.uint8), home / "maps" / "s1.nii.gz")
    (home / "maps" / "labels.json").write_text(json.dumps(NUMBERS, indent=4))
    shutil.copytree(tiny_bundle, home / "bundle")
    put(home / "run" / "best.ckpt", home / "run" / "notes.txt", home / "unoise" / "best.ckpt")
    for name in ("series", "pairs", "msd", "pancreas-ct", "maps"):
        put(home / name / "notes.txt")
    return home


def reading(world: Any) -> Any:
    """Command -> (its words but for -o OUT, what it reads)."""
    bundle = ("--bundle", world / "bundle")
    return {
        "explain": (("explain", world / "series", *bundle), "series"),
        "obscure": (("obscure", world / "series", *bundle), "series"),
        "benchmark": (("benchmark", "--quick", "--ct", world / "series", *bundle), "series"),
        "evaluate": (("evaluate", "--data", world / "pairs", *bundle), "pairs"),
        "evaluate maps": (("evaluate", "--data", world / "pairs", "--maps", world / "maps", *bundle), "maps"),
        "pairs": (("prepare", "pairs", world / "pairs"), "pairs"),
        "msd": (("prepare", "msd", world / "msd"), "msd"),
        "pancreas-ct": (("prepare", "pancreas-ct", world / "pancreas-ct"), "pancreas-ct"),
        "paint": (("paint", world / "maps"), "maps"),
        "train utility": (("train", "utility", world / "pairs"), "pairs"),
        "train init": (("train", "utility", world / "pairs", "--init", world / "run"), "run"),
        "train unoise": (("train", "unoise", world / "pairs", "--utility", world / "run"), "run"),
        "export": (("export", world / "run", world / "unoise", "--card", "card.toml"), "run"),
        "unpack": (
            ("bundle", "unpack", world / "bundle", "--split", "Resources/Recipes/pancreas-split.json"),
            "bundle",
        ),
        "reproduce": (("reproduce", "--data", world / "pairs", "--scale", "smoke"), "pairs"),
    }


COMMANDS = (
    "explain", "obscure", "benchmark", "evaluate", "evaluate maps", "pairs", "msd", "pancreas-ct", "paint",
    "train utility", "train init", "train unoise", "export", "unpack", "reproduce",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_into_what_is_read(world: Any, command: Any) -> None:
    words, source = reading(world)[command]
    (world / "link").symlink_to(source)
    kept = Kept(world)
    for out in (world / source, world / source / "out", world / "link", world / "link" / "deep" / "out"):
        done = engine(*words, *([] if command == "reproduce" else ["-o"]), out)
        codes = (3,) if command == "export" and out in (world / source, world / "link") else (2,)  # "exists already"
        assert done.returncode in codes, done
        refused(done, done.returncode)
    assert not kept.check()


@pytest.mark.parametrize("command", COMMANDS)
def test_around_what_is_read(world: Any, command: Any) -> None:
    """A folder with the input in it: nothing of the user's is lost, whether it is refused or done."""
    words, _ = reading(world)[command]
    kept = Kept(world)
    done = engine(*words, *([] if command == "reproduce" else ["-o"]), world)
    if command in ("explain", "obscure"):
        assert done.returncode == 0, done
    elif command != "benchmark":  # which cannot measure so small a bundle
        refused(done, 3 if command == "export" else 2)
    assert bool(kept.check()) == (done.returncode == 0)


RESULTS = {  # command -> the names of its results
    "explain": ("case-0001/notes.txt", "case-0001/record.json", "case-0001", "results.jsonl", "summary.csv",
                "summary.html", "private/inputs.csv", "viewer", f"viewer/{viewer()[0].name}"),
    "obscure": ("case-0001-obscured.nii.gz", "case-0001-obscured.json"),
    "benchmark": ("benchmark.md", "benchmark.csv", "machine.json", "nodes.csv", "growth.csv", "benchmark.png"),
    "evaluate": ("report.md", "curves.csv", "summary.csv", "segmentation.csv", "checks.csv", "per-patient.csv",
                 "curves.png", "panels-unoise.png"),
    "pairs": ("p0-ct.nii.gz", "p3-labels.nii.gz", "p3-ct.nii.gz", "labels.json", "split.json", "prepared.json"),
    "msd": ("pancreas_001-ct.nii.gz", "labels.json"),
    "pancreas-ct": ("pancreas-0001-labels.nii.gz",),
    "paint": ("maps-s1_0-ct.nii.gz", "labels.json", "painted.json"),
    "train utility": ("best.ckpt", "notes.txt", "logs/notes.txt"),
    "train unoise": ("recipe.toml",),
    "export": ("bundle.json", "notes.txt"),
    "unpack": ("notes.txt",),
    "reproduce": ("phantoms/notes.txt", "report.html", "figures/fig2.png", "records/phantoms.json"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "name"), [(c, name) for c, names in RESULTS.items() for name in names])
def test_something_of_the_users_has_the_results_name(world: Any, tmp_path: Path, command: Any, name: Any) -> None:
    words, _ = reading(world)[command]
    words = words if command != "reproduce" else ("reproduce", "--scale", "smoke")
    put(tmp_path / "out" / name)
    kept, inputs = Kept(tmp_path / "out"), Kept(world)
    more = {"explain": (["--overwrite"], ["--resume"]), "evaluate": (["--overwrite"],), "benchmark": (["--overwrite"],)}
    for options in ([], *more.get(command, ())):
        done = engine(*words, *([] if command == "reproduce" else ["-o"]), tmp_path / "out", *options)
        assert done.returncode in (2, 3), done
        refused(done, done.returncode)
        assert "--overwrite" not in done.stderr
        kept.check()
    inputs.check()


def test_a_ct_in_the_output_folder(world: Any) -> None:
    """explain ct.nii.gz -o . is what people do."""
    kept = Kept(world)
    for options in ([], ["--overwrite"], ["--resume"]):
        call = (
            "explain",
            world / "ct.nii.gz",
            "--bundle",
            world / "bundle",
            "-o",
            world,
            "--methods",
            "unoise",
            *options,
        )
        assert engine(*call).returncode == 0
        assert {name.partition("/")[0] for name in kept.check()} == {
            "case-0001", "private", "viewer", "results.jsonl", ".unoise.sha256"
        }  # fmt: skip


def test_a_result_named_as_its_input(world: Any) -> None:
    """With --keep-names a folder's result has the folder's own name."""
    kept = Kept(world)
    for options in ([], ["--overwrite"], ["--resume"]):
        call = ("explain", world / "series", "--keep-names", "--bundle", world / "bundle", "-o", world, *options)
        refused(engine(*call), 3)
    shutil.copy(world / "ct.nii.gz", world / "case-0001-obscured.nii.gz")
    kept = Kept(world)
    refused(engine("obscure", world / "case-0001-obscured.nii.gz", "--bundle", world / "bundle", "-o", world), 3)
    kept.check()


@pytest.mark.parametrize("mine", ["notes.txt", "segmentation.nii.gz", "overview.png", "report.json", ".hidden"])
def test_what_somebody_put_into_a_result(world: Any, tmp_path: Path, mine: Any) -> None:
    """Notes beside it, or a corrected outline: neither --overwrite nor --resume takes them."""
    out = tmp_path / "out"
    call = ("explain", world / "ct.nii.gz", "--bundle", world / "bundle", "-o", out, "--methods", "unoise")
    assert engine(*call).returncode == 0
    put(out / "case-0001" / mine)
    kept = Kept(out / "case-0001")
    done = engine(*call, "--overwrite")
    assert done.returncode in (1, 3) and "move it away" in done.stderr and mine in done.stderr, done
    assert not kept.check()
    done = engine(*call, "--resume", "--slices", "1:5")
    assert done.returncode == 1 and "NOT_OURS" in done.stderr, done
    assert not kept.check()
    (out / "case-0001" / mine).unlink()
    assert engine(*call, "--resume").returncode == 0


def test_obscure_twice_into_one_folder(world: Any, tmp_path: Path) -> None:
    call = ("obscure", world / "ct.nii.gz", "--bundle", world / "bundle", "-o", tmp_path / "out")
    assert engine(*call).returncode == 0
    kept = Kept(tmp_path / "out")
    refused(engine(*call, "--seed", 2), 3)
    assert not kept.check()


def test_an_earlier_report(world: Any, tmp_path: Path) -> None:
    shutil.copy(world / "bundle" / "bundle.json", tmp_path)
    call: tuple[Any, ...] = ("evaluate", "--data", world / "pairs", "--bundle", world / "bundle", "--panels", 0)
    call += ("-o", tmp_path / "out", "--methods", "unoise,random", "--resamples", 50)
    assert engine(*call).returncode == 1  # one case of the four is refused
    kept = Kept(tmp_path / "out")
    done = engine(*call)
    refused(done, 3)
    assert "--overwrite" in done.stderr and not kept.check()
    assert engine(*call, "--overwrite").returncode == 1
    (tmp_path / "out" / "report.md").write_text(MINE)
    kept = Kept(tmp_path / "out")
    refused(engine(*call, "--overwrite"), 3)
    kept.check()


def test_phantoms(tmp_path: Path) -> None:
    small = ("--size", 64, "--slices", 8, "--count", 2)
    out = tmp_path / "out"
    assert engine("phantom", out, *small).returncode == 0
    kept = Kept(out)
    assert engine("phantom", out, *small).returncode == 0  # the same bytes
    refused(engine("phantom", out, *small, "--seed", 1), 3)
    refused(engine("phantom", out, *small, "--planted"), 3)
    kept.check()
    for name in ("labels.json", "case-0001-ct.nii.gz", "case-0000-labels.nii.gz"):
        put(tmp_path / name / name)
        kept = Kept(tmp_path / name)
        refused(engine("phantom", tmp_path / name, *small, "--jobs", 1), 3)
        kept.check()


def archive(path: Any, patients: Any) -> Any:
    hu, organ = torso(5, (len(patients), 96, 96))
    np.savez(path, image=hu, mask=organ, patient=patients, spacing_mm=np.full(len(patients), 1.5))
    return path


def test_slices(tmp_path: Path) -> None:
    first, second = archive(tmp_path / "a.npz", [1, 1, 2]), archive(tmp_path / "b.npz", [3, 3, 4])
    out = tmp_path / "out"
    assert engine("prepare", "slices", first, "-o", out).returncode == 0
    kept = Kept(out)
    refused(engine("prepare", "slices", second, "-o", out), 3)
    assert not kept.check()
    for name in ("patient-01-ct.nii.gz", "labels.json", "archive.json"):
        put(tmp_path / name / name)
        kept = Kept(tmp_path / name)
        refused(engine("prepare", "slices", first, "-o", tmp_path / name), 3)
        kept.check()
    refused_self = engine("prepare", "slices", first, "-o", first)
    assert refused_self.returncode == 3 and len(refused_self.stderr.splitlines()) == 1


def test_prepare_takes_away_only_its_own(world: Any, tmp_path: Path) -> None:
    """A case that becomes damaged loses the pair that was made of it, unless somebody has corrected that since."""
    out = tmp_path / "out"
    assert engine("prepare", "pairs", world / "pairs", "-o", out).returncode == 1
    put(out / "p0-labels.nii.gz")
    for k in range(2):
        (world / "pairs" / f"p{k}-ct.nii.gz").write_bytes(b"")
    kept = Kept(out)
    refused(engine("prepare", "pairs", world / "pairs", "-o", out), 3)
    kept.check()
    (out / "p0-labels.nii.gz").unlink()
    assert engine("prepare", "pairs", world / "pairs", "-o", out).returncode == 1
    assert sorted(p.name for p in out.glob("*.nii.gz")) == ["p2-ct.nii.gz", "p2-labels.nii.gz"]


@pytest.mark.parametrize(
    "name", ["synthetic-ct/labels.json", "synthetic-ct/case-0000-ct.nii.gz", "case-0000-ct/notes.txt"]
)
def test_demo(tmp_path: Path, name: Any) -> None:
    put(tmp_path / "demo" / name)
    kept = Kept(tmp_path / "demo")
    refused(engine("demo", "-o", tmp_path / "demo"), 3)
    kept.check()


@pytest.mark.parametrize("name", ["phantoms", "pancreas-utility", "pancreas-bundle", "min-max"])
def test_a_stage_whose_folder_is_there(tmp_path: Path, name: Any) -> None:
    from unoise_engine.errors import Environment
    from unoise_engine.lab.reproduce.stages import Stages

    def make(folder: Any, begun: Any) -> Any:
        folder.mkdir(exist_ok=True)
        write(folder / "result", "ours")
        return {}

    put(tmp_path / "a" / name / "notes.txt")
    kept = Kept(tmp_path / "a")
    with pytest.raises(Environment, match="move it away"):
        Stages(tmp_path / "a").run(name, 1, make)
    kept.check()
    Stages(tmp_path / "b").run(name, 1, make)
    put(tmp_path / "b" / name / "notes.txt")
    kept = Kept(tmp_path / "b" / name)
    Stages(tmp_path / "b").run(name, 1, make)  # done before
    with pytest.raises(Environment, match="move it away"):
        Stages(tmp_path / "b").run(name, 2, make)
    assert not kept.check()


def test_a_checkpoint_of_the_users(tmp_path: Path) -> None:
    """A training that goes on would replace it after its next round."""
    torch = pytest.importorskip("torch")
    from unoise_engine.errors import Environment, Integrity
    from unoise_engine.training.begun import Begun

    with new_file(tmp_path / "last.ckpt") as draft:
        torch.save({"loops": {}, "state_dict": {}}, draft.path)
    assert Begun.of(tmp_path).checkpoint == tmp_path / "last.ckpt"
    for name in ("best.ckpt", "metrics.csv"):
        put(tmp_path / name)
        with pytest.raises(Environment, match="move it away"):
            Begun.of(tmp_path)
        (tmp_path / name).unlink()
    torch.save({"loops": {}, "state_dict": {"mine": torch.zeros(1)}}, tmp_path / "last.ckpt")
    kept = Kept(tmp_path)
    with pytest.raises(Integrity, match="not what the training wrote"):
        Begun.of(tmp_path)
    assert not kept.check()


def test_bundles(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNOISE_MODELS", str(tmp_path / "models"))
    put(tmp_path / "models" / "tiny" / "notes.txt")
    kept = Kept(tmp_path / "models")
    for options in ([], ["--overwrite"]):
        assert engine("bundle", "install", world / "bundle", *options).returncode == 3
        assert not kept.check()
    (tmp_path / "models" / "tiny" / "notes.txt").unlink()
    assert engine("bundle", "install", world / "bundle", "--overwrite").returncode == 0  # an empty folder is nobody's
    assert engine("bundle", "install", world / "bundle", "--overwrite").returncode == 0
    installed = tmp_path / "models" / "tiny"
    put(installed / "README.md")
    kept = Kept(installed)
    refused(engine("bundle", "install", installed, "--overwrite"), 2)
    refused(engine("bundle", "install", world / "bundle", "--overwrite"), 3)
    assert not kept.check()


def test_the_worker(world: Any, tmp_path: Path) -> None:
    kept = Kept(world)
    options = {"model": {"bundle": str(world / "bundle")}, "results": {"format": "nrrd"}}
    for out in (world / "series", world / "series" / "out"):
        refused(worker(explain={"inputs": [world / "series"], "out": out, "options": options}), 2)
    made = worker(explain={"inputs": [world / "series"], "out": tmp_path / "out", "options": options})
    assert made.returncode == 0, made
    folder = tmp_path / "out" / "case-0001"
    request = {
        "ct": folder / "segmentation.nrrd",
        "results": {"segmentation": folder / "segmentation.nrrd"},
        "dicom": sorted((world / "series").glob("*.dcm")),
        "report": json.loads((folder / "report.json").read_text()),
    }
    for out in (world / "series", folder, world / "ct.nii.gz", world / "series" / "notes.txt"):
        refused(worker(convert=request | {"out": out}), 3)
    kept.check()


def test_a_list_of_what_was_sent(tmp_path: Path) -> None:
    from unoise_engine.errors import Environment
    from unoise_engine.send.spool import Spool

    put(tmp_path / "send.jsonl")
    with pytest.raises(Environment, match="move it away"):
        Spool(tmp_path, "AE@host:104")
    assert (tmp_path / "send.jsonl").read_text() == MINE


def test_hidden_things_in_the_output_folder(world: Any, tmp_path: Path) -> None:
    """What looks like the rest of a killed run, and is not."""
    out = tmp_path / "out"
    put(out / ".case-0001-7-partial" / "notes.txt", out / ".case-0001-7-partial-old" / "notes.txt", out / ".1-probe",
        out / ".2-summary.csv", out / ".locks" / "case-0001", out / ".locks" / "notes", out / ".unoise-notes",
        out / "private" / ".3-inputs.csv")  # fmt: skip
    kept = Kept(out)
    call = (
        "explain",
        world / "ct.nii.gz",
        world / "series",
        "--bundle",
        world / "bundle",
        "-o",
        out,
        "--methods",
        "unoise",
    )
    assert engine(*call).returncode == 0
    assert engine(*call, "--overwrite").returncode == 0
    kept.check()


def test_nothing_of_this_is_read_as_an_input(world: Any, tmp_path: Path) -> None:
    """The inventory is no file that explain tells of having skipped."""
    assert engine("phantom", tmp_path / "p", "--size", 64, "--slices", 8).returncode == 0
    done = engine(
        "explain", tmp_path / "p", "--bundle", world / "bundle", "-o", tmp_path / "out", "--methods", "unoise"
    )
    assert ".unoise" not in done.stdout + done.stderr, done


def test_the_tests_look(tmp_path: Path) -> None:
    put(tmp_path / "a", tmp_path / "deep" / "b")
    kept = Kept(tmp_path)
    Path(tmp_path / "deep" / "b").write_text("other")
    with pytest.raises(AssertionError, match="deep/b"):
        kept.check()
