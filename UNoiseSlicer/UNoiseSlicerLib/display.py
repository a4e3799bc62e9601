"""How results look: colours, legend, outline, the share that stays visible, and side-by-side views. MRML only."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import slicer.util
from slicer.i18n import tr as _

from UNoiseSlicerLib import axial, exchange, naming, volumes
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.ours import mark, role_of
from UNoiseSlicerLib.scale import Scale

# Perceptually uniform colour maps (matplotlib's, CC0), at 17 even steps; linear in between, off by 4 % at most.
COLOURS = {
    "inferno": "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 "
    "d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4",
    "viridis": "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c "
    "1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725",
    "cividis": "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 "
    "8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",
}
BLUE, RED = (0.2, 0.5, 1.0), (1.0, 0.3, 0.15)  # less and more than in the other result
ALPHA_FULL_AT = 0.4  # of the range: what matters little lets the CT through, as in the engine's pictures
TOP = "UNoise.Top"  # attribute of a map: when it was looked through, and where its colours end
USUAL_SHARE = 0.5  # percent of the important voxels that may lie beyond the colours' end
QUANTILE_SAMPLE = 400_000  # voxels: enough for a tenth of a percent, and quick enough for a slider
LEGEND_LETTERS = 14  # a line
LAYOUT_ID = 7150
METHODS_AT_FIRST = ("", "", "")  # views beside the CT's, until the engine or a result has named the methods
VIEW_GROUP = 71  # linked among themselves only
VIEWS = "UNoise"  # names of the side-by-side views start so


@dataclass(frozen=True)
class Look:
    """What the panel asks of the picture; shares in percent."""

    colours: str = "inferno"
    threshold: float = 10.0  # of the highest importance; below it no colour
    opacity: float = 50.0
    share: float = 100.0  # of the voxels that stay visible, the most important first
    legend: bool = True


# --- one map ---


def show(scene: Any, ct: Any, method: str, look: Look, compared: Any = None, difference: Any = None) -> Any:
    """Shows one method's map over the CT in the ordinary slice views ("" for none) and returns its node. The outline of
    `compared` shows, too, and a `difference` in the map's place.

    While a map shows, the segmentation is an outline: a filled one would hide it. Raises Refused, with everything put
    away, if the CT is not what was explained any more.
    """
    stale = scenes.why_stale(scene, ct)
    if stale:
        put_away(scene, ct)
        raise exchange.Refused(stale)
    maps = scenes.maps_of(scene, ct)
    scenes.follow(ct, scenes.every_result(scene, ct))
    drop_curtains(scene)
    shown = maps.get(method)
    for name, node in maps.items():
        dress(scene, node, name, look)
        curtain(scene, ct, name, node, look.share if node is shown or is_side_by_side(scene) else 100.0)
    outlines(scene, ct, filled=shown is None and compared is None, compared=compared)
    if difference is not None:
        dress_difference(scene, difference)
        legend(difference, look.legend)
        legend(shown, False)
    for composite in composites(scene, side_by_side=False):
        layers(composite, ct, difference or shown, look)
    for composite in composites(scene, side_by_side=True):
        other = scene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        layers(composite, ct, other if other in maps.values() else None, look)
    for node in maps.values():
        is_seen = (node is shown and difference is None) or is_side_by_side(scene)
        legend(node, look.legend and is_seen)
    return shown


def dress(scene: Any, node: Any, method: str, look: Look) -> None:
    """Colours, range from 0 to the highest usual importance, and threshold of one map."""
    top = highest(node)
    display = node.GetDisplayNode()
    was = display.StartModify()
    display.SetAndObserveColorNodeID(colours(scene, look.colours).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, top)
    display.AutoThresholdOff()
    display.SetThreshold(top * look.threshold / 100, max(top, node.GetImageData().GetScalarRange()[1]))
    display.ApplyThresholdOn()
    display.SetInterpolate(True)
    display.EndModify(was)


def dress_difference(scene: Any, node: Any) -> None:
    """From -1, blue, over nothing to 1, red."""
    table = _table(scene, "difference-colours", "U-Noise difference", 256)
    was = table.StartModify()
    for k, x in enumerate(np.linspace(-1, 1, 256)):
        table.SetColor(k, f"{x:.2f}", *(BLUE if x < 0 else RED), min(abs(x) / ALPHA_FULL_AT, 1))
    table.EndModify(was)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(table.GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(-1, 1)
    display.SetInterpolate(True)


def highest(node: Any) -> float:
    """Where the colours end: one voxel in 200 of those with importance has more. 1 where nothing is important.

    The largest of all often belongs to a slice at the organ's end, and would leave every other slice dark.
    """
    stamp = str(node.GetImageData().GetMTime())  # of large volumes it takes a moment, and sliders ask often
    known = (node.GetAttribute(TOP) or "").split()
    if known[:1] == [stamp]:
        return float(known[1])
    values = slicer.util.arrayFromVolume(node)
    some = values[values > Scale.of_node(node).middle]
    top = hiding_level(some, USUAL_SHARE) if some.size else max(0.0, float(values.max())) or 1.0
    node.SetAttribute(TOP, f"{stamp} {top!r}")
    return top


def colours(scene: Any, name: str) -> Any:
    """The colour table that all maps share, saved with the scene; rewritten when another colour map is chosen."""
    table = _table(scene, "colours", "U-Noise importance", 256)
    if table.GetAttribute("UNoise.Colours") != name:
        was = table.StartModify()
        for k, (red, green, blue, alpha) in enumerate(rgba(name)):
            table.SetColor(k, f"{k / 255:.2f}", red, green, blue, alpha)
        table.SetAttribute("UNoise.Colours", name)
        table.EndModify(was)
    return table


def rgba(name: str) -> np.ndarray:
    """(256, 4): the colour map with its alpha ramp."""
    anchors = np.array([[int(h[k : k + 2], 16) / 255 for k in (0, 2, 4)] for h in COLOURS[name].split()])
    steps, x = np.linspace(0, 1, len(anchors)), np.linspace(0, 1, 256)
    alpha = np.clip(x / ALPHA_FULL_AT, 0, 1)
    return np.column_stack([*(np.interp(x, steps, anchors[:, k]) for k in range(3)), alpha])


def legend(node: Any, visible: bool) -> None:
    """The colour legend, which also carries the warning: it is saved with the scene and shown without this module."""
    display = node.GetDisplayNode()
    known = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(display)
    if known is None:
        if not visible:
            return
        known = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(display)
        known.SetName(_("U-Noise legend"))  # Slicer would put the CT's name into it
        known.SetUseColorNamesForLabels(False)
        known.SetNumberOfLabels(3)
        known.SetPosition(0.97, 0.5)
        for text in (known.GetTitleTextProperty(), known.GetLabelTextProperty()):
            text.SetFontFamilyToCourier()  # letters of one width
            text.SetBold(True)
            text.SetColor(1, 1, 1)
            text.SetBackgroundColor(0, 0, 0)  # to be read on bone, too
            text.SetBackgroundOpacity(0.6)
    known.SetSize(0.15, 0.45 if Scale.of_node(node).high else 0.4)  # words need room
    known.SetLabelFormat(_digits(highest(node)))
    known.SetTitleText(legend_text(node))
    known.SetVisibility(visible)
    known.Modified()  # views look again only then whether they show the volume


def _digits(top: float) -> str:
    """Labels of the same width: the legend's letters are as large as the longest line allows."""
    return next((f for least, f in ((100, "%7.0f"), (1, "%7.1f"), (0.02, "%7.2f")) if top >= least), "%7.1e")


