"""What stands under "Examples" in each command's help. A test has the command line read every line."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "explain": (
        "explain ct.nii.gz -o out",
        "explain DICOM_FOLDER -o out --format nrrd --slices 40:60",
        "explain ct.nii.gz -o out --methods unoise,gradcam,occlusion --set occlusion.patch=9",
        "explain COHORT -o OUT --jobs 4 --resume --log run.log",
        "explain ct.nii.gz -o out --bundle totalsegmentator --label liver --focus",
    ),
    "whatif": (
        "whatif ct.nii.gz --region labels.nii.gz -o OUT",
        "whatif ct.nii.gz --box 240:280,250:290,10:14 --fill fat -o OUT",
        "whatif --cohort COHORT -o OUT",
    ),
    "view": ("view out", "view out --crop organ --no-open", "view out --what-if answers"),
    "methods": ("methods",),
    "evaluate": (
        "evaluate --data DATA --split runs/utility/split.json --bundle my-model -o OUT",
        "evaluate --data DATA --maps MAPS -o OUT",
    ),
    "benchmark": ("benchmark -o bench --quick", "benchmark --peers --paper -o bench"),
    "obscure": ("obscure ct.nii.gz -o OUT --visible 0.3",),
    "reproduce": ("reproduce OUT --scale smoke", "reproduce OUT --scale demo --data data/nih"),
    "send": ("send out --to PACS@10.0.0.5:104", "send out --stow https://archive/dicom-web"),
    "phantom": ("phantom data --count 20 --seed 1", "phantom planted --planted --count 120 --size 144 --slices 16"),
    "paint": ("paint LABELS -o painted --names multiorgan --per-map 12",),
    "demo": ("demo -o demo",),
    "export": ("export runs/utility runs/unoise -o my-model --card card.toml",),
    "prepare slices": ("prepare slices slices.npz -o data/nih",),
    "prepare msd": ("prepare msd Task07_Pancreas -o data/msd --tumour apart",),
    "prepare pancreas-ct": ("prepare pancreas-ct NIH -o data/nih",),
    "prepare pairs": ("prepare pairs MINE -o data/mine --labels 7",),
    "train utility": (
        "train utility data -o runs/utility --recipe phantom-utility --steps 400",
        "train utility data/nih data/painted -o runs/utility --recipe my.toml --resume",
    ),
    "train unoise": ("train unoise data --utility runs/utility -o runs/unoise --recipe phantom-unoise",),
    "bundle info": ("bundle info", "bundle info my-model --json"),
    "bundle verify": ("bundle verify", "bundle verify my-model --key author.pub"),
    "bundle install": ("bundle install my-model.zip",),
    "bundle remove": ("bundle remove my-model",),
    "bundle unpack": ("bundle unpack pancreas-ct -o runs/start --split split.json",),
    "bundle list": ("bundle list",),
}


def epilog(name: str) -> str:
    """A paragraph a line: so they stay lines whatever the terminal's width."""
    return "\n\n".join(("Examples:", *(f"unoise_engine {line}" for line in EXAMPLES[name])))
