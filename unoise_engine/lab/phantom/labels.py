"""The numbers of the structures that a synthetic CT shows."""

from __future__ import annotations

# TotalSegmentator v2 numbers where it has the structure; from 200 on our own, for what it splits or lacks.
LABELS: dict[str, int] = {
    "spleen": 1,
    "kidney_right": 2,
    "kidney_left": 3,
    "gallbladder": 4,
    "liver": 5,
    "stomach": 6,
    "pancreas": 7,
    "adrenal_gland_right": 8,
    "adrenal_gland_left": 9,
    "lung_lower_lobe_left": 11,
    "lung_lower_lobe_right": 14,
    "small_bowel": 18,
    "duodenum": 19,
    "colon": 20,
    "heart": 51,
    "aorta": 52,
    "inferior_vena_cava": 63,
    "portal_vein_and_splenic_vein": 64,
    "spinal_cord": 79,
    "iliopsoas_left": 88,
    "iliopsoas_right": 89,
    "vertebrae": 201,
    "ribs": 202,
    "superior_mesenteric_vein": 203,
    "superior_mesenteric_artery": 204,
}