def legend_text(node: Any) -> str:
    """Method and unit, and what the bright end means, in few lines of the same width: they lie on the image. The report
    has both ends."""
    method = role_of(node).partition("-")[2]
    lines = textwrap.wrap(exchange.TITLES.get(method, method), LEGEND_LETTERS)[:2]
    lines.append(f"[{Scale.of_node(node).unit or _('no unit')}]")
    if high := Scale.of_node(node).high:
        lines += textwrap.wrap(_("bright: {meaning}").format(meaning=high), LEGEND_LETTERS)
    return "\n".join(line[:LEGEND_LETTERS].center(LEGEND_LETTERS) for line in lines)


def ends(node: Any) -> tuple[str, str]:
    """What to write at 0 and where the colours end: the voxels' values, and what they mean."""
    top, scale = highest(node), Scale.of_node(node)
    low, high = scale.ends(top)
    return (f"0 {low}", f"{top:.3g} {high}") if low else ("0", f"{top:.3g} {scale.unit}")


def outlines(scene: Any, ct: Any, filled: bool, compared: Any = None) -> None:
    """Of all segmentations that models made, only the one of this CT's last run shows, and one that it is compared
    with. What was hidden by hand stays hidden."""
    current = scenes.results_of(scene, ct).get("segmentation") if not scenes.why_stale(scene, ct) else None
    for node in volumes.nodes_of(scene, "vtkMRMLSegmentationNode"):
        shown = node.GetDisplayNode()
        if ct is not None and role_of(node) and shown is not None:
            scenes.hold(shown, "Visibility", off=node is not current and node is not compared)
            if node is current or node is compared:
                scenes.hold(shown, "Visibility2DFill", off=not filled)


