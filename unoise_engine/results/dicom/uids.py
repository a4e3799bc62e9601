"""Unique identifiers that a second run makes again: an archive then knows the object for the same one."""

from __future__ import annotations

import uuid

# Chosen once, at random. Another value would give every result another identity.
NAMESPACE = uuid.UUID("5f3a1f0e-7c0b-4c2e-9b57-3f2f6a0d8e11")


def stable_uid(*facts: object) -> str:
    """The facts that make a thing what it is -> a UID, 2.25 and a 128-bit number (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(10).join(map(str, facts))).int}"
