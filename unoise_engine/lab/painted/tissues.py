"""What a voxel of a painted body can be, and the structure each counts as in the labels that are written."""

from __future__ import annotations

from enum import IntEnum, auto

import numpy as np

from unoise_engine.lab.phantom.labels import LABELS


class Tissue(IntEnum):
    AIR = 0
    SKIN = auto()
    SUBCUTANEOUS_FAT = auto()
    VISCERAL_FAT = auto()
    MUSCLE = auto()
    PSOAS_LEFT = auto()
    PSOAS_RIGHT = auto()
    RIB = auto()
    BONE = auto()  # cortical, of what is neither rib nor vertebra
    VERTEBRA = auto()  # cortical
    VERTEBRA_MARROW = auto()
    MARROW = auto()
    DISC = auto()
    CANAL = auto()
    CARTILAGE = auto()
    LUNG_LEFT = auto()
    LUNG_RIGHT = auto()
    HEART = auto()
    AORTA = auto()
    ARTERY = auto()
    MESENTERIC_ARTERY = auto()
    CAVA = auto()
    VEIN = auto()
    PORTAL = auto()
    MESENTERIC_VEIN = auto()
    HEPATIC_VEIN = auto()
    LIVER = auto()
    LIVER_LESION = auto()
    SPLEEN = auto()
    SPLEEN_LESION = auto()
    PANCREAS = auto()
    GALLBLADDER = auto()
    ESOPHAGUS = auto()
    ADRENAL_LEFT = auto()
    ADRENAL_RIGHT = auto()
    CORTEX_LEFT = auto()
    CORTEX_RIGHT = auto()
    MEDULLA_LEFT = auto()
    MEDULLA_RIGHT = auto()
    SINUS_LEFT = auto()
    SINUS_RIGHT = auto()
    CYST_LEFT = auto()
    CYST_RIGHT = auto()
    STOMACH = auto()  # wall
    STOMACH_LUMEN = auto()
    STOMACH_GAS = auto()
    DUODENUM = auto()  # wall
    DUODENUM_LUMEN = auto()
    DUODENUM_GAS = auto()
    BOWEL = auto()  # wall of the small bowel
    BOWEL_FLUID = auto()
    BOWEL_CHYME = auto()
    BOWEL_CONTRAST = auto()
    BOWEL_COLLAPSED = auto()
    BOWEL_GAS = auto()
    COLON = auto()  # wall
    COLON_FLUID = auto()
    COLON_STOOL = auto()
    COLON_GAS = auto()
    BLADDER = auto()
    TABLE = auto()


T = Tissue
GIVEN = {
    # names of TotalSegmentator v2, then ours; names with a side or a number at the end are found by their start
    "spleen": T.SPLEEN,
    "kidney_right": T.CORTEX_RIGHT,
    "kidney_left": T.CORTEX_LEFT,
    "kidney_cyst_left": T.CYST_LEFT,
    "kidney_cyst_right": T.CYST_RIGHT,
    "gallbladder": T.GALLBLADDER,
    "liver": T.LIVER,
    "stomach": T.STOMACH,
    "pancreas": T.PANCREAS,
    "adrenal_gland_right": T.ADRENAL_RIGHT,
    "adrenal_gland_left": T.ADRENAL_LEFT,
    "esophagus": T.ESOPHAGUS,
    "trachea": T.AIR,
    "thyroid_gland": T.MUSCLE,
    "small_bowel": T.BOWEL,
    "duodenum": T.DUODENUM,
    "colon": T.COLON,
    "urinary_bladder": T.BLADDER,
    "prostate": T.MUSCLE,
    "sacrum": T.BONE,
    "heart": T.HEART,
    "aorta": T.AORTA,
    "pulmonary_vein": T.VEIN,
    "pulmonary_artery": T.ARTERY,
    "brachiocephalic_trunk": T.ARTERY,
    "superior_vena_cava": T.CAVA,
    "inferior_vena_cava": T.CAVA,
    "portal_vein_and_splenic_vein": T.PORTAL,
    "superior_mesenteric_vein": T.MESENTERIC_VEIN,
    "superior_mesenteric_artery": T.MESENTERIC_ARTERY,
    "hepatic_vein": T.HEPATIC_VEIN,
    "renal_vein": T.VEIN,
    "spinal_cord": T.CANAL,
    "sternum": T.BONE,
    "costal_cartilages": T.CARTILAGE,
    "ribs": T.RIB,
    "vertebrae": T.VERTEBRA,
    "intervertebral_disc": T.DISC,
    "renal_pelvis_left": T.SINUS_LEFT,
    "renal_pelvis_right": T.SINUS_RIGHT,
    "artery": T.ARTERY,
    "vein": T.VEIN,
    "muscle": T.MUSCLE,
    "bone": T.BONE,
}
GIVEN_BY_START = {
    "lung_upper_lobe_left": T.LUNG_LEFT,
    "lung_lower_lobe_left": T.LUNG_LEFT,
    "lung_": T.LUNG_RIGHT,
    "vertebrae_": T.VERTEBRA,
    "rib_": T.RIB,
    "atrial_appendage_": T.HEART,
    "subclavian_artery_": T.ARTERY,
    "common_carotid_artery_": T.ARTERY,
    "iliac_artery_": T.ARTERY,
    "brachiocephalic_vein_": T.VEIN,
    "iliac_vena_": T.VEIN,
    "scapula_": T.BONE,
    "femur_": T.BONE,
    "hip_": T.BONE,
    "gluteus_": T.MUSCLE,
    "autochthon_": T.MUSCLE,
    "iliopsoas_left": T.PSOAS_LEFT,
    "iliopsoas_right": T.PSOAS_RIGHT,
    # the head and the arms are no part of what is painted
    "humerus_": T.AIR,
    "clavicula_": T.AIR,
    "skull": T.AIR,
    "brain": T.AIR,
}

