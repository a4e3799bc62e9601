"""What a map keeps on the CT at hand: the figures are those of evaluate, and a ruler is never better than a ruler."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unoise_engine.explanation.baselines import chaos, ruler
from unoise_engine.explanation.hiding import tolerance
from unoise_engine.explanation.methods import METHODS
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.proof import FILLS, MARGIN, SEED, SHARES, Proof, Trial, passes, worth_it
from unoise_engine.explanation.segment import segment
from unoise_engine.explanation.settings import Settings
from unoise_engine.explanation.visibility import How, evaluate_maps
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.given import given_of
from unoise_engine.models.manifest import read_manifest
from unoise_engine.results.shown import Scale, shown


@pytest.fixture
def trial(ct: Any, tiny_bundle: Any) -> Trial:
    bundle = load_bundle(tiny_bundle, "cpu")
    return Trial(bundle, segment(bundle, given_of(ct, bundle.recipe)))


def test_the_figures_are_those_of_evaluate(trial: Trial) -> None:
    """With all of its shares, both rankings, deletion and other maps beside."""
    maps = [np.random.default_rng(k).random(one.organ.shape, np.float32) for k, one in enumerate(trial.slices)]
    proof = trial.prove(maps, False)
    assert proof and 1 <= len(proof.tried["axial_slices"]) <= 3
    others = {"random": [chaos(one, one.organ, SEED) for one in trial.slices]}
    others["distance"] = [ruler(one, one.organ, SEED) for one in trial.slices]
    how = How(seed=SEED)
    answers = evaluate_maps(trial.model, trial.slices, {"mine": maps, **others}, how)
    places = [how.ends().index(share) for share in SHARES]
    for name, there in (("map", "mine"), ("distance", "distance"), ("chance", "random")):
        for fill in FILLS:
            whole = answers.curve(there, "image", fill, against="own").mean(axis=0)
            assert proof.kept[name][fill] == pytest.approx(whole[places]), (name, fill)


def test_a_ruler_is_no_better_than_a_ruler(trial: Trial) -> None:
    proof = trial.prove([ruler(one, one.organ, SEED) for one in trial.slices], False)
    assert proof and proof.lead("distance") == 0 and proof.verdict == "no better than distance"
    assert proof.lead("chance") > 0.1
    assert "Ruler: no better than distance (dice kept" in proof.sentence("Ruler")
    random = trial.prove([chaos(one, one.organ, 9) for one in trial.slices], False)
    assert random and random.verdict == "no better than chance"
    inside_out = trial.prove([-ruler(one, one.organ, SEED) for one in trial.slices], False)
    assert inside_out and inside_out.verdict == "no better than chance"


@pytest.mark.parametrize(("lead", "verdict"), [
    (MARGIN + 0.001, "better than distance"), (MARGIN - 0.001, "no better than distance"),
    (-MARGIN - 0.001, "worse than distance"), (-0.5, "no better than chance"),
])  # fmt: skip
def test_the_rule(lead: float, verdict: str) -> None:
    def flat(value: float) -> dict[str, list[float]]:
        return {fill: [value] * len(SHARES) for fill in FILLS}

    kept = {"map": flat(0.6 + lead), "distance": flat(0.6), "chance": flat(0.1)}
    assert Proof(kept, {}).verdict == verdict


def test_figures_have_four_places_in_a_report() -> None:
    kept = {who: {fill: [part / 7] for fill in FILLS} for who, part in (("map", 6), ("distance", 4), ("chance", 3))}
    told = Proof(kept, {}, 1 / 7).told()
    assert told["dice_kept"]["map"] == {fill: [0.8571] for fill in FILLS}
    figures = [told[name] for name in ("dice_with_allowed_noise", "lead_over_distance", "lead_over_chance")]
    assert figures == [0.1429, 0.2857, 0.4286]


def test_all_the_noise_that_a_map_allows(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    none, most = ([np.full(one.organ.shape, value, np.float32) for one in trial.slices] for value in (30, -30))
    quiet, loud = trial.prove(none, True), trial.prove(most, True)
    assert quiet and loud and quiet.allowed == 1 and loud.allowed is not None and loud.allowed < 0.9
    again = trial.prove(none, False)
    assert again and again.allowed is None
    sure = trial.model.predict
    monkeypatch.setattr(trial.model, "predict", lambda x: sure(x) / 100)  # organ is still what is above 0
    quiet = trial.prove(none, True)
    assert quiet and quiet.allowed == 1


def test_where_it_is_done(ct: Any, tiny_bundle: Any, trial: Trial) -> None:
    bundle = load_bundle(tiny_bundle, "cpu")

    def proved(**how: Any) -> dict[str, Proof]:
        proofs: dict[str, Proof] = {}
        [*explain_volume(ct, bundle, Settings(**how), proofs=proofs)]
        return proofs

    assert [*proved(methods=("unoise", "gradcam"), prove=True)] == ["unoise", "gradcam"]
    assert not proved(methods=("occlusion",), prove=False)
    assert not proved(methods=("unoise",)), "it would take longer than the map"
    assert proved(methods=("unoise",), prove=True)["unoise"].allowed is not None
    assert not worth_it(trial.found, [METHODS["unoise"]])
    long = [METHODS["occlusion"].__class__(patch=3, stride=1)]  # type: ignore[call-arg]
    assert worth_it(trial.found, long) and passes(2) > passes(1)


def test_it_stands_in_report_and_summary(ct_file: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    from Testing.engine.conftest import asked
    from unoise_engine.batch.run import explain_all

    again = tmp_path / "b.nii.gz"
    again.write_bytes(ct_file.read_bytes())
    explain_all(
        asked([ct_file, again], tmp_path / "out", methods=("unoise",), bundle=str(tiny_bundle), prove=True), "off"
    )
    report = json.loads((tmp_path / "out" / "case-0001" / "report.json").read_text())
    told = report["proof"]["unoise"]
    assert told["verdict"] in report["verdicts"][0] and told["shares_visible"] == list(SHARES)
    assert report["verdicts"][0] in (tmp_path / "out" / "summary.csv").read_text()
    assert told["verdict"] in (tmp_path / "out" / "summary.html").read_text()


def test_pictures_begin_at_the_scales_zero(tiny_bundle: Any) -> None:
    manifest, hu = read_manifest(tiny_bundle), np.full((30, 30), -1000.0)
    hu[8:22, 6:24] = 40
    z = np.linspace(-6, 6, 900, dtype=np.float32).reshape(30, 30)
    noise = shown(Scale.of(METHODS["unoise"], manifest), -z, hu)
    most = 5 * 0.25 * 400
    assert noise.values == pytest.approx(most * (1 - tolerance(-z)), abs=0.01)
    assert noise.values.min() < 2 and noise.low == "bears the most noise: 500 HU" and noise.high.endswith(" 1 HU")
    assert not shown(Scale.of(METHODS["unoise"], manifest), 0 * z, hu).values.any()  # a slice that says nothing
    half = shown(Scale.of(METHODS["unoise"], manifest), np.where(hu > 0, -z, 0), hu)
    assert not half.values[hu <= 0].any() and half.values[hu > 0].all()  # nor is 0 beside what is said
    heat = shown(Scale.of(METHODS["gradcam"], manifest, (16, 16)), np.ones((30, 30), np.float32), hu)
    assert heat.values[8:22, 6:24].all() and heat.values.sum() == 14 * 18
    assert heat.note == "inside the body; made of pixels of 32 mm"
    assert shown(Scale.of(METHODS["occlusion"], manifest), np.full((30, 30), -0.1, np.float32), hu).top == 0
