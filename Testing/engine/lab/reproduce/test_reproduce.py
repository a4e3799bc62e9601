"""The smoke reproduction, from nothing to the report, and the report's promises."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from unoise_engine.errors import Usage
from unoise_engine.lab.reproduce.quirks import rows
from unoise_engine.lab.reproduce.recipes import choose_recipes
from unoise_engine.lab.reproduce.scale import choose_scale


@pytest.mark.slow
def test_smoke_from_start_to_end_and_not_twice(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "unoise_engine", "reproduce", str(tmp_path / "out"), "--scale", "smoke"]
    run = subprocess.run([*command, "--progress", "off"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    for told in (
        "Table 1",
        "Table 2",
        "Fig. 2",
        "Fig. 3a",
        "Fig. 3b",
        "Fig. 4",
        "28,529",
        "every second pixel",
        "201.37",
    ):
        assert told in page, told
    assert len(re.findall(r'src="data:image/png;base64,[A-Za-z0-9+/=]{2000,}"', page)) == 4
    assert not re.search(r"""(src|href)=(?!"data:)|https?://|<script""", page)
    summary = tmp_path / "out" / "pancreas-evaluation" / "summary.csv"
    methods = {row["method"] for row in csv.DictReader(summary.open())}
    assert {"U-Noise Small", "U-Noise Large (Pretrained)", "unoise-near", "distance", "random"} <= methods
    records = {p: p.read_text() for p in (tmp_path / "out" / "records").glob("*.json")}
    assert (
        len(records) == 1 + 4 + 6 + 1 + 3
    )  # phantoms; utility and segmenters; published; ours; bundle, judging, timing
    facts = json.loads((tmp_path / "out" / "records" / "pancreas-utility.json").read_text())["facts"]
    assert facts["val_dice"] > 0.1 and facts["parameters"] > 10000
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.ckpt")}
    run = subprocess.run([*command, "--progress", "off"], capture_output=True, text=True)
    assert run.returncode == 0 and run.stderr.count("done before") == len(records), run.stderr
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.ckpt")}


def test_the_paper_scale_is_the_published_size() -> None:
    recipes = choose_recipes("paper", choose_scale("paper"), "pancreas", (-900.0, 2000.0), 3)
    utility, noise = recipes.utility, recipes.noise("large", True)
    assert (utility.net.depth, utility.net.first_channels, utility.draw.crop) == (5, 64, 256)
    assert utility.ct.channels == 3 and utility.ct.window_hu == (-900.0, 2000.0) and utility.draw.empty_share == 0
    assert (utility.fit.epochs, noise.fit.epochs, noise.fit.lr, noise.fit.seed) == (100, 100, 1e-3, 3)
    assert recipes.noise("large", False).fit.lr == 3e-3
    config = noise.noise.config
    assert utility.fit.lr == recipes.segmenter("small").fit.lr == 3e-3
    for one in (utility, noise):
        assert one.fit.precision == "32-true" and one.augment.flip and one.augment.elastic_px and one.augment.rotate_deg
    assert (config.sigma_min, config.sigma_max, config.noise_reward) == (1, 5, 1e-3)
    assert noise.noise.cell == 1 and not noise.noise.budget_weight and noise.noise.targets == "labels"


def test_quirks_say_what_this_recipe_did() -> None:
    paper, default = (
        {row[0]: row[2] for row in rows(choose_recipes(kind, choose_scale("smoke"), "pancreas", (-1.0, 9.0), 0))}
        for kind in ("paper", "default")
    )
    assert (paper["channels"], default["channels"]) == ("3", "1")
    assert paper["window"] == "-1 to 9 HU" and default["window"] == "-160 to 240 HU"
    assert paper["slices without organ"].startswith("0%") and not default["slices without organ"].startswith("0%")
    assert "8 steps" in paper["length"]
    assert paper["learning rate"] == "utility 0.003, U-Noise 0.003" and paper["precision"] == "32-true"
    assert "flips" in paper["augmentation"] and "flips" not in default["augmentation"]
    assert paper["grey values while training"].startswith("bytes, 0.039 HU")


def test_names_that_do_not_exist() -> None:
    with pytest.raises(Usage, match="smoke, demo, paper"):
        choose_scale("huge")
    with pytest.raises(Usage, match="default, paper"):
        choose_recipes("mine", choose_scale("smoke"), "pancreas", None, 0)
