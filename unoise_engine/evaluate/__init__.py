"""Judging segmentations and importance maps with numbers. numpy only."""
