"""Whatever a command is asked, every byte that the user had is still there afterwards."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from Testing.engine.lab.prepare.world import save, torso


def engine(*words):
    return subprocess.run([sys.executable, "-m", "unoise_engine", *map(str, words)], capture_output=True, text=True)


def tree(folder):
    """Relative name -> sha256, of every file."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def lost(before, folder):
    after = tree(folder)
    return [name for name, digest in before.items() if after.get(name) != digest]


@pytest.fixture
def pairs(tmp_path):
    """Five good pairs and one whose labels are on another grid."""
    for k in range(6):
        hu, organ = torso(k)
        save(hu, tmp_path / "mine" / f"p{k}-ct.nii.gz")
        save(organ[: 11 if k == 5 else 12].astype(np.uint8), tmp_path / "mine" / f"p{k}-labels.nii.gz")
    return tmp_path / "mine"


def test_prepare_into_its_own_source(pairs):
    before = tree(pairs)
    for out in (pairs, pairs / "out"):
        done = engine("prepare", "pairs", pairs, "--labels", 1, "-o", out)
        assert done.returncode == 2 and "into what is read" in done.stderr, done
    assert not lost(before, pairs)


def test_prepare_keeps_a_strangers_file_of_a_refused_case(pairs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(pairs / "p5-labels.nii.gz", out)
    before = tree(out)
    assert engine("prepare", "pairs", pairs, "--labels", 1, "-o", out).returncode == 3
    assert not lost(before, out)


def test_reproduce_keeps_folders_of_its_stages_names(tmp_path):
    for name in ("phantoms", "pancreas-utility"):
        out = tmp_path / name / "out"
        (out / name).mkdir(parents=True)
        (out / name / "thesis.txt").write_text("years of work")
        before = tree(out)
        if name == "phantoms":
            done = engine("reproduce", out, "--scale", "smoke", "--progress", "off")
            assert done.returncode == 3 and "move it away" in done.stderr, done
        else:
            from unoise_engine.errors import Environment
            from unoise_engine.lab.reproduce.stages import Stages

            with pytest.raises(Environment, match="move it away"):
                Stages(out).run(name, 1, lambda folder, begun: {})
        assert not lost(before, out)


def test_obscure_twice_into_one_folder(ct_file, tiny_bundle, tmp_path):
    out = tmp_path / "out"
    call = ("obscure", ct_file, "--bundle", tiny_bundle, "-o", out)
    assert engine(*call).returncode == 0
    before = tree(out)
    other = shutil.copy(ct_file, tmp_path / "other.nii.gz")
    done = engine("obscure", other, "--bundle", tiny_bundle, "-o", out, "--seed", 2)
    assert done.returncode == 3 and "exists already" in done.stderr
    assert not lost(before, out)
    assert json.loads((out / "case-0001-obscured.json").read_text())["seed"] == 0
