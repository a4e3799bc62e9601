"""What would the model find if this were hidden? The necessity of structures, one by one and in pairs.

Voxels are replaced on the CT's own grid, in HU (fills.py), and the CT is segmented again as if it had come so
(scene.py).
`command.run` is `unoise_engine whatif`.
"""
