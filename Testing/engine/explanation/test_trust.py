"""A CT unlike what the model knows is said to be so; a good one is not doubted."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.explanation.scan import Scan
from unoise_engine.explanation.trust import about_answers, about_pieces, about_scan, about_volume
from unoise_engine.models.clean_up import CleanUp, one_piece, smooth_slices
from unoise_engine.models.scope import Scope
from unoise_engine.volume.volume import Grid, Volume

UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def a_trunk(n: Any = 20, size: Any = 128, mm: Any = 3.0, slice_mm: Any = 3.0, body: Any = 40, wide: Any = 1.0) -> Any:
    """An ellipse of soft tissue in fat in air, with a spine."""
    y, x = np.mgrid[:size, :size] - size / 2
    hu = np.full((size, size), -1000, np.int16)
    hu[(x / (52 * wide)) ** 2 + (y / (40 * wide)) ** 2 < 1] = -100
    hu[(x / (45 * wide)) ** 2 + (y / (33 * wide)) ** 2 < 1] = body
    hu[(x / 7) ** 2 + ((y - 20) / 7) ** 2 < 1] = 400
    return Volume(np.repeat(hu[None], n, 0), Grid((size, size, n), (mm, mm, slice_mm), (0, 0, 0), UPRIGHT))


def said(ct: Any) -> Any:
    return [*about_scan(ct, Scope(pixel_mm=(0.4, 3.5)))]


def test_a_good_ct_is_not_doubted() -> None:
    assert said(a_trunk()) == []


@pytest.mark.parametrize(
    ("ct", "words"),
    [
        (a_trunk(mm=3.6), "Pixels of 3.60 x 3.60 mm"),
        (a_trunk(slice_mm=9.0), "Slices 9.0 mm apart"),
        (a_trunk(wide=0.4), "too small for an adult's abdomen"),
        (a_trunk(body=900), "HU are unlike an abdomen's"),
        (a_trunk(body=-800), "show the chest"),
        (a_trunk(size=64, wide=0.5, mm=3.0), "field of view 192 mm"),
    ],
)
def test_what_is_out_of_range_is_named(ct: Any, words: Any) -> None:
    assert any(words in sentence for sentence in said(ct)), said(ct)


def test_an_answer_without_content_is_named() -> None:
    flat, other, lively = np.full((4, 5), 2.5), np.full((4, 5), 2), np.arange(20.0).reshape(4, 5)
    assert [*about_answers("The map", [flat, flat])] == [
        "The map is the same number everywhere, in every slice: it tells nothing about this CT."
    ]
    for fine in ([flat, other], [lively], [flat, lively], []):
        assert [*about_answers("The map", fine)] == []


def test_a_ct_cut_off_at_0_hu_is_named() -> None:
    whole = a_trunk()
    assert any("the CT was cut off there" in one for one in said(whole.with_voxels(np.maximum(whole.voxels, 0))))


def test_a_ct_without_contrast_is_named() -> None:
    """Also a thin slice's: with 25 HU of grain one pixel in nine of 45 HU is brighter than 75."""
    scope = Scope(pixel_mm=(0.4, 3.5), enhanced_share=0.15)
    rng = np.random.default_rng(0)

    def grained(ct: Any) -> Any:
        return ct.with_voxels((ct.voxels + rng.normal(0, 25, ct.voxels.shape)).astype(np.int16))

    plain = a_trunk(size=512, mm=0.75, body=45, wide=4, n=4)
    assert np.mean(grained(plain).voxels[plain.voxels == 45] > 75) > 0.1
    for ct in (plain, grained(plain)):
        (sentence,) = about_scan(ct, scope)
        assert (
            sentence.startswith("Little or no contrast agent: 0% of the slices") and "CTs of 15% and more" in sentence
        )
    assert [*about_scan(grained(a_trunk(size=512, mm=0.75, body=95, wide=4, n=4)), scope)] == []
    assert [*about_scan(plain, Scope())] == []  # a model that says nothing of it


def test_the_rooms_air_is_no_lung() -> None:
    ct = a_trunk()
    noise = np.random.default_rng(0).normal(0, 25, ct.voxels.shape).astype(np.int16)
    assert said(ct.with_voxels(np.where(ct.voxels < -900, -940 + noise, ct.voxels))) == []


