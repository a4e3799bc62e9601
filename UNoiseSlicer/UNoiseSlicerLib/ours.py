"""Which nodes are ours. Slicer copies attributes and references when somebody clones a node, so these do not tell. But
a node that refers to itself is no copy: the copy refers to the node it was made of. References survive saving, loading
and new ids. MRML only.
"""

from __future__ import annotations

from typing import Any

ROLE = "UNoise.Role"  # node attribute: what a result is
SELF = "UNoise.Self"  # node reference to the node itself, and an attribute: that it was made


def mark(node: Any, role: str = "") -> None:
    """Makes a node of the scene ours."""
    if role:
        node.SetAttribute(ROLE, role)
    node.SetAttribute(SELF, "1")
    node.SetNodeReferenceID(SELF, node.GetID())


def is_copy(node: Any) -> bool:
    """Whether somebody made it of a node of ours, so that it is theirs. In scenes of earlier versions none is."""
    return bool(node.GetAttribute(SELF)) and node.GetNodeReferenceID(SELF) != node.GetID()


def role_of(node: Any) -> str:
    """What a node of ours is; empty for others."""
    return "" if is_copy(node) else node.GetAttribute(ROLE) or ""


def release(node: Any) -> None:
    """From now on it is the user's."""
    node.RemoveAttribute(ROLE)
    node.RemoveAttribute(SELF)
    node.SetNodeReferenceID(SELF, None)
