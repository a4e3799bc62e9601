"""Synthetic abdominal CTs painted from real multi-organ label maps.

The organs keep the shape and place an expert drew, bent a little; everything around them (wall, skeleton, vessels,
bowel, lungs) is built where the map lacks it, and Hounsfield units, texture, blur and noise are drawn per case.
``write.write_painted`` makes a folder of CT / label pairs. Arrays are (z, y, x) in LPS order: feet first, rows to the
back, columns to the patient's left. No person's CT is shown, and results on these say nothing about people.
"""