def test_the_foam_of_a_table_is_no_lung() -> None:
    """A mattress as wide as the body in a thin shell, with the patient on it, either way up."""
    ct = a_trunk(n=11)
    hu = ct.voxels.copy()
    hu[:, 96:, 8:120] = -100  # the shell
    hu[:, 100:124, 12:116] = -850  # its foam: more than a third of the body's cross-section
    for rows in (hu, hu[:, ::-1]):
        assert not any("show the chest" in one for one in said(ct.with_voxels(np.ascontiguousarray(rows))))
    lung = ct.voxels.copy()
    lung[:, 44:84, 24:60] = lung[:, 44:84, 68:104] = -850
    assert any("100% of the slices show the chest" in one for one in said(ct.with_voxels(lung)))


@pytest.mark.parametrize(("row_mm", "column_mm"), [(0.3, 3.0), (3.0, 0.3), (3.0, 3.6), (3.6, 3.0)])
def test_each_side_of_a_pixel_is_looked_at(row_mm: float, column_mm: float) -> None:
    ct = a_trunk()
    oblong = Volume(ct.voxels, Grid(ct.grid.size, (column_mm, row_mm, 3.0), (0, 0, 0), UPRIGHT))
    wanted = f"Pixels of {row_mm:.2f} x {column_mm:.2f} mm lie outside 0.4 to 3.5 mm, which the model knows."
    assert wanted in said(oblong)


def test_200_hu_are_contrast_and_no_soft_tissue() -> None:
    assert any(": 0% of the body is soft tissue and" in one for one in said(a_trunk(body=200)))
    assert not any("soft tissue and" in one for one in said(a_trunk(body=199)))


def test_the_body_is_measured_in_cm2() -> None:
    """An ellipse of 156 x 120 mm half axes is 588 cm2, seen in every fourth pixel."""
    for limits, doubted in (((560, 600), False), ((600, 900), True), ((100, 560), True)):
        scope = Scope(pixel_mm=(0.4, 3.5), body_cm2=limits)
        assert any("cross-section is 5" in one for one in about_scan(a_trunk(), scope)) == doubted


def test_air_alone() -> None:
    ct = a_trunk()
    assert said(ct.with_voxels(np.full_like(ct.voxels, -1000))) == [
        "No body is in view: everything is air or thinner than 12 mm."
    ]


def test_lungs_in_many_slices_are_the_chest() -> None:
    """Two lungs of a sixth of the trunk each; Scope() bears them in 60 % of the slices."""
    ct = a_trunk(mm=0.9, size=420, wide=4)
    y, x = np.mgrid[:420, :420] - 210
    lungs = ((abs(x) - 95) / 70) ** 2 + (y / 80) ** 2 < 1
    for many, chest in ((12, False), (13, True)):
        hu = ct.voxels.copy()
        hu[:many, lungs] = -750
        about = [one for one in said(ct.with_voxels(hu)) if "show the chest" in one]
        assert about == (["65% of the slices show the chest: little or no abdomen is in view."] if chest else [])


@pytest.mark.parametrize(("inside", "around", "chest"), [(-750, -1000, True), (40, -940, False)])
def test_a_wall_of_one_pixel_where_pixels_are_huge(inside: Any, around: Any, chest: Any) -> None:
    """At 12 mm one of the pixels looked at is more than the tissue that a lung needs, and none is too little."""
    hu = np.full((8, 40, 40), around, np.int16)
    hu[:, 4:36, 4:36] = 40
    hu[:, 8:32, 8:32] = inside
    ct = Volume(hu, Grid((40, 40, 8), (12.0, 12.0, 3.0), (0, 0, 0), UPRIGHT))
    assert any("show the chest" in one for one in about_scan(ct, Scope())) == chest


def with_disc(ct: Any, wide_mm: float, hu: int, slices: Any = slice(None), rim: int | None = None) -> Any:
    """A vessel before the spine; with `rim`, its outer 3 mm are of that many HU: a bone with its marrow."""
    (mm, _, _), (_, rows, columns) = ct.grid.spacing_mm, ct.voxels.shape
    y, x = np.mgrid[:rows, :columns]
    far = np.hypot(y - rows / 2 + 10 / mm, x - columns / 2) * mm
    voxels = ct.voxels.copy()
    voxels[slices, far < wide_mm / 2] = hu
    if rim is not None:
        voxels[slices, (far < wide_mm / 2) & (far >= wide_mm / 2 - 6)] = rim
    return ct.with_voxels(voxels)


@pytest.mark.parametrize(
    ("wide_mm", "hu", "rim", "doubted"),
    [
        (27, 130, None, False),  # the aorta
        (27, 60, None, True),
        (8, 130, None, True),  # too narrow to be sure: a rib's cartilage
        (45, 130, 500, True),  # marrow in its shell
    ],
)
def test_a_vessel_tells_of_contrast_agent_however_little_of_the_body_it_is(
    wide_mm: float, hu: int, rim: int | None, doubted: bool
) -> None:
    plain = a_trunk(size=420, mm=0.9, wide=4, body=50, n=4)
    known = Scope(enhanced_share=0.3)
    ct = with_disc(plain, wide_mm, hu, rim=rim)
    assert [*about_scan(plain, Scope())] == []
    assert any("contrast agent" in one for one in about_scan(ct, known)) == doubted


