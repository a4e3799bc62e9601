"""Gradients and Grad-CAM of nets from MONAI and nnU-Net, exported by both of torch's exporters, beside torch's own."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from unoise_engine.models.coarse_gradcam import coarse_gradcam
from unoise_engine.models.reverse import reversed_graph
from unoise_engine.models.runtime import onnxruntime

torch = pytest.importorskip("torch")
monai_nets = pytest.importorskip("monai.networks.nets")
nnunet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")
nn = torch.nn
CLOSE = 1e-3  # of the largest value


def of_nnunet(kind: str, rank: int, **more: Any) -> Any:
    """As nnU-Net's plans make it, thinner; the last stage does not halve the first axis."""
    return getattr(nnunet, kind)(
        1, 3, [8, 16, 32], (nn.Conv2d, nn.Conv3d)[rank - 2], 3, [[1] * rank, [2] * rank, [1] + [2] * (rank - 1)],
        num_classes=3, conv_bias=True, norm_op=(nn.InstanceNorm2d, nn.InstanceNorm3d)[rank - 2],
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, **more,
    )  # fmt: skip


def without_kinks(net: Any) -> Any:
    """The gradient of a net of many thin layers turns at each kink that rounding crosses, in torch itself too."""
    for name, child in net.named_children():
        setattr(net, name, nn.SiLU()) if isinstance(child, nn.LeakyReLU) else without_kinks(child)
    return net


PLAIN = {"n_conv_per_stage": [2] * 3, "n_conv_per_stage_decoder": [2] * 2}
RESIDUAL = {"n_blocks_per_stage": [1] * 3, "n_conv_per_stage_decoder": [1] * 2}
# Name -> net, shape of what it is given, the module whose output is the deepest block.
NETS: dict[str, tuple[Any, tuple[int, ...], Any]] = {
    "UNet": (
        lambda: monai_nets.UNet(3, 1, 3, (4, 8, 16), (2, 2), num_res_units=2),
        (1, 1, 16, 16, 16),
        lambda net: net.model[1].submodule[1],
    ),
    "UNet 2-D": (
        lambda: monai_nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), norm="batch"),
        (1, 1, 32, 32),
        lambda net: net.model[1].submodule[1],
    ),
    "SegResNet": (lambda: monai_nets.SegResNet(3, 8, 1, 3), (1, 1, 16, 16, 16), lambda net: net.down_layers[3]),
    "DynUNet": (
        lambda: monai_nets.DynUNet(3, 1, 3, [3] * 3, [1, 2, 2], [2, 2], res_block=True),
        (1, 1, 16, 16, 16),
        lambda net: net.bottleneck,
    ),
    "VNet": (lambda: monai_nets.VNet(3, 1, 2), (1, 1, 32, 32, 32), lambda net: net.down_tr256),
    "AttentionUnet": (lambda: monai_nets.AttentionUnet(3, 1, 2, (4, 8, 16), (2, 2)), (1, 1, 16, 16, 16), None),
    "UNETR": (
        lambda: monai_nets.UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=48, mlp_dim=96, num_heads=4),
        (1, 1, 32, 32, 32),
        None,
    ),
    "SwinUNETR": (
        lambda: without_kinks(monai_nets.SwinUNETR(in_channels=1, out_channels=2, feature_size=12)),
        (1, 1, 64, 64, 64),
        lambda net: net.encoder10,
    ),
    "PlainConvUNet": (
        lambda: of_nnunet("PlainConvUNet", 3, **PLAIN),
        (1, 1, 16, 16, 16),
        lambda net: net.encoder.stages[-1],
    ),
    "PlainConvUNet 2-D": (
        lambda: of_nnunet("PlainConvUNet", 2, **PLAIN),
        (1, 1, 32, 32),
        lambda net: net.encoder.stages[-1],
    ),
    "ResidualEncoderUNet": (
        lambda: of_nnunet("ResidualEncoderUNet", 3, **RESIDUAL),
        (1, 1, 16, 16, 16),
        lambda net: net.encoder.stages[-1],
    ),
}


def exported(net: Any, x: Any, dynamo: bool, path: Path) -> bytes:
    names: dict[str, Any] = {"input_names": ["slices"], "output_names": ["logits"], "opset_version": 18}
    if dynamo:
        torch.onnx.export(net, (x,), dynamo=True, verbose=False, **names).save(path, external_data=False)
    else:
        sizes = {0: "n", **{2 + k: "dhw"[k] for k in range(x.ndim - 2)}}
        torch.onnx.export(net, (x,), path, dynamo=False, dynamic_axes={"slices": sizes, "logits": sizes}, **names)
    return onnx.load(path).SerializeToString(deterministic=True)


def run(content: bytes, **feeds: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


@pytest.mark.parametrize("dynamo", [False, True], ids=["older exporter", "dynamo"])
@pytest.mark.parametrize("name", NETS)
def test_gradient_and_gradcam_are_torchs(name: str, dynamo: bool, tmp_path: Path) -> None:
    if name == "SwinUNETR" and dynamo:
        pytest.skip("exporting it takes a minute; the operators are the same")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    make, shape, deepest = NETS[name]
    net, x, seen = make().eval(), torch.randn(shape).requires_grad_(), []
    content = exported(net, x.detach(), dynamo, tmp_path / "net.onnx")
    hook = deepest(net).register_forward_hook(lambda module, given, out: seen.append(out)) if deepest else None
    logits = net(x)
    target = torch.randn_like(logits)
    asked = [x, *seen]
    wanted, *deep = torch.autograd.grad((logits * target).sum(), asked)
    feeds = {"slices": x.detach().numpy(), "target": target.numpy()}
    far = np.abs(run(reversed_graph(content), **feeds) - wanted.numpy()).max() / wanted.abs().max()
    assert far < CLOSE
    coarse = run(coarse_gradcam(content), **feeds)
    assert coarse.shape[:2] == (1, 1) and 1 < coarse.shape[-1] < shape[-1] and (coarse >= 0).all()
    if hook:
        space = tuple(range(2, x.ndim))
        small = (deep[0].mean(space, keepdim=True) * seen[0]).sum(1, keepdim=True).relu().detach().numpy()
        assert small.max() > 0 and coarse.shape == small.shape
        np.testing.assert_allclose(coarse, small, rtol=0, atol=CLOSE * small.max())
        hook.remove()
