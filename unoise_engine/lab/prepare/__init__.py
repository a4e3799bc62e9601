"""Published data sets to a folder that training and evaluation read.

``msd`` (Medical Segmentation Decathlon), ``pancreas_ct`` (NIH Pancreas-CT) and ``pairs`` each find `Item`s in a source
folder; ``write.prepare`` reads them one after the other, skips what is damaged, and leaves CT / label pairs in HU,
labels.json, split.json and a record of where each case came from.
"""
