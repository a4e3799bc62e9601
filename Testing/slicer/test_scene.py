"""The scene layer on real MRML (slicer-core). The tests themselves live in the module: Slicer runs them too."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)


from UNoiseSlicerLib import axial, exchange, scene_tests, volumes


@pytest.mark.parametrize("name", scene_tests.ALL)
def test_scene(name: Any, world: Any) -> None:
    scene_tests.ALL[name](world.scene)


def test_a_full_disk_is_told_in_one_sentence(world: Any) -> None:
    """The real writer against a real limit."""
    resource = pytest.importorskip("resource", reason="no file size limits on this system")
    import signal

    ct = scene_tests.add_ct(world.scene)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with scene_tests.folder() as folder:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            with scene_tests.refused("CT cannot be written", "free some space"):
                exchange.write_ct(ct, folder / "ct.nrrd")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("matrix", ["STRAIGHT", "OBLIQUE", "SHEARED", "TURNED"])
def test_slices_are_counted_as_the_engine_counts(matrix: Any, world: Any) -> None:
    """Along an independent path: the engine reads the file that the module writes."""
    import numpy as np

    from unoise_engine.volume.read import read_image
    from unoise_engine.volume.volume import AxialView

    flips = [np.diag([a, b, c, 1]) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    for flip in flips:
        with scene_tests.folder() as folder:
            ct = scene_tests.add_ct(world.scene, getattr(scene_tests, matrix) @ flip)
            exchange.write_ct(ct, folder / "ct.nrrd")
            engine = read_image(folder / "ct.nrrd")
            view = AxialView.of(engine.grid)
            axis, backwards = axial.axial_axis(volumes.matrix_of(ct))
            assert (2 - view.axes[0], view.flips[0]) == (axis, backwards)
            assert np.array_equal(engine.voxels, exchange.read_on_grid(folder / "ct.nrrd", ct))


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_the_engine_reads_every_voxel_type(kind: Any, world: Any) -> None:
    import numpy as np
    import slicer
    import vtk
    from vtk.util import numpy_support

    from unoise_engine.volume.read import read_image

    hu = np.linspace(0, 120, np.prod(scene_tests.SHAPE)).reshape(scene_tests.SHAPE).astype(kind)
    ct = scene_tests.add_ct(world.scene)
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(hu.shape))
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(hu.ravel(), deep=True))
    ct.SetAndObserveImageData(image)
    assert slicer.util.arrayFromVolume(ct).dtype == kind
    with scene_tests.folder() as folder:
        exchange.write_ct(ct, folder / "ct.nrrd")
        assert np.allclose(read_image(folder / "ct.nrrd").voxels, hu, rtol=0, atol=1e-4)