def test_contrast_agent_is_asked_of_some_slices_not_of_all() -> None:
    """In the pelvis nothing as wide is as bright."""
    plain = a_trunk(size=128, n=20, body=50)
    for many, doubted in ((5, True), (6, False)):
        ct = with_disc(plain, 36, 130, slice(0, many))
        known = Scope(pixel_mm=(0.4, 3.5), enhanced_share=0.3)
        assert any("contrast agent: 25%" in one for one in about_scan(ct, known)) == doubted


def body_cm2(ct: Any) -> float:
    scan = Scan.of(ct)
    assert scan and scan.body_cm2
    return scan.body_cm2[0]


def test_table_arms_and_clothes_are_no_body() -> None:
    ct = a_trunk(size=160, n=4)
    alone = body_cm2(ct)
    hu = ct.voxels.copy()
    hu[:, 120:122, 10:150] = 100  # a table's shell of 6 mm, on which the patient lies
    hu[:, 60:90, 8:22] = hu[:, 60:90, 138:152] = 40  # arms
    hu[:, 36, 40:120] = -100  # a cloth
    hu[:, 70:90, 60:80] = -1000  # gas is of the body
    assert body_cm2(ct.with_voxels(hu)) == pytest.approx(alone, rel=0.02)


def test_a_ct_cut_off_at_0_hu_is_not_called_large() -> None:
    """Its air reads as fat does; the picture is 2500 cm2."""
    ct = a_trunk(size=500, mm=1.0, wide=3, n=4)
    cut = ct.with_voxels(ct.voxels.clip(0, 255))
    assert [*about_scan(ct, Scope())] == []
    (sentence,) = about_scan(cut, Scope(body_cm2=(1, 2), soft_share=(0.1, 0.2)))
    assert "cut off there" in sentence


def test_the_air_of_a_ct_cut_off_at_0_hu_is_no_body() -> None:
    """Else bone, metal and contrast would be a share of the whole picture."""
    ct = a_trunk(size=128).with_voxels(a_trunk(size=128).voxels.clip(0, 255))
    bone, inside = (ct.voxels >= 200).sum(), (ct.voxels > 15).sum()
    found = Scan.of(ct)
    assert found is not None and found.dense_share[0] == pytest.approx(bone / inside, rel=0.05)


def test_many_thin_bright_lines_are_no_vessel() -> None:
    """Skin, bowel walls and cartilage: together as large as the aorta, and nowhere as wide."""
    ct = a_trunk(mm=1.5, size=256, wide=2)
    voxels = ct.voxels.copy()
    voxels[:, 60:110, 90:170:20] = voxels[:, 60:110, 91:170:20] = 140
    voxels[:, 60:110, 92:170:20] = voxels[:, 60:110, 93:170:20] = 140  # 6 mm wide, 75 mm long
    found = Scan.of(ct.with_voxels(voxels))
    assert found is not None and found.enhanced_share == (0, 0)


def test_a_body_that_the_picture_cuts_is_not_called_small() -> None:
    ct = a_trunk(size=128, mm=3.0, n=4)
    limits = Scope(pixel_mm=(0.4, 3.5), field_mm=(100, 400), body_cm2=(400, 1700))
    tight = np.ascontiguousarray(ct.voxels[:, 24:104, 40:88])
    part = Volume(tight, Grid((48, 80, 4), (3.0, 3.0, 3.0), (0, 0, 0), UPRIGHT))
    assert body_cm2(part) < 400 and not any("too small" in one for one in about_scan(part, limits))
    assert any("too small" in one for one in about_scan(a_trunk(wide=0.8, n=4), limits))


def test_water_is_no_abdomen() -> None:
    ct = a_trunk(n=4)
    water = ct.with_voxels(np.where(ct.voxels > -1000, 0, ct.voxels).astype(np.int16))
    known = Scope(pixel_mm=(0.4, 3.5), soft_share=(0.2, 0.97))
    assert any("100% of the body is soft tissue" in one for one in about_scan(water, known))
    assert [*about_scan(ct, known)] == []


def test_slices_of_air_above_and_below_tell_nothing() -> None:
    ct = a_trunk()
    hu = ct.voxels.copy()
    hu[6:] = -1000
    assert body_cm2(ct.with_voxels(hu)) == pytest.approx(body_cm2(ct))