COUNTS_AS: dict[str, tuple[Tissue, ...]] = {
    "spleen": (T.SPLEEN, T.SPLEEN_LESION),
    "kidney_right": (T.CORTEX_RIGHT, T.MEDULLA_RIGHT, T.SINUS_RIGHT, T.CYST_RIGHT),
    "kidney_left": (T.CORTEX_LEFT, T.MEDULLA_LEFT, T.SINUS_LEFT, T.CYST_LEFT),
    "gallbladder": (T.GALLBLADDER,),
    "liver": (T.LIVER, T.LIVER_LESION, T.HEPATIC_VEIN),
    "stomach": (T.STOMACH, T.STOMACH_LUMEN, T.STOMACH_GAS),
    "pancreas": (T.PANCREAS,),
    "adrenal_gland_right": (T.ADRENAL_RIGHT,),
    "adrenal_gland_left": (T.ADRENAL_LEFT,),
    "lung_lower_lobe_left": (T.LUNG_LEFT,),
    "lung_lower_lobe_right": (T.LUNG_RIGHT,),
    "small_bowel": (T.BOWEL, T.BOWEL_FLUID, T.BOWEL_CHYME, T.BOWEL_CONTRAST, T.BOWEL_COLLAPSED, T.BOWEL_GAS),
    "duodenum": (T.DUODENUM, T.DUODENUM_LUMEN, T.DUODENUM_GAS),
    "colon": (T.COLON, T.COLON_FLUID, T.COLON_STOOL, T.COLON_GAS),
    "heart": (T.HEART,),
    "aorta": (T.AORTA,),
    "inferior_vena_cava": (T.CAVA,),
    "portal_vein_and_splenic_vein": (T.PORTAL,),
    "spinal_cord": (T.CANAL,),
    "iliopsoas_left": (T.PSOAS_LEFT,),
    "iliopsoas_right": (T.PSOAS_RIGHT,),
    "vertebrae": (T.VERTEBRA, T.VERTEBRA_MARROW),
    "ribs": (T.RIB,),
    "superior_mesenteric_vein": (T.MESENTERIC_VEIN,),
    "superior_mesenteric_artery": (T.MESENTERIC_ARTERY,),
}
NUMBERS: dict[str, int] = {name: LABELS[name] for name in COUNTS_AS} | {"esophagus": 15, "urinary_bladder": 21}
COUNTS_AS |= {"esophagus": (T.ESOPHAGUS,), "urinary_bladder": (T.BLADDER,)}

WALL = (T.MUSCLE, T.RIB, T.BONE, T.VERTEBRA, T.DISC, T.CANAL, T.CARTILAGE, T.PSOAS_LEFT, T.PSOAS_RIGHT)


def tissue_of(structure: str) -> Tissue | None:
    """What a structure of a label map becomes; None for a name that is not known."""
    if structure in GIVEN:
        return GIVEN[structure]
    return next((tissue for start, tissue in GIVEN_BY_START.items() if structure.startswith(start)), None)


def members(*tissues: Tissue) -> np.ndarray:
    """Lookup table, (256,) bool: ``members(...)[volume]`` is several times faster than `np.isin`."""
    table = np.zeros(256, dtype=bool)
    table[list(tissues)] = True
    return table


def labels_of(tissue: np.ndarray) -> np.ndarray:
    """(z, y, x) tissues -> uint8 label numbers as in `NUMBERS`; 0 for what has none."""
    table = np.zeros(256, dtype=np.uint8)
    for name, parts in COUNTS_AS.items():
        table[list(parts)] = NUMBERS[name]
    return table[tissue]
