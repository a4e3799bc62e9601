"""What a reader sees: real slice views drawn off screen, judged by their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)

import offscreen

if not offscreen.can_draw():
    pytest.skip("nothing draws without a screen here: install libegl1 libgl1 libglx-mesa0", allow_module_level=True)

import slicer
from UNoiseSlicerLib import display, exchange, space
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.annotation import Warnings
from UNoiseSlicerLib.scene_tests import STRAIGHT, WARNING, add_volume, report

SHAPE = (10, 60, 80)
ORGAN = (slice(3, 7), slice(20, 30), slice(30, 50))
HOT, COLD, OUTSIDE = (25, 44), (25, 33), (50, 15)  # (j, i): high, none inside the organ, none in the body


@pytest.fixture
def seen(world: Any) -> Any:
    """A CT with a map that is high in one half of the organ, in the three usual views."""
    world.lay_out()
    hu = np.full(SHAPE, -1000, np.int16)
    hu[:, 5:55, 5:75] = 40
    ct = add_volume(world.scene, hu, STRAIGHT, "CT")
    ct.GetDisplayNode().AutoWindowLevelOff()
    ct.GetDisplayNode().SetWindowLevel(400, 40)
    organ = np.zeros(SHAPE, np.uint8)
    organ[ORGAN] = 1
    values = np.full(SHAPE, -1, np.float32)
    values[3:7, 18:32, 40:52] = 3
    nodes = scenes.place(world.scene, ct, exchange.Results(report(("unoise",)), organ, {"unoise": values}))
    view = world.views["Red"]
    warnings = Warnings()
    warnings.watch(view.composite, view.renderer)

    class Seen:
        scene, red = world.scene, view

        def __init__(self) -> None:
            self.nodes, self.ct = nodes, ct

        def show(self, method: Any = "unoise", **look: Any) -> Any:
            display.show(world.scene, ct, method, display.Look(**look))
            view.fit()
            view.node.JumpSliceByOffsetting(*self.ras((0, 0), 5))
            warnings.refresh()
            return view.picture().astype(int)

        def ras(self, place: Any, k: Any = 5) -> Any:
            return tuple((STRAIGHT @ (place[1], place[0], k, 1))[:3])

        def at(self, picture: Any, place: Any) -> Any:
            row, column = view.pixel_of(self.ras(place))
            return picture[row, column]

    return Seen()


def grey(pixel: Any) -> Any:
    return np.ptp(pixel) <= 3


def test_colour_where_the_map_is_high_and_none_where_it_is_low(seen: Any) -> None:
    picture = seen.show(legend=False)
    hot = seen.at(picture, HOT)
    assert not grey(hot)
    expected = 255 * (0.5 * display.rgba("inferno")[-1, :3] + 0.5 * 0.5)  # body at the middle of its window
    assert np.abs(hot - expected).max() < 12
    assert grey(seen.at(picture, COLD)) and grey(seen.at(picture, OUTSIDE))
    assert np.abs(seen.at(picture, OUTSIDE) - 127).max() < 6
    assert grey(seen.at(seen.show("", legend=False), OUTSIDE))


def test_opacity_and_threshold_reach_the_screen(seen: Any) -> None:
    strong, weak = seen.at(seen.show(opacity=100.0), HOT), seen.at(seen.show(opacity=10.0), HOT)
    assert np.ptp(strong) > 2 * np.ptp(weak)
    assert not grey(seen.at(seen.show(threshold=99.0), HOT))
    assert np.ptp(seen.at(seen.show(colours="viridis", opacity=100.0), HOT)) > 100


def test_the_outline_is_where_the_organ_ends(seen: Any) -> None:
    picture = seen.show(legend=False)
    cyan = (picture[..., 2] > 180) & (picture[..., 1] > 150) & (picture[..., 0] < 130)
    rows, columns = np.nonzero(cyan)
    corners = [seen.red.pixel_of(seen.ras(p)) for p in ((19.5, 29.5), (29.5, 49.5))]
    expected = sorted(r for r, _c in corners), sorted(c for _r, c in corners)
    assert np.allclose((rows.min(), rows.max()), expected[0], atol=4)
    assert np.allclose((columns.min(), columns.max()), expected[1], atol=4)
    inside = picture[min(expected[0]) + 8 : max(expected[0]) - 8, min(expected[1]) + 8 : min(expected[1]) + 14]
    assert np.ptp(inside, axis=-1).max() <= 3, "an outline, not a filled shape"
    filled = seen.show("", legend=False)
    assert not grey(seen.at(filled, COLD)), "without a map the segmentation is filled"


def test_of_two_cts_only_the_chosen_ones_outline_is_drawn(seen: Any, world: Any) -> None:
    """Arterial and venous phase lie in one place: the outline of the other, in the same colour, would mislead."""
    other = add_volume(world.scene, np.array(slicer.util.arrayFromVolume(seen.ct)), STRAIGHT, "venous")
    organ = np.zeros(SHAPE, np.uint8)
    organ[3:7, 38:48, 30:50] = 1
    given = exchange.Results(report(("unoise",)), organ, {"unoise": np.zeros(SHAPE, np.float32)})
    scenes.place(world.scene, other, given)

    def rows() -> Any:
        p = seen.red.picture().astype(int)
        found = np.nonzero((p[..., 2] > 180) & (p[..., 1] > 150) & (p[..., 0] < 130))[0]
        return found.min(), found.max()

    def place_of(j: Any) -> Any:
        return sorted(seen.red.pixel_of(seen.ras((edge - 0.5, 40)))[0] for edge in j)

    seen.show(legend=False)
    assert np.allclose(rows(), place_of((20, 30)), atol=4)
    display.show(world.scene, other, "unoise", display.Look(legend=False))
    assert np.allclose(rows(), place_of((38, 48)), atol=4)


def test_the_legend_comes_and_goes(seen: Any) -> None:
    without, with_legend = seen.show(legend=False), seen.show(legend=True)
    changed = np.nonzero(np.abs(with_legend - without).max(axis=-1) > 20)
    assert len(changed[0]) > 300 and changed[1].min() > 0.6 * without.shape[1], "on the right"
    assert np.abs(seen.show(legend=False) - without).max() == 0, "gone again"
    bar = with_legend[:, int(0.95 * without.shape[1]) :]
    assert (np.ptp(bar, axis=-1) > 100).sum() > 100, "it shows the colours"


def test_the_warning_is_in_every_view_that_shows_a_result(seen: Any, world: Any) -> None:
    top = seen.show(legend=False)[:30]
    assert ((top[..., 0] > 200) & (top[..., 2] < 140)).sum() > 100, "orange letters"
    assert display.warning_in(seen.red.composite) == WARNING
    other = add_volume(world.scene, np.ones(SHAPE, np.int16), STRAIGHT, "another")
    seen.red.composite.SetForegroundVolumeID(None)
    assert display.warning_in(seen.red.composite) == WARNING, "the model's outline still shows"
    seen.red.composite.SetBackgroundVolumeID(other.GetID())
    top = seen.red.picture()[:30].astype(int)
    assert not ((top[..., 0] > 200) & (top[..., 2] < 140)).any()


def test_what_is_unusual_about_the_ct_stands_below_the_warning(seen: Any) -> None:
    """The upper line alone without, two lines with; kept apart from the legend."""

    def orange(low: Any, high: Any) -> Any:
        part = seen.show(legend=False)[low:high]
        return ((part[..., 0] > 200) & (part[..., 2] < 140)).sum()

    assert orange(0, 22) > 100 and orange(22, 45) == 0
    given = report(("unoise",)) | {"warnings": ["Slices 10.0 mm apart lie outside 0.3 to 6 mm, which the model knows."]}
    values = np.array(slicer.util.arrayFromVolume(seen.nodes["importance-unoise"]))
    scenes.place(seen.scene, seen.ct, exchange.Results(given, np.ones(SHAPE, np.uint8), {"unoise": values}))
    assert display.warning_in(seen.red.composite) == f"{WARNING}\nSlices 10.0 mm apart lie outside 0.3 to 6 mm"
    assert orange(0, 22) > 100 and orange(22, 45) > 50
    seen.red.composite.SetForegroundVolumeID(None)
    assert display.warning_in(seen.red.composite) == f"{WARNING}\nSlices 10.0 mm apart lie outside 0.3 to 6 mm", (
        "over the outline too"
    )


def test_the_less_important_share_is_black(seen: Any) -> None:
    values = np.array(slicer.util.arrayFromVolume(seen.nodes["importance-unoise"]))
    share = 100 * (values > 0).mean()
    picture = seen.show(share=share, legend=False, threshold=0.0)
    assert seen.at(picture, OUTSIDE).max() == 0 and seen.at(picture, COLD).max() == 0
    assert seen.at(picture, HOT).max() > 100
    assert seen.at(seen.show(share=100.0), OUTSIDE).max() > 100


def test_slices_of_which_the_map_says_nothing_stay_open_and_do_not_count(seen: Any) -> None:
    node = seen.nodes["importance-unoise"]
    values = slicer.util.arrayFromVolume(node)
    values[:3], values[8:] = 0, 0
    slicer.util.arrayFromVolumeModified(node)
    chance = np.random.default_rng(0)
    values[3:8] = chance.permutation(values[3:8].size).reshape(values[3:8].shape) - 10_000  # no ties; 0 in the middle
    for share in (50.0, 20.0, 5.0):
        seen.show(share=share)
        hidden = slicer.util.arrayFromVolume(scenes.results_of(seen.scene, seen.ct)["curtain-unoise"])
        assert not hidden[:3].any() and not hidden[8:].any()
        assert abs(100 * (1 - hidden[3:8].mean()) - share) < 0.1


def test_side_by_side_shows_the_ct_and_each_method_alike(seen: Any, world: Any) -> None:
    layout = world.scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    before = layout.GetViewArrangement()
    seen.show()
    fit = lambda node: world.views[node.GetLayoutName()].fit()  # noqa: E731
    ours = display.side_by_side(world.scene, seen.ct, display.Look(), True, fit)
    display.jump(world.scene, seen.ct, seen.nodes["importance-unoise"])
    assert len(ours) == 2
    ct, heat = (world.views[c.GetLayoutName()] for c in ours)
    assert ct.node.GetOrientation() == heat.node.GetOrientation() == "Axial"
    assert np.isclose(ct.node.GetSliceOffset(), heat.node.GetSliceOffset())
    row, column = heat.pixel_of(seen.ras(HOT, 4))
    assert not grey(heat.picture().astype(int)[row, column]) and grey(ct.picture().astype(int)[row, column])
    legend = heat.picture()[:, int(0.95 * heat.picture().shape[1]) :].astype(int)
    assert (np.ptp(legend, axis=-1) > 100).sum() > 100, "the legend is in the new view too"
    red = seen.red.node.GetSliceOffset(), seen.red.node.GetFieldOfView()
    heat.logic.StartSliceNodeInteraction(slicer.vtkMRMLSliceNode.FieldOfViewFlag)  # as the mouse does
    heat.node.SetFieldOfView(24, 20, 1)
    heat.logic.EndSliceNodeInteraction()
    heat.logic.StartSliceOffsetInteraction()
    heat.logic.SetSliceOffset(STRAIGHT[2, 3] + 3 * STRAIGHT[2, 2])
    heat.logic.EndSliceOffsetInteraction()
    assert np.isclose(ct.node.GetSliceOffset(), STRAIGHT[2, 3] + 3 * STRAIGHT[2, 2]), "scrolled together"
    assert np.isclose(ct.node.GetFieldOfView()[0], 24), "zoomed together"
    assert red == (seen.red.node.GetSliceOffset(), seen.red.node.GetFieldOfView()), "the usual views are left alone"
    display.side_by_side(world.scene, seen.ct, display.Look(), False)
    assert layout.GetViewArrangement() == before


@pytest.mark.parametrize(("method", "top"), [("unoise", 7.4), ("gradcam", 0.1), ("occlusion", 1.0), ("gradcam", 4e-5)])
def test_the_legend_has_one_size_and_is_read_on_bone(world: Any, method: Any, top: Any) -> None:
    """White letters lie on a darkened ground, whatever lies below; name and unit in the same place for every map."""
    world.lay_out()
    hu = np.full((10, 600, 800), 1000, np.int16)  # beyond the view's edges
    ct = add_volume(world.scene, hu, STRAIGHT, "CT")
    ct.GetDisplayNode().SetAutoWindowLevel(False)
    ct.GetDisplayNode().SetWindowLevel(400, 40)
    facts = report((method,)) | {"units": {method: "logit"}}
    exchange.learn(facts["titles"])
    values = np.full(hu.shape, -1, np.float32)
    values[ORGAN] = top
    scenes.place(world.scene, ct, exchange.Results(facts, (values > 0).astype(np.uint8), {method: values}))
    view = world.views["Red"]
    display.show(world.scene, ct, method, display.Look())
    view.fit()
    view.node.SetFieldOfView(240, 200, 1)
    below = view.picture().astype(int).max(axis=2)[:, 360:]
    below[: below.shape[0] // 8] = 255  # the warning has a place of its own
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(
        scenes.maps_of(world.scene, ct)[method].GetDisplayNode()
    )
    title, unit = (line.strip() for line in legend.GetTitleText().split("\n"))
    assert (title, unit) == (exchange.TITLES[method], "[logit]")
    rows, _columns = np.nonzero(below < 140)  # the darkened ground
    height = view.window.GetSize()[1]
    assert abs(rows.min() / height - 0.26) < 0.02 and abs(rows.max() / height - 0.69) < 0.02
    ground = below[rows.min() : rows.min() + 6]
    assert np.median(ground[ground < 140]) < 110, "letters are told from it"


def test_the_legend_says_what_both_ends_mean(seen: Any) -> None:
    """More words than before stand above the bar, within the view and below the warning."""
    bare = seen.show()
    told = {"unit": "HU", "low": "bears the most noise", "high": "bears the least", "most": 400.0}
    facts = report(("unoise",)) | {"scales": {"unoise": told}}
    raw = np.array(slicer.util.arrayFromVolume(seen.nodes["importance-unoise"]))
    organ = scenes.organ_mask(seen.scene, seen.ct)
    node = scenes.place(seen.scene, seen.ct, exchange.Results(facts, organ, {"unoise": raw}))["importance-unoise"]
    spoken = seen.show()
    right = slice(int(0.7 * bare.shape[1]), None)
    letters = [(picture[45:, right].min(axis=-1) > 200).sum() for picture in (bare, spoken)]
    assert letters[1] > 1.5 * letters[0]
    assert not (spoken[:20, right].min(axis=-1) > 200).any(), "the warning's place"
    assert slicer.util.arrayFromVolume(node).max() == pytest.approx(400 - 400 / (1 + np.exp(3)))
    assert not grey(seen.at(spoken, HOT))


def test_another_module_gets_back_what_lay_over_the_ct(seen: Any) -> None:
    pet = add_volume(seen.scene, np.full(SHAPE, 5, np.int16), STRAIGHT, "PET")
    yellow = next(c for c in display.composites(seen.scene, False) if c is not seen.red.composite)
    seen.red.composite.SetForegroundVolumeID(pet.GetID())
    seen.show()
    shown = seen.nodes["importance-unoise"].GetID()
    assert {seen.red.composite.GetForegroundVolumeID(), yellow.GetForegroundVolumeID()} == {shown}
    display.give_back_all(seen.scene)
    assert seen.red.composite.GetForegroundVolumeID() == pet.GetID()
    assert yellow.GetForegroundVolumeID() == shown, "where nothing was, the map stays"
    seen.show()
    assert seen.red.composite.GetForegroundVolumeID() == shown


def test_organ_and_map_in_3d(seen: Any, world: Any) -> None:
    """Off until asked for; the surface has the outline's colour, the cloud the map's, and with both it is seen."""
    view = offscreen.Space(world)

    def picture(surface: bool, cloud: bool, method: Any = "unoise") -> Any:
        space.show(world.scene, seen.ct, method, display.Look(), surface, cloud, view.rendering)
        return view.picture().astype(int)

    def share(pixels: Any, is_colour: Any) -> float:
        return float(is_colour(pixels[..., 0], pixels[..., 1], pixels[..., 2]).mean())

    def blue(r: Any, g: Any, b: Any) -> Any:
        return (b > 60) & (b > r + 30)

    def warm(r: Any, g: Any, b: Any) -> Any:
        return (r > 60) & (r > b + 20)

    empty = picture(False, False)
    assert not share(empty, blue) and not share(empty, warm)
    assert share(picture(True, False), blue) > 0.02 and not share(picture(True, False), warm)
    assert share(picture(False, True), warm) > 0.005
    assert share(picture(True, True), warm) > 0.001, "it is seen through the surface"
    assert not share(picture(False, True, ""), warm), "no map, no cloud"
    surface = seen.nodes["segmentation"].GetClosedSurfaceInternalRepresentation("pancreas")
    box = surface.GetBounds()
    assert abs((box[1] - box[0]) - 20 * 0.8) < 1.6 and abs((box[3] - box[2]) - 10 * 0.7) < 1.4
    before = world.scene.GetNumberOfNodes()
    scenes.remove(world.scene, seen.nodes["importance-unoise"])
    assert world.scene.GetNumberOfNodesByClass("vtkMRMLVolumePropertyNode") == 0 and before > 0
    assert np.abs(picture(False, False) - empty).max() == 0
