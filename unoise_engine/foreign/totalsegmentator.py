"""TotalSegmentator's weights as sources: nnU-Net v2 folders, and what TotalSegmentator does around nnU-Net.

Wasserthal et al., Radiology: Artificial Intelligence 5 (2023). As in its version 2.18: images turned to the closest of
RAS+ and resampled by scipy's zoom, of order 1, to whole Hounsfield units; then nnU-Net with fold 0, without mirroring;
labels come back by the nearest voxel. What it may do before and after that, cropping to organs that another net finds
and removing small pieces, a bundle does not do. Names of labels are those in dataset.json.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from unoise_engine.errors import Environment, Usage, printable
from unoise_engine.foreign.nnunet import CHECKPOINT, folds, read_nnunet, results_folder
from unoise_engine.foreign.nnunet_plans import TURNED_AXES, read_table
from unoise_engine.foreign.source import Source
from unoise_engine.models.preparation import Resampling, Step

CITATION = (
    "Wasserthal J, Breit H-C, Meyer MT, et al. TotalSegmentator: Robust Segmentation of 104 Anatomic Structures in CT "
    "Images. Radiology: Artificial Intelligence 5(5), e230024 (2023)."
)
# Task -> numbers of its nets' data sets; _fast and _fastest as on TotalSegmentator's command line.
TASKS: dict[str, tuple[int, ...]] = {
    "total": (291, 292, 293, 294, 295), "total_fast": (297,), "total_fastest": (298,),
    "total_v3": (831, 832, 833, 834, 835), "total_v3_fast": (836,), "total_v3_fastest": (837,),
    "total_mr": (850, 851), "total_mr_fast": (852,), "total_mr_fastest": (853,),
    "body": (299,), "body_fast": (300,), "body_mr": (597,), "body_mr_fast": (598,),
    "lung_vessels": (117,), "lung_vessels_LEGACY": (258,), "cerebral_bleed": (150,), "hip_implant": (260,),
    "pleural_pericard_effusion": (315,), "liver_vessels": (8,), "head_glands_cavities": (775,),
    "headneck_bones_vessels": (776,), "head_muscles": (777,), "headneck_muscles": (778, 779),
    "oculomotor_muscles": (351,), "lung_nodules": (913,), "kidney_cysts": (789,), "breasts": (527,),
    "ventricle_parts": (552,), "liver_segments": (570,), "liver_segments_mr": (576,), "liver_lesions": (591,),
    "liver_lesions_mr": (589,), "craniofacial_structures": (115,), "abdominal_muscles": (952,), "teeth": (113,),
    "trunk_cavities": (343,), "brain_aneurysm": (615,), "vertebrae_body": (305,), "vertebrae_mr": (756,),
    "vertebrae_pp": (803,), "heartchambers_highres": (301,), "appendicular_bones": (304,),
    "appendicular_bones_mr": (855,), "tissue_types": (481,), "tissue_types_mr": (925,), "tissue_4_types": (485,),
    "face": (303,), "face_mr": (856,), "brain_structures": (409,), "thigh_shoulder_muscles": (857,),
    "coronary_arteries": (509,), "coronary_arteries_LEGACY": (507,), "aortic_sinuses": (920,),
    "renal_arteries": (710,), "aorta_annulus": (713,), "aortic_dissection": (716,),
    "pulmonary_artery_landmarks": (514,),
}  # fmt: skip
OPEN = ("total", "total_fast", "total_fastest", "total_mr", "total_mr_fast", "total_mr_fastest", "body", "body_fast",
        "lung_vessels_LEGACY", "cerebral_bleed", "hip_implant", "pleural_pericard_effusion")  # fmt: skip
OPEN_LICENCE = "Apache-2.0; weights openly available for any usage, as TotalSegmentator's README says"
NEED_KEY = frozenset((301, 303, 304, 409, 481, 485, 507, 509, 514, 710, 713, 716, 855, 856, 857, 920, 925))
NOT_RESAMPLED = frozenset((8, 150, 258, 260, 301, 315))  # but by nnU-Net itself
EVERY_FOLD = frozenset((315, 514, 615, 713, 716))
CROPPED = frozenset((8, 113, 115, 117, 150, 258, 260, 301, 315, 351, 409, 507, 509, 552, 570, 576, 589, 591, 775, 776,
                     777, 778, 779, 789, 913, 920, 952))  # fmt: skip
WIDE_STEP = 0.8  # of a window, in the tasks whose names begin with total
TERMS = {"key": "TotalSegmentator gives these weights out with a licence key only", 615: "non-commercial, CC BY-NC"}


def weights_home() -> Path:
    """The folder in which TotalSegmentator keeps its weights; it need not be there."""
    if weights := os.environ.get("TOTALSEG_WEIGHTS_PATH"):
        return Path(weights)
    home = os.environ.get("TOTALSEG_HOME_DIR")
    return (Path(home) if home else Path.home() / ".totalsegmentator") / "nnunet" / "results"


def task_folders(task: str) -> list[Path]:
    """The weights' folders of a task, or of a data set's number. Raises Usage or Environment."""
    home = weights_home()
    numbers = TASKS.get(task, (int(task),) if task.isdecimal() and len(task) < 5 else ())
    if not numbers:
        raise Usage(
            f"--task {printable(task)[:60]}", "is none of TotalSegmentator's", f"choose from {', '.join(TASKS)}"
        )
    found = []
    for number in numbers:
        there = sorted(path for path in home.glob(f"Dataset{number:03d}_*") if path.is_dir())
        if len(there) != 1:
            what = f"holds {len(there) or 'no'} weights of Dataset{number:03d}, for {task}"
            cure = (
                f"have TotalSegmentator fetch them (totalseg_download_weights -t {task}), or set TOTALSEG_WEIGHTS_PATH"
            )
            raise Environment(home, what, cure)
        found += there
    return found


def is_weights_folder(folder: Path) -> bool:
    """Whether a folder lies where TotalSegmentator keeps its weights, or is named as one of theirs."""
    here = folder.absolute()
    named = re.search(r"Dataset\d{3}_Total(Segmentator|SegMRI)", str(here))
    return bool(named) or weights_home().absolute() in here.parents


def read_totalsegmentator(folder: Path, *, config: str = "", fold: str = "", checkpoint: str = CHECKPOINT) -> Source:
    """One net of TotalSegmentator's, from a folder DatasetNNN_NAME or one below or above it.

    Raises as `read_nnunet`, and Usage for a data set whose number is none of TotalSegmentator's.
    """
    home = results_folder(folder, config)
    number = next((int(m[1]) for part in (home, *home.absolute().parents) if (m := _DATASET.match(part.name))), -1)
    task = next((name for name, numbers in TASKS.items() if number in numbers), "")
    if not task:
        raise Usage(
            folder, "is no net of TotalSegmentator's that is known here", "import it as nnU-Net's, with --nnunet"
        )
    if not fold:
        numbered = sorted(p.name[5:] for p in home.glob("fold_*") if p.name[5:].isdecimal())
        fold = ",".join(numbered) if number in EVERY_FOLD and numbered else "0"
        folds(home, fold)
    source = read_nnunet(home, fold=fold, orientation="RAS", checkpoint=checkpoint)
    prepared = source.preparation
    if number not in NOT_RESAMPLED:
        steps = tuple(step for step in prepared.steps if step.do != "resample")
        order = read_table(home / "plans.json")["transpose_forward"]
        prepared = replace(
            prepared,
            axes="".join(TURNED_AXES[k] for k in order),
            steps=(Step("resample"), Step("truncate"), *steps),
            resampling=Resampling("ends", order=1, apart="never", back=0, back_apart=0, keep_range=False),
        )
    if task.startswith("total"):
        prepared = replace(prepared, window=replace(prepared.window, step=WIDE_STEP))
    notes = [f"fold {fold.replace(',', ' + ')}, without mirroring, as TotalSegmentator has it"]
    if number in CROPPED:
        notes.append("TotalSegmentator crops images to organs that another of its nets finds; a bundle does not")
    terms = TERMS["key"] if number in NEED_KEY else TERMS.get(number, "")
    return replace(
        source,
        name=f"totalsegmentator-{task}" + (f"-{number}" if len(TASKS[task]) > 1 else ""),
        title=f"TotalSegmentator {task}" + (f", net {number}" if len(TASKS[task]) > 1 else ""),
        kind="TotalSegmentator",
        preparation=prepared,
        licence=OPEN_LICENCE if task in OPEN else "",
        citation=f"{CITATION} {source.citation}",
        notes=tuple(notes),
        facts={**source.facts, "task": task, **({"terms": terms} if terms else {})},
    )


_DATASET = re.compile(r"Dataset(\d{3})_")
