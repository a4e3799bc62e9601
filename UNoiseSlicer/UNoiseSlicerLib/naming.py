"""Names of results and of their folder in the subject hierarchy. They begin with the CT's and follow it: a CT that was
made anonymous must not leave the patient's name behind. MRML only.
"""

from __future__ import annotations

import re
from typing import Any

import slicer
from slicer.i18n import tr as _

TITLE = "UNoise.Title"  # node attribute: the name, with {ct} in the place of the CT's
HERE = "{ct}"
FORMULA = re.compile(r"(^|;)(?=[ ']*[=+\-@＝＋－＠])")  # the same as the engine's


def call(node: Any, title: str, ct: Any) -> None:
    """Names a result after its CT; `title` has {ct} in it."""
    node.SetAttribute(TITLE, title)
    node.SetName(title.replace(HERE, ct.GetName() or ""))


def in_table(text: str) -> str:
    """The text of a cell: no spreadsheet runs it where the table is saved to or copied. A number stays as it is."""
    try:
        float(text)
        return text
    except ValueError:
        return FORMULA.sub(r"\1'", " ".join(text.split()))


def title_of(node: Any) -> str:
    """The title that the node goes by, or the name that it got by hand."""
    title, name = node.GetAttribute(TITLE), node.GetName() or ""
    return title if title and _fits(name, title) else name


def unused(scene: Any, title: str, ct: Any) -> str:
    """The title, with a number if a node goes by it already."""
    free, k = title, 2
    while scene.GetFirstNodeByName(free.replace(HERE, ct.GetName() or "")) is not None:
        free, k = f"{title} {k}", k + 1
    return free


def follow_name(node: Any, ct: Any) -> None:
    """Renames a result after its CT was, unless it got a name of its own by hand."""
    if HERE in title_of(node):
        call(node, title_of(node), ct)


def _fits(name: str, title: str) -> bool:
    """Whether a name is the title with some CT's name in it."""
    before, _ct, after = title.partition(HERE)
    return name.startswith(before) and name.endswith(after)


def slices_title(title: str, slices: tuple[int, int, int]) -> str:
    """The title of results of some slices only: first, end (excluded) and number of all, from the feet and from 0."""
    first, end, total = slices
    if (first, end) == (0, total):
        return title
    if end - first == 1:
        return _("{title}, slice {n}").format(title=title, n=end)
    return _("{title}, slices {first} to {last}").format(title=title, first=first + 1, last=end)


def file_in_hierarchy(scene: Any, ct: Any, nodes: list[Any]) -> None:
    """One folder a CT, beside the CT. Ids are compared with the invalid one: which others are valid is not promised."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return
    invalid = hierarchy.GetInvalidItemID()
    item = hierarchy.GetItemByDataNode(ct)
    parent = hierarchy.GetSceneItemID() if item == invalid else hierarchy.GetItemParent(item)
    name = _folder_title().replace(HERE, ct.GetName() or "")
    folder = hierarchy.GetItemChildWithName(parent, name)
    if folder == invalid:
        folder = hierarchy.CreateFolderItem(parent, name)
    for node in nodes:
        item = hierarchy.GetItemByDataNode(node)
        if item == invalid:
            hierarchy.CreateItem(folder, node)
        elif hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID() or _is_own_folder(hierarchy, item):
            hierarchy.SetItemParent(item, folder)  # what was dragged elsewhere stays there


def _is_own_folder(hierarchy: Any, item: int) -> bool:
    """Whether an item lies in a folder that goes by some CT's name."""
    parent = hierarchy.GetItemParent(item)
    return hierarchy.IsItemLevel(parent, "Folder") and _fits(hierarchy.GetItemName(parent), _folder_title())


def follow_folder_name(scene: Any, ct: Any, nodes: list[Any]) -> None:
    """Renames the folder that holds these results after their CT was."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return
    title, invalid = _folder_title(), hierarchy.GetInvalidItemID()
    items = [item for node in nodes if (item := hierarchy.GetItemByDataNode(node)) != invalid]
    for folder in {hierarchy.GetItemParent(item) for item in items}:
        if hierarchy.IsItemLevel(folder, "Folder") and _fits(hierarchy.GetItemName(folder), title):
            hierarchy.SetItemName(folder, title.replace(HERE, ct.GetName() or ""))


def _folder_title() -> str:
    return _("{ct} U-Noise")
