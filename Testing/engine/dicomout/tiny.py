"""A model of a few operators, and a CT series of a few slices: small worlds whose answers are known."""

import numpy as np
import onnx
import pydicom
from onnx import TensorProto, helper
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from unoise_engine.bundle.manifest import Manifest, write_bundle
from unoise_engine.ct.prepare import Recipe

FLOAT = TensorProto.FLOAT
BRIGHT = 1.6  # normalised: about 100 HU after blurring


def write_tiny_bundle(folder, work):
    """Finds what is brighter than 100 HU or so over 5 x 5 pixels; "importance" is plain arithmetic on the slices."""
    n_1_h_w = ["n", 1, "h", "w"]

    def save(name, nodes, inputs, output):
        constants = [helper.make_tensor(k, FLOAT, [], [v]) for k, v in {"t": BRIGHT, "gain": 8.0, "less": -3.0}.items()]
        values = [helper.make_tensor_value_info(i, FLOAT, n_1_h_w) for i in inputs]
        result = [helper.make_tensor_value_info(output, FLOAT, n_1_h_w)]
        graph = helper.make_graph(nodes, name, values, result, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        onnx.checker.check_model(model)
        onnx.save(model, work / f"{name}.onnx")
        return work / f"{name}.onnx"

    blur = helper.make_node("AveragePool", ["slices"], ["soft"], kernel_shape=[5, 5], pads=[2, 2, 2, 2])
    above = helper.make_node("Sub", ["soft", "t"], ["above"])
    files = {
        "utility": ([blur, above, helper.make_node("Mul", ["above", "gain"], ["logits"])], ["slices"], "logits"),
        "unoise": ([blur, helper.make_node("Mul", ["soft", "less"], ["noise_logits"])], ["slices"], "noise_logits"),
        "gradcam": (
            [
                blur,
                helper.make_node("Mul", ["soft", "target"], ["both"]),
                helper.make_node("Relu", ["both"], ["importance"]),
            ],
            ["slices", "target"],
            "importance",
        ),
    }
    manifest = Manifest(
        name="tiny",
        title="Tiny test model",
        synthetic=True,
        intended_use="tests",
        licence="Apache-2.0",
        training_data="none",
        recipe=Recipe(),
        labels={"pancreas": 1},
    )
    written = {f"{name}.onnx": save(name, *parts) for name, parts in files.items()}
    write_bundle(folder, manifest, written)
    return folder


IDENTITY = {
    "PatientName": "Muster^Maria",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19501231",
    "PatientSex": "F",
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "StudyID": "ST1",
    "AccessionNumber": "ACC1",
    "ReferringPhysicianName": "Doctor^Who",
}


def write_series(folder, slices=6, size=64, spacing=2.0, step=3.0, oblique=False, order=1, **changes):
    """A series with a bright block in its middle slices. `changes` set or (None) delete elements of every slice."""
    folder.mkdir(parents=True, exist_ok=True)
    across, down = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    if oblique:
        c, s = np.cos(0.3), np.sin(0.3)
        across, down = np.array([c, s, 0]), np.array([-s * c, c * c, -s])
        down = down / np.linalg.norm(down)
    normal = np.cross(across, down) * order
    for k in range(slices):
        hu = np.full((size, size), -1000, np.int16)
        hu[8:-8, 6:-6] = 40
        if slices // 3 <= k <= slices - 2:
            hu[20:36, 14 + k : 40] = 180
        hu[24 + k, 50] = 700  # tells slices and sides apart
        ds = pydicom.Dataset()
        for key, value in IDENTITY.items():
            setattr(ds, key, value)
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"1.2.826.0.1.3680043.8.498.7.{k + 1}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "1.2.826.0.1.3680043.8.498.3", ""
        ds.Modality, ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber = "CT", "Test", 3, k + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.Rows = ds.Columns = size
        ds.PixelSpacing, ds.SliceThickness = [spacing, spacing], step
        place = np.array([-60.0, -70.0, 10.0]) + k * step * normal
        ds.ImagePositionPatient = [round(float(v), 6) for v in place]
        ds.ImageOrientationPatient = [round(float(v), 9) for v in (*across, *down)]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "HU"
        ds.PixelData = hu.tobytes()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        for key, value in changes.items():
            if value is None:
                delattr(ds, key)
            else:
                setattr(ds, key, value)
        # Names shuffled against positions: the order of files must not matter.
        ds.save_as(folder / f"{(k * 5) % slices if slices % 5 else k:03d}.dcm", enforce_file_format=False)
    return folder
