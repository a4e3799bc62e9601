"""Judging segmentations and importance maps with numbers. numpy; matplotlib for the figures; never torch.

``evaluate_maps`` (visibility.py) is the heart: a model, labelled slices and anyone's importance maps go in, dice
against share visible comes out. ``command.run`` is `unoise_engine evaluate`: it reads, measures, and writes tables,
figures and a report.
"""
