"""Synthetic labelled CT of the upper abdomen: made from a seed, so training and tests need no patient data.

`abdomen.synthesise` returns one `Phantom`, `write.write_phantoms` a folder of NIfTI cases. The organs are
implicit shapes (shapes.py) placed by `anatomy.sample`, drawn onto a `canvas.Canvas` with the Hounsfield units of one
contrast phase (hounsfield.py) and imaged by scanner.py. Not a model of any person and never evidence about people.
"""