def test_a_table_alone_is_no_body() -> None:
    ct = a_trunk(n=4)
    hu = np.full_like(ct.voxels, -1000)
    hu[:, 100:102, 10:110] = 100
    (sentence,) = said(ct.with_voxels(hu))
    assert sentence.startswith("No body is in view")


def test_implausible_organs() -> None:
    known = 12.0, "pancreas", Scope()  # no slice but the last lies within 10 mm of an end
    assert [*about_volume([0, 15, 0], *known)] == [*about_volume([0, 250, 0], *known)] == []  # the ends are plausible
    assert "14.9 ml" in next(about_volume([0, 14.9, 0], *known)) and "250.1" in next(about_volume([250.1], *known))
    assert [*about_volume([0, 40, 40, 0], *known)] == []
    assert "4.0 ml of pancreas is implausible" in next(about_volume([0, 2, 2, 0], *known))
    assert "400.0 ml" in next(about_volume([200, 200], *known))
    assert [*about_volume([2, 2, 0], *known)] == []  # cut by the end of the CT: small is plausible
    assert [*about_volume([0, 0], *known)] == []


def test_an_organ_that_comes_near_an_end_may_go_on_beyond_it() -> None:
    pancreas = "pancreas", Scope()
    assert [*about_volume([0, 0, 0, 4, 4, 0, 0, 0], 3.0, *pancreas)] == []
    assert [*about_volume([0] * 9 + [4, 4, 0, 0, 0], 3.0, *pancreas)] == []
    assert [*about_volume([0, 0, 0, 0, 4, 4, 0, 0, 0, 0], 3.0, *pancreas)] != []


def test_pieces_far_apart() -> None:
    known = "pancreas", Scope()
    assert [*about_pieces(0.35, *known)] == [*about_pieces(0.1, *known)] == []
    assert "50% of it, were dropped" in next(about_pieces(0.5, *known))


def test_one_piece_keeps_the_surest_and_what_is_near() -> None:
    logits = np.full((10, 40, 40), -4, np.float32)
    logits[4:7, 5:10, 5:10] = 3
    logits[4:7, 5:10, 12:15] = 3  # 2 pixels away: 4 mm
    logits[1:3, 30:38, 30:38] = 0.1  # larger than each, but unsure
    alone = one_piece(logits, 2, 2, 0)
    assert alone.sum() == 75 and alone[5, 7, 7]
    near = one_piece(logits, 2, 2, 6)
    assert near.sum() == 75 + 45 and not near[2].any()
    cleaned, dropped = CleanUp(one_piece=True, gap_mm=6).apply(logits, 2, 2)
    assert np.array_equal(cleaned[:] > 0, near)
    assert dropped == pytest.approx(128 / 248)
    assert cleaned[2, 32, 32] == pytest.approx(-0.1)


def test_smoothing_lets_slices_vote_and_keeps_constants() -> None:
    logits = np.full((9, 2, 2), -2, np.float32)
    logits[4] = 3  # alone among its neighbours
    assert (smooth_slices(logits, 1.5)[:] < 0).all()
    assert np.allclose(smooth_slices(np.full((5, 2, 2), 1.5, np.float32), 2)[:], 1.5, atol=1e-6)
    assert smooth_slices(logits, 0.1) is logits


def test_a_lower_probability_closes_the_gaps_that_a_vote_leaves() -> None:
    logits = np.full((12, 3, 3), -6, np.float32)
    logits[3:9, 1, 1] = 6
    logits[5:7, 1, 1] = -6  # missed in two slices of six
    logits[5, 0, 0] = 6  # alone
    for probability, wanted in ((0.5, [3, 4, 7, 8]), (0.4, [3, 4, 5, 6, 7, 8])):
        cleaned, _ = CleanUp(smooth_z_mm=4, probability=probability).apply(logits, 3, 2)
        assert np.flatnonzero(cleaned[:, 1, 1] > 0).tolist() == wanted
        assert not (cleaned[:, 0, 0] > 0).any()
    unsure, _ = CleanUp(probability=0.4).apply(np.full((1, 2, 2), -0.3, np.float32), 3, 2)
    assert np.allclose(unsure[:], np.log(0.6 / 0.4) - 0.3)
    for wrong in (0, 1, -0.1):
        with pytest.raises(ValueError, match="probability must lie"):
            CleanUp(probability=wrong)


def test_no_clean_up_changes_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32)
    cleaned, dropped = CleanUp().apply(logits, 3, 2)
    assert np.array_equal(cleaned[:], logits) and dropped == 0
