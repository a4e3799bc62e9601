"""The recipe file to fill in; as it stands it is valid, for a common case."""

TEMPLATE = """\
# What a TorchScript or ONNX file does not say of itself. Correct each value; whatever starts with # may go.
# The net must take float32 windows (n, 1, sides...) and answer logits, before any softmax or sigmoid.

outputs = "softmax"  # one channel a label, channel 0 the background, the largest wins;
                     # "sigmoid": one channel a label, above 0 where it is; "logit": one label, one channel

[model]
name = "my-liver-net"
title = "Liver and liver tumour on contrast-enhanced CT"
licence = ""         # such as "Apache-2.0"; whoever gives the model away needs it
citation = ""        # of a paper to cite
training_data = ""   # what it was trained on, in a sentence

[labels]             # their numbers in the segmentation: with "softmax" the channel, with "sigmoid" the channel plus 1
liver = 1
tumour = 2

[preparation]
modality = "CT"      # CT: values are Hounsfield units; or MR, PT
rank = 3             # 3: blocks; 2: planes of the first axis
axes = "RAS"         # the way each axis of the net's input runs: here right, anterior, superior, as MONAI and nibabel
                     # have it; "SAR" has planes first; "kji" are the file's own axes as SimpleITK gives them, "ijk"
                     # as nibabel does
spacing_mm = [1.5, 1.5, 2.0]  # of each axis in that order; 0: as it is
# In their order. Others: crop-nonzero, crop-above [threshold, margin], normalise [mean, std], normalise-image,
# normalise-nonzero, scale-image [to_low, to_high], scale-percentiles [lower, upper, to_low, to_high].
steps = [
    { do = "resample" },                             # to spacing_mm; leave it out if there is none
    { do = "clip", values = [-57, 164] },            # low, high
    { do = "scale", values = [-57, 164, 0, 1] },     # from_low, from_high, to_low, to_high
]

[preparation.resampling]
rule = "first"       # stays in place: "first" the first voxel's centre (MONAI), "edges" the outer edges (nnU-Net,
                     # scikit-image), "ends" both ends' centres (scipy's zoom)
order = 1            # of the spline: 0 nearest, 1 linear, 3 cubic
back = 1             # the same for the scores on their way back

[preparation.window]
size = [96, 96, 96]  # of the box that the net is given at a time; [] for whole images, padded to multiple_of
step = 0.5           # of the size between windows: 1 - overlap
places = "monai"     # "monai": as far apart as the step, the last moved back; "nnunet": spread evenly
weights = "gaussian-monai"  # of a window's voxels: "constant", "gaussian-monai", "gaussian-nnunet"
sigma = 0.125        # of the Gaussian, in sizes
margin = []          # voxels that the answer lacks on each side, for nets without padding, such as [40, 40, 40]
padding = "constant" # of images smaller than the window: "constant" with the value fill, or "edge"
fill = 0.0
"""
