"""Tables of label names: both directions, a map's own table, those that ship, and every refusal."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.lab.painted.names import names_file, read_names
from unoise_engine.lab.painted.tissues import COUNTS_AS, GIVEN, NUMBERS, Tissue, tissue_of
from unoise_engine.lab.painted.write import find_maps
from unoise_engine.lab.phantom.labels import LABELS


def write_table(path: Any, table: Any) -> Any:
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


def write_map(path: Any) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 2, 2), np.uint8)), str(path))
    return path


@pytest.mark.parametrize(
    "table",
    [
        {"pancreas": 2, "liver": 5},
        {"2": "pancreas", "5": "liver", "0": "background"},
        {"pancreas": [2, 4711], "liver": [5, 99]},
    ],
)
def test_every_way_to_write_a_table(tmp_path: Path, table: Any) -> None:
    assert read_names(write_table(tmp_path / "labels.json", table)) == {2: "pancreas", 5: "liver"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"liver": 5}, "names no pancreas"),
        ({"pancreas": 2, "pancras": 3}, "not known: pancras"),
        ({"pancreas": "two"}, "no table of label names"),
        ({"pancreas": True}, "no table of label names"),
        ({"pancreas": []}, "no table of label names"),
        ([1, 2], "no table of label names"),
        ({}, "no table of label names"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path: Path, table: Any, said: Any) -> None:
    with pytest.raises(Usage, match=said) as caught:
        read_names(write_table(tmp_path / "labels.json", table))
    assert str(caught.value).startswith(str(tmp_path / "labels.json")) and str(caught.value).count(" - ") == 2


@pytest.mark.parametrize(("name", "pancreas"), [("multiorgan", 2), ("amos", 10), ("spl-atlas", 6)])
def test_tables_that_ship(name: Any, pancreas: Any) -> None:
    assert read_names(names_file(name))[pancreas] == "pancreas"


def test_unknown_table() -> None:
    with pytest.raises(Usage, match="ships: amos, multiorgan, spl-atlas"):
        names_file("nowhere")


def test_a_maps_own_table_wins_and_names_hold_no_underscore(tmp_path: Path) -> None:
    first, second = write_map(tmp_path / "set_a" / "one_x.nii.gz"), write_map(tmp_path / "set_a" / "two.nrrd")
    write_table(tmp_path / "set_a" / "labels.json", {"pancreas": 1})
    write_table(tmp_path / "set_a" / "one_x.json", {"pancreas": [9, 100]})
    found = {m.path: m for m in find_maps([tmp_path / "set_a"])}
    assert found[first].names == {9: "pancreas"} and found[second].names == {1: "pancreas"}
    assert [m.name for m in found.values()] == ["set-a-one-x", "set-a-two"]


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    write_map(tmp_path / "maps" / "one.nii.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseRefused, match=r"one\.nii\.gz - has no table of label names - add a labels\.json") as caught:
        find_maps([tmp_path / "maps"])
    assert caught.value.code == "NO_NAMES"
    with pytest.raises(Usage, match="holds no label map"):
        find_maps([tmp_path / "empty"])
    with pytest.raises(Usage, match="is no folder"):
        find_maps([tmp_path / "absent"])
    with pytest.raises(Usage, match="--names - 2 tables for 1 folders"):
        find_maps([tmp_path / "maps"], ["amos", "multiorgan"])
    write_map(tmp_path / "maps" / "one.nrrd")
    with pytest.raises(Usage, match="would be named as"):
        find_maps([tmp_path / "maps"], ["amos"])


def test_labels_are_the_phantoms_and_every_tissue_counts_once() -> None:
    assert NUMBERS | LABELS == NUMBERS and set(NUMBERS) == set(COUNTS_AS)
    assert len(set(NUMBERS.values())) == len(NUMBERS)
    parts = [part for tissues in COUNTS_AS.values() for part in tissues]
    assert len(parts) == len(set(parts))


def test_structure_names() -> None:
    assert tissue_of("vertebrae_L1") == tissue_of("vertebrae") == Tissue.VERTEBRA
    assert tissue_of("lung_upper_lobe_left") == Tissue.LUNG_LEFT
    assert tissue_of("lung_middle_lobe_right") == Tissue.LUNG_RIGHT
    assert tissue_of("no_such_thing") is None
    assert set(LABELS) - {n for n in LABELS if n.startswith(("iliopsoas", "lung"))} <= set(GIVEN)
