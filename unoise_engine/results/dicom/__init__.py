"""Results as DICOM objects that a hospital's archive files beside the CT they came from (extra: dicom).

    segmentation.dcm           DICOM SEG, binary, SNOMED coded
    importance-<method>.dcm    Parametric Map, one a method, float32: every number as computed
    overlay-<method>-001.dcm   colour pictures (Secondary Capture) for viewers that know neither

source.py reads, from the CT's own headers, the little that these must repeat; mend.py mends it; deidentify.py takes the
patient out of it; everything else is ours. A second run gives the same UIDs and the same bytes.
"""