# --- the share that stays visible (the paper's Fig. 3b) ---


def curtain(scene: Any, ct: Any, method: str, node: Any, share: float) -> Any:
    """A black label map over all but the most important `share` percent of the explained voxels; None at 100 %.

    Ties are hidden together, so never more than the share is visible. Slices that were not explained, or of which the
    map says nothing (the model found no organ there), stay open and do not count.
    """
    role = f"curtain-{method}"
    old = scenes.results_of(scene, ct).get(role)
    if share >= 100:
        if old is not None:
            scenes.remove(scene, old)
        return None
    values = slicer.util.arrayFromVolume(node)
    if old is None or slicer.util.arrayFromVolume(old).shape != values.shape:
        empty = np.zeros(values.shape, np.uint8)
        title = _("{ct} hidden by {method}").format(ct=naming.HERE, method=exchange.TITLES.get(method, method))
        stamp = {scenes.EXPLAINED: node.GetAttribute(scenes.EXPLAINED)}
        old = scenes.place_volume(scene, ct, role, title, empty, old, "vtkMRMLLabelMapVolumeNode", stamp)
        old.SetHideFromEditors(True)
        old.GetDisplayNode().SetAndObserveColorNodeID(_black(scene).GetID())
        scenes.follow(ct, [old])
    explained = _explained(scene, ct, values.shape)
    hidden = slicer.util.arrayFromVolume(old)
    axis = 2 - axial.axial_axis(volumes.matrix_of(ct))[0]
    part, over = (np.moveaxis(array[explained], axis, 0) for array in (values, hidden))  # axial slices first; views
    speaking = part.any(axis=(1, 2))
    if speaking.any():
        step = max(1, math.isqrt(int(speaking.sum()) * part[0].size // QUANTILE_SAMPLE))
        level = hiding_level(part[:, ::step, ::step][speaking], share)
        np.less_equal(part, level, out=over, casting="unsafe")
    over[~speaking] = 0
    slicer.util.arrayFromVolumeModified(old)
    return old


def ranked(scene: Any, ct: Any, node: Any) -> np.ndarray:
    """The values of a map that count: of the slices that were explained, and of which it says something."""
    values = slicer.util.arrayFromVolume(node)
    axis = 2 - axial.axial_axis(volumes.matrix_of(ct))[0]
    part = np.moveaxis(values[_explained(scene, ct, values.shape)], axis, 0)
    return part[part.any(axis=(1, 2))].reshape(-1)


def hiding_level(values: np.ndarray, share: float) -> float:
    """The importance up to which voxels are hidden, so that at most `share` percent stay."""
    step = max(1, values.size // QUANTILE_SAMPLE)
    return float(np.quantile(values.reshape(-1)[::step], 1 - share / 100, method="inverted_cdf"))


def put_away(scene: Any, ct: Any) -> None:
    """Where no map of this CT is left to show: the views get back what they showed before, the segmentation is filled,
    or hidden if it does not fit the CT any more, and the former layout returns."""
    drop_curtains(scene)
    for composite in composites(scene, side_by_side=False):
        give_back(composite, "Foreground")
        give_back(composite, "Label")
    outlines(scene, ct, filled=True)
    side_by_side(scene, ct, Look(), False)


def give_back_all(scene: Any) -> None:
    """Puts back what users had in their own views before a map took its place."""
    for composite in composites(scene, side_by_side=False):
        for layer in ("Foreground", "Label"):
            if composite.GetNodeReference(_mark(layer)) is not None:
                give_back(composite, layer)


def put_away_stale(scene: Any) -> list[str]:
    """Takes results that do not fit their CT any more out of the views, and returns a sentence for each CT."""
    reasons = {ct: reason for ct in scenes.explained(scene) if (reason := scenes.why_stale(scene, ct))}
    for node in volumes.nodes_of(scene, "vtkMRMLSliceCompositeNode"):
        shown = scene.GetNodeByID(node.GetForegroundVolumeID() or "")
        if shown is not None and shown.GetNodeReference(scenes.CT) in reasons:
            give_back(node, "Foreground")
            give_back(node, "Label")
    for ct in reasons:
        found = scenes.results_of(scene, ct).get("segmentation")
        if found is not None and found.GetDisplayNode() is not None:
            scenes.hold(found.GetDisplayNode(), "Visibility", off=True)
    return list(reasons.values())


def drop_curtains(scene: Any) -> None:
    """Removes curtains whose map or CT was deleted by hand: nobody could lift them, since editors do not list them."""
    for node in volumes.nodes_of(scene, "vtkMRMLLabelMapVolumeNode"):
        kind, _dash, method = role_of(node).partition("-")
        if kind == "curtain":
            ct = scene.GetNodeByID(node.GetNodeReferenceID(scenes.CT) or "")
            if method not in scenes.maps_of(scene, ct):
                scenes.remove(scene, node)


def _explained(scene: Any, ct: Any, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of the voxel array whose axial slices were explained."""
    axis, backwards = axial.axial_axis(volumes.matrix_of(ct))
    total = shape[2 - axis]
    start, stop = scenes.report_of(scene, ct).get("settings", {}).get("axial_slices", (0, total))
    along = slice(total - stop, total - start) if backwards else slice(start, stop)
    return tuple(along if a == 2 - axis else slice(None) for a in range(3))


def _black(scene: Any) -> Any:
    """0 clear, 1 black."""
    table = _table(scene, "black", "U-Noise hidden", 2)
    table.SetColor(0, "visible", 0, 0, 0, 0)
    table.SetColor(1, "hidden", 0, 0, 0, 1)
    table.SetHideFromEditors(True)
    return table


def _table(scene: Any, role: str, name: str, colours: int) -> Any:
    for node in volumes.nodes_of(scene, "vtkMRMLColorTableNode"):
        if role_of(node) == role:
            return node
    table = slicer.vtkMRMLColorTableNode()
    table.SetName(name)
    table.SetTypeToUser()
    table.SetNumberOfColors(colours)
    table = scene.AddNode(table)
    mark(table, role)
    return table


# --- views ---


def composites(scene: Any, side_by_side: bool) -> list[Any]:
    """Which volumes each slice view shows: of the ordinary views, or of ours."""
    nodes = volumes.nodes_of(scene, "vtkMRMLSliceCompositeNode")
    return [n for n in nodes if (n.GetLayoutName() or "").startswith(VIEWS) == side_by_side]


def layers(composite: Any, ct: Any, shown: Any, look: Look) -> None:
    """CT below, the map above it, its curtain on top."""
    method = role_of(shown).partition("-")[2] if shown is not None else ""
    role = f"curtain-{method}"
    hidden = scenes.results_of(composite.GetScene(), ct).get(role)
    was = composite.StartModify()
    composite.SetBackgroundVolumeID(ct.GetID())
    for layer, node, opacity in (("Foreground", shown, look.opacity / 100), ("Label", hidden, 1.0)):
        if node is not None:
            lend(composite, layer, node, opacity)
        else:
            give_back(composite, layer)
    composite.EndModify(was)


def lend(composite: Any, layer: str, node: Any, opacity: float) -> None:
    """Puts a result into a layer (Foreground or Label) of a view, which remembers what the user had there."""
    users, known = _in_layer(composite, layer), composite.GetAttribute(_mark(layer))
    if not _is_ours(users) and (users is not None or known is None):  # None again: a result was deleted meanwhile
        composite.SetNodeReferenceID(_mark(layer), users.GetID() if users is not None else None)
        composite.SetAttribute(_mark(layer), repr(getattr(composite, f"Get{layer}Opacity")()))
    getattr(composite, f"Set{layer}VolumeID")(node.GetID())
    getattr(composite, f"Set{layer}Opacity")(opacity)


def give_back(composite: Any, layer: str) -> None:
    """The reverse; a layer in which the user has put something else meanwhile is left alone."""
    shown, opacity = _in_layer(composite, layer), composite.GetAttribute(_mark(layer))
    if _is_ours(shown) or (shown is None and opacity is not None):
        users = composite.GetNodeReference(_mark(layer))
        getattr(composite, f"Set{layer}VolumeID")(users.GetID() if users is not None else None)
        if opacity is not None:
            getattr(composite, f"Set{layer}Opacity")(float(opacity))
    composite.RemoveAttribute(_mark(layer))
    composite.SetNodeReferenceID(_mark(layer), None)


def _in_layer(composite: Any, layer: str) -> Any:
    return composite.GetScene().GetNodeByID(getattr(composite, f"Get{layer}VolumeID")() or "")


def _is_ours(volume: Any) -> bool:
    return volume is not None and bool(role_of(volume))


def _mark(layer: str) -> str:
    """Node reference and attribute of a view: the user's volume in this layer, and its opacity."""
    return f"UNoise.{layer}"


def side_by_side(scene: Any, ct: Any, look: Look, on: bool, fit: Any = None) -> list[Any]:
    """Shows CT and outline, then each method, in linked axial views; off brings the former layout back.

    `fit(slice node)` fills the views once they exist. Returns the views' composite nodes.
    """
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if layout is None:
        return []
    before = layout.GetAttribute("UNoise.LayoutBefore")
    if not on:
        if before and is_side_by_side(scene):
            layout.SetViewArrangement(int(before))
        return []
    maps = scenes.maps_of(scene, ct)
    if not is_side_by_side(scene):
        layout.SetAttribute("UNoise.LayoutBefore", str(layout.GetViewArrangement()))
    register_layout(scene)
    layout.SetLayoutDescription(LAYOUT_ID, layout_of(_titles(maps)))
    layout.SetViewArrangement(LAYOUT_ID)
    shown = composites(scene, side_by_side=True)[: 1 + len(maps)]
    for composite, node in zip(shown, [None, *maps.values()]):
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)
        layers(composite, ct, node, look)
        view = scene.GetSingletonNode(composite.GetLayoutName(), "vtkMRMLSliceNode")
        if fit is not None and view is not None:
            fit(view)
    for node in maps.values():  # a view does not draw legends that are older than itself: they are made anew
        known = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node.GetDisplayNode())
        if known is not None:
            scene.RemoveNode(known)
        legend(node, look.legend)
    return shown


def is_side_by_side(scene: Any) -> bool:
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    return layout is not None and layout.GetViewArrangement() == LAYOUT_ID


def is_arranged(scene: Any, ct: Any) -> bool:
    """Whether the side-by-side views are those of this CT's maps: another CT may have been chosen, a map deleted."""
    maps, layout = scenes.maps_of(scene, ct), scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if not is_side_by_side(scene) or layout.GetLayoutDescription(LAYOUT_ID) != layout_of(_titles(maps)):
        return False
    shown = [c.GetForegroundVolumeID() for c in composites(scene, side_by_side=True)[: 1 + len(maps)]]
    return shown == [None, *(node.GetID() for node in maps.values())]


def register_layout(scene: Any) -> None:
    """Makes the side-by-side layout known. Scenes keep only its number; unknown, they would open without views."""
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if layout is not None and not layout.IsLayoutDescription(LAYOUT_ID):
        layout.AddLayoutDescription(LAYOUT_ID, layout_of(_titles(list(exchange.TITLES) or METHODS_AT_FIRST)))


def _titles(methods: Iterable[str]) -> list[str]:
    return [_("CT"), *(exchange.TITLES.get(name, name) for name in methods)]


def layout_of(titles: list[str]) -> str:
    """Slicer's layout description: one axial view a title, two a row from four on."""

    def view(k: int, title: str) -> str:
        facts = {"orientation": "Axial", "viewlabel": title, "viewcolor": "#808080", "viewgroup": str(VIEW_GROUP)}
        inside = "".join(f'<property name="{n}" action="default">{v}</property>' for n, v in facts.items())
        return f'<item><view class="vtkMRMLSliceNode" singletontag="{VIEWS}{k + 1}">{inside}</view></item>'

    views = [view(k, title) for k, title in enumerate(titles)]
    if len(views) < 4:
        return f'<layout type="horizontal">{"".join(views)}</layout>'
    rows = [views[k : k + 2] for k in range(0, len(views), 2)]
    inside = "".join(f'<item><layout type="horizontal">{"".join(row)}</layout></item>' for row in rows)
    return f'<layout type="vertical">{inside}</layout>'


def jump(scene: Any, ct: Any, node: Any) -> bool:
    """Moves every slice view to the most important place of a map; False if nothing is important in it."""
    point = axial.most_important_point(node, scenes.organ_slices(scene, ct))
    if point is None:
        return False
    for view in volumes.nodes_of(scene, "vtkMRMLSliceNode"):
        view.JumpSliceByOffsetting(*point)
    return True


def warning_in(composite: Any) -> str:
    """What a view must carry if it shows a map, or a CT over which the model's segmentation is drawn: the model's
    warning and, below it, what is unusual about the CT."""
    scene = composite.GetScene()
    if scene is None:
        return ""
    for volume in (composite.GetForegroundVolumeID(), composite.GetBackgroundVolumeID()):
        node = scene.GetNodeByID(volume or "")
        if node is None:
            continue
        sentence, caution = node.GetAttribute(scenes.WARNING), node.GetAttribute(scenes.CAUTION)
        if not sentence and _is_outlined(scene, node):
            report = scenes.report_of(scene, node)
            sentence, caution = report.get("warning"), scenes.caution(report)
        if sentence:
            return f"{sentence}\n{caution}" if caution else sentence
    return ""


def _is_outlined(scene: Any, ct: Any) -> bool:
    segmentation = scenes.results_of(scene, ct).get("segmentation")
    return segmentation is not None and bool(segmentation.GetDisplayVisibility())
