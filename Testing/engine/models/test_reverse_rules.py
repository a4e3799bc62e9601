"""Every operator that can be reversed, alone: its gradient beside torch's, and beside what a small step changes."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unoise_engine.models.reverse import reversed_graph
from unoise_engine.models.reverse.rules import RULES
from unoise_engine.models.runtime import onnxruntime

torch = pytest.importorskip("torch")
F = torch.nn.functional
CHANCE = np.random.default_rng(11)


def numbers(*shape: int, low: float = -2.0, high: float = 2.0) -> Any:
    """Far enough apart that a small step changes no order."""
    values = np.linspace(low, high, int(np.prod(shape)), dtype=np.float32)
    return CHANCE.permutation(values).reshape(shape)


def made(op: str, inputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(op, inputs, ["logits"], **attributes)


PLANE, BLOCK, ROWS = (2, 4, 6, 8), (1, 2, 5, 6, 4), (2, 3, 5)
K = {
    name: numbers(*shape, low=-0.7, high=0.7)
    for name, shape in {
        "k": (6, 4, 3, 3), "k2": (6, 2, 3, 3), "even": (6, 4, 2, 4), "back": (4, 3, 3, 3), "back3": (2, 3, 2, 3, 2),
        "four": (4,), "mean": (4,), "slope": (4, 1, 1), "row": (8,), "left": (7, 5), "right": (5, 7), "two": (2,),
        "lying": (7, 5), "shift": (7,), "plane": (1, 4, 6, 8), "column": (6, 1), "more": (3, 2, 4, 6, 8),
    }.items()
}  # fmt: skip
K["variance"] = numbers(4, low=0.5, high=2)
T = {name: torch.from_numpy(value) for name, value in K.items()}
WHOLE = {
    "space": [2, 3], "last": [-1], "third": [2], "places": [3, 0, 3], "one": 1, "parts": [1, 3], "shape": [0, 4, -1],
    "first": [0], "far": [1, -7], "end": [2**60, -1], "axes": [3, 2], "steps": [2, -2], "down": [1, -1],
    "begin": [4, -3], "each": [[0, 0, 2, 1], [1, 1, 1, 0]], "pairs": [[1, 2], [0, 1], [1, 2]],
    "close": [7, 3], "pads": [0, 0, 1, 2, 0, 0, 3, -1], "around": [0, 0, 2, 1, 0, 0, 1, 3], "some": [1, 2],
    "as": [5, 2, 4, 6, 8], "times": [1, 2, 1, 3], "larger": [2, 4, 9, 13], "smaller": [2, 4, 4, 5],
    "rows": [0, -2, 2],
}  # fmt: skip
TENSORS = [numpy_helper.from_array(value, name) for name, value in K.items()]
TENSORS += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in WHOLE.items()]
TENSORS += [
    numpy_helper.from_array(np.array(value, np.float32), name)
    for name, value in {"low": -0.5, "high": 1.1, "power": 3.0, "twice": [1, 1, 2, 2], "thrice": [1, 1, 3, 3, 3],
                        "odd": [1, 1, 1.5, 2.25], "half": [1, 1, 0.5, 0.6], "inner": [2.5, 1.5], "none": []}.items()
]  # fmt: skip


def like(op: str, function: Any, low: float = -2.0, high: float = 2.0, **attributes: Any) -> Any:
    """A function of one number."""
    id_ = "-".join([op, *(f"{name}={value}" for name, value in attributes.items())])
    return pytest.param([made(op, ["slices"], **attributes)], function, PLANE, (low, high), id=id_)


def case(id_: str, node: Any, function: Any, shape: Any = PLANE, span: Any = (-2.0, 2.0)) -> Any:
    return pytest.param(node if isinstance(node, list) else [node], function, shape, span, id=id_)


def resized(id_: str, inputs: list[str], how: dict[str, Any], attributes: dict[str, Any], shape: Any = PLANE) -> Any:
    return case(
        f"Resize {id_}", made("Resize", ["slices", *inputs], **attributes), lambda x: F.interpolate(x, **how), shape
    )


def crd(x: Any) -> Any:
    return F.pixel_shuffle(x, 2)


def dcr(x: Any) -> Any:
    n, c, h, w = x.shape
    return x.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)


def to_depth(x: Any) -> Any:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


def sums_of_four(x: Any) -> Any:
    """Of windows of 2 x 2 that begin at each pixel."""
    return 4 * F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, 1)


def attention(x: Any) -> Any:
    return torch.softmax(x @ x.transpose(-1, -2), -1) @ x


CASES = [
    like("Relu", F.relu),
    like("LeakyRelu", lambda x: F.leaky_relu(x, 0.3), alpha=0.3),
    like("Elu", F.elu),
    like("Elu", lambda x: F.elu(x, 0.4), alpha=0.4),
    like("Celu", lambda x: F.celu(x, 1.3), alpha=1.3),
    like("Selu", F.selu),
    like("Sigmoid", torch.sigmoid),
    like("Tanh", torch.tanh),
    like("Softplus", F.softplus),
    like("Softsign", F.softsign),
    like("HardSigmoid", F.hardsigmoid, -5, 5, alpha=1 / 6, beta=0.5),
    like("HardSwish", F.hardswish, -5, 5),
    like("Mish", F.mish),
    like("Gelu", F.gelu, -4, 4),
    like("Gelu", lambda x: F.gelu(x, approximate="tanh"), -4, 4, approximate="tanh"),
    like("Exp", torch.exp),
    like("Log", torch.log, 0.3, 3),
    like("Sqrt", torch.sqrt, 0.3, 3),
    like("Reciprocal", torch.reciprocal, 0.3, 3),
    like("Neg", torch.neg),
    like("Abs", torch.abs),
    like("Erf", torch.erf),
    like("Sin", torch.sin),
    like("Tan", torch.tan, -1, 1),
    like("Identity", lambda x: x + 0),
    like("Cast", lambda x: x + 0, to=1),
    case("PRelu", made("PRelu", ["slices", "slope"]), lambda x: F.prelu(x, T["slope"].ravel())),
    case("Clip", made("Clip", ["slices", "low", "high"]), lambda x: x.clamp(-0.5, 1.1)),
    case("Clip from above", made("Clip", ["slices", "", "high"]), lambda x: x.clamp(max=1.1)),
    case("Dropout", made("Dropout", ["slices"]), lambda x: x + 0),
    case("Add repeated", made("Add", ["slices", "more"]), lambda x: x + T["more"], (4, 6, 1)),
    case("Add a row", made("Add", ["row", "slices"]), lambda x: x + T["row"]),
    case("Sub repeated", made("Sub", ["column", "slices"]), lambda x: T["column"] - x, (2, 4, 1, 8)),
    case("Mul of two", made("Mul", ["slices", "slices"]), lambda x: x * x),
    case("Mul repeated", made("Mul", ["plane", "slices"]), lambda x: x * T["plane"], (2, 4, 1, 1)),
    case("Div", made("Div", ["slices", "variance"]), lambda x: x / torch.from_numpy(K["variance"]), (2, 3, 1, 4)),
    case("Div by a layer", made("Div", ["plane", "slices"]), lambda x: T["plane"] / x, (2, 1, 6, 1), (0.4, 2)),
    case("Pow", made("Pow", ["slices", "power"]), lambda x: x**3),
    case("Sum", made("Sum", ["slices", "row", "slices"]), lambda x: 2 * x + T["row"], (2, 4, 6, 1)),
    case("Mean", made("Mean", ["slices", "row"]), lambda x: (x + T["row"]) / 2, (2, 4, 6, 1)),
    case("Max", made("Max", ["slices", "row"]), lambda x: torch.maximum(x, T["row"]), (2, 3, 1)),
    case("Min", made("Min", ["plane", "slices"]), lambda x: torch.minimum(x, T["plane"])),
    case(
        "Where",
        [helper.make_node("Greater", ["plane", "low"], ["g"]), made("Where", ["g", "slices", "row"])],
        lambda x: torch.where(T["plane"] > -0.5, x, T["row"]),
        (2, 4, 1, 1),
    ),
    case(
        "Where else",
        [
            helper.make_node("Greater", ["slices", "low"], ["g"]),
            helper.make_node("Neg", ["slices"], ["m"]),
            made("Where", ["g", "row", "m"]),
        ],
        lambda x: torch.where(x > -0.5, T["row"], -x),
    ),
    case("MatMul", made("MatMul", ["slices", "right"]), lambda x: x @ T["right"], ROWS),
    case("MatMul repeated", made("MatMul", ["left", "slices"]), lambda x: T["left"] @ x, (2, 3, 5, 4)),
    case(
        "Attention",
        [
            helper.make_node("Transpose", ["slices"], ["t"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["slices", "t"], ["s"]),
            helper.make_node("Softmax", ["s"], ["p"], axis=-1),
            made("MatMul", ["p", "slices"]),
        ],
        attention,
        ROWS,
    ),
    case(
        "Gemm",
        made("Gemm", ["slices", "right", "shift"], alpha=0.5),
        lambda x: 0.5 * x @ T["right"] + T["shift"],
        (3, 5),
    ),
    case("Gemm turned", made("Gemm", ["slices", "lying"], transA=1, transB=1), lambda x: x.T @ T["lying"].T, (5, 3)),
    case("Gemm right", made("Gemm", ["lying", "slices"], transB=1), lambda x: T["lying"] @ x.T, (3, 5)),
    case("Gemm right turned", made("Gemm", ["right", "slices"], transA=1), lambda x: T["right"].T @ x, (5, 3)),
    case(
        "Gemm of both",
        made("Gemm", ["slices", "slices", "slices"], transA=1, beta=2.0),
        lambda x: x.T @ x + 2 * x,
        (4, 4),
    ),
    case(
        "Einsum", made("Einsum", ["slices", "slices"], equation="bij,bkj->bik"), lambda x: x @ x.transpose(1, 2), ROWS
    ),
    case("Softmax", made("Softmax", ["slices"], axis=1), lambda x: x.softmax(1)),
    case("LogSoftmax", made("LogSoftmax", ["slices"]), lambda x: x.log_softmax(-1)),
    case(
        "BatchNormalization",
        made("BatchNormalization", ["slices", "four", "mean", "mean", "variance"], epsilon=0.1),
        lambda x: F.batch_norm(x, T["mean"], T["variance"], T["four"], T["mean"], eps=0.1),
    ),
    case(
        "InstanceNormalization",
        made("InstanceNormalization", ["slices", "four", "mean"], epsilon=0.1),
        lambda x: F.instance_norm(x, weight=T["four"], bias=T["mean"], eps=0.1),
    ),
    case(
        "LayerNormalization", made("LayerNormalization", ["slices", "row"]), lambda x: F.layer_norm(x, (8,), T["row"])
    ),
    case(
        "LayerNormalization of space",
        made("LayerNormalization", ["slices", "one8"], axis=1, epsilon=0.2),
        lambda x: F.layer_norm(x, (4, 6, 8), torch.full((4, 6, 8), 0.7), eps=0.2),
    ),
    case("ReduceMean", made("ReduceMean", ["slices", "space"]), lambda x: x.mean((2, 3), keepdim=True)),
    case("ReduceMean of all", made("ReduceMean", ["slices"], keepdims=0), lambda x: x.mean()),
    case("ReduceSum", made("ReduceSum", ["slices", "last"], keepdims=0), lambda x: x.sum(-1)),
    case("ReduceMax", made("ReduceMax", ["slices", "third"], keepdims=0), lambda x: x.amax(2)),
    case("ReduceMin", made("ReduceMin", ["slices", "space"]), lambda x: x.amin((2, 3), keepdim=True)),
    case("ReduceL1", made("ReduceL1", ["slices", "space"], keepdims=0), lambda x: x.abs().sum((2, 3))),
    case("ReduceL2", made("ReduceL2", ["slices", "third"], keepdims=0), lambda x: x.norm(dim=2)),
    case("ReduceSumSquare", made("ReduceSumSquare", ["slices", "last"]), lambda x: (x * x).sum(-1, keepdim=True)),
    case("ReduceLogSumExp", made("ReduceLogSumExp", ["slices", "last"], keepdims=0), lambda x: x.logsumexp(-1)),
    case("GlobalAveragePool", made("GlobalAveragePool", ["slices"]), lambda x: x.mean((2, 3, 4), keepdim=True), BLOCK),
    case("GlobalMaxPool", made("GlobalMaxPool", ["slices"]), lambda x: x.amax((2, 3, 4), keepdim=True), BLOCK),
    case("Conv", made("Conv", ["slices", "k"], pads=[1, 0, 2, 1]), lambda x: F.conv2d(F.pad(x, (0, 1, 1, 2)), T["k"])),
    case(
        "Conv in steps",
        made("Conv", ["slices", "k2"], strides=[2, 3], pads=[0, 2, 1, 0], dilations=[1, 2], group=2),
        lambda x: F.conv2d(F.pad(x, (2, 0, 0, 1)), T["k2"], stride=(2, 3), dilation=(1, 2), groups=2),
    ),
    case(
        "Conv same",
        made("Conv", ["slices", "even"], auto_pad="SAME_UPPER", strides=[2, 3]),
        lambda x: F.conv2d(F.pad(x, (1, 1, 0, 0)), T["even"], stride=(2, 3)),
        (2, 4, 6, 8),
    ),
    case(
        "Conv same, more before",
        made("Conv", ["slices", "even"], auto_pad="SAME_LOWER"),
        lambda x: F.conv2d(F.pad(x, (2, 1, 1, 0)), T["even"]),
    ),
    case(
        "Conv same, more behind",
        made("Conv", ["slices", "even"], auto_pad="SAME_UPPER"),
        lambda x: F.conv2d(F.pad(x, (1, 2, 0, 1)), T["even"]),
    ),
    case(
        "Conv valid",
        made("Conv", ["slices", "k"], auto_pad="VALID", strides=[2, 2]),
        lambda x: F.conv2d(x, T["k"], stride=2),
    ),
    case(
        "ConvTranspose",
        made("ConvTranspose", ["slices", "back"], strides=[2, 3], pads=[1, 0, 1, 0], output_padding=[1, 2]),
        lambda x: F.conv_transpose2d(x, T["back"], stride=(2, 3), padding=(1, 0), output_padding=(1, 2)),
    ),
    case(
        "ConvTranspose of blocks",
        made("ConvTranspose", ["slices", "back3"], strides=[2, 1, 2], dilations=[1, 2, 1]),
        lambda x: F.conv_transpose3d(x, T["back3"], stride=(2, 1, 2), dilation=(1, 2, 1)),
        BLOCK,
    ),
    case(
        "ConvTranspose in groups",
        made("ConvTranspose", ["slices", "back"], group=2, strides=[3, 1], output_padding=[2, 0], pads=[0, 1, 0, 1]),
        lambda x: F.conv_transpose2d(x, T["back"], groups=2, stride=(3, 1), output_padding=(2, 0), padding=(0, 1)),
    ),
    case(
        "ConvTranspose same",
        made("ConvTranspose", ["slices", "back"], strides=[2, 1], auto_pad="SAME_UPPER"),
        lambda x: F.conv_transpose2d(x, T["back"], stride=(2, 1))[:, :, :-1, 1:-1],
    ),
    case(
        "MaxPool of a rest",
        made("MaxPool", ["slices"], kernel_shape=[2, 3], strides=[2, 3]),
        lambda x: F.max_pool2d(x, (2, 3)),
        (2, 3, 7, 8),
    ),
    case(
        "MaxPool overlapping",
        made("MaxPool", ["slices"], kernel_shape=[3, 3], strides=[2, 1], pads=[1, 1, 1, 1]),
        lambda x: F.max_pool2d(x, 3, (2, 1), 1),
    ),
    case(
        "MaxPool with holes",
        made("MaxPool", ["slices"], kernel_shape=[2, 2, 2], dilations=[2, 1, 1], ceil_mode=1, strides=[1, 2, 3]),
        lambda x: F.max_pool3d(x, 2, (1, 2, 3), dilation=(2, 1, 1), ceil_mode=True),
        BLOCK,
    ),
    case(
        "AveragePool",
        made("AveragePool", ["slices"], kernel_shape=[2, 3], strides=[2, 3]),
        lambda x: F.avg_pool2d(x, (2, 3)),
        (2, 3, 7, 8),
    ),
    case(
        "AveragePool overlapping",
        made("AveragePool", ["slices"], kernel_shape=[3, 4], strides=[2, 1], pads=[1, 2, 1, 2]),
        lambda x: F.avg_pool2d(x, (3, 4), (2, 1), (1, 2), count_include_pad=False),
    ),
    case(
        "AveragePool with the edge",
        made("AveragePool", ["slices"], kernel_shape=[3, 2, 2], strides=[1, 2, 2], pads=[1] * 6, count_include_pad=1),
        lambda x: F.avg_pool3d(x, (3, 2, 2), (1, 2, 2), 1),
        BLOCK,
    ),
    case(
        "AveragePool same",
        made("AveragePool", ["slices"], kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
        lambda x: sums_of_four(x) / sums_of_four(torch.ones_like(x)),
    ),
    resized(
        "whole",
        ["", "twice"],
        {"scale_factor": 2},
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    resized("whole, blocks", ["", "thrice"], {"scale_factor": 3}, {"nearest_mode": "round_prefer_floor"}, BLOCK),
    case(
        "Resize whole, uneven",
        made("Resize", ["slices", "", "twice"], nearest_mode="floor"),
        lambda x: x[:, :, np.maximum(np.arange(-1, 11) // 2, 0)][..., np.maximum(np.arange(-1, 15) // 2, 0)],
    ),
    case(
        "Resize whole, asymmetric and rounded",
        made("Resize", ["slices", "", "twice"], coordinate_transformation_mode="asymmetric", nearest_mode="ceil"),
        lambda x: x[:, :, np.minimum(np.arange(1, 13) // 2, 5)][..., np.minimum(np.arange(1, 17) // 2, 7)],
    ),
    resized(
        "nearest",
        ["", "odd"],
        {"scale_factor": (1.5, 2.25)},
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    resized(
        "nearest, sizes",
        ["", "", "larger"],
        {"size": (9, 13), "mode": "nearest-exact"},
        {"nearest_mode": "round_prefer_ceil"},
    ),
    resized("linear", ["", "twice"], {"scale_factor": 2, "mode": "bilinear"}, {"mode": "linear"}),
    resized(
        "linear, corners",
        ["", "", "larger"],
        {"size": (9, 13), "mode": "bilinear", "align_corners": True},
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    resized("linear, smaller", ["", "half"], {"scale_factor": (0.5, 0.6), "mode": "bilinear"}, {"mode": "linear"}),
    resized(
        "linear, sizes",
        ["", "", "smaller"],
        {"size": (4, 5), "mode": "bilinear"},
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    ),
    resized("trilinear", ["", "thrice"], {"scale_factor": 3, "mode": "trilinear"}, {"mode": "linear"}, BLOCK),
    resized("cubic", ["", "twice"], {"scale_factor": 2, "mode": "bicubic"}, {"mode": "cubic", "cubic_coeff_a": -0.75}),
    resized(
        "of some axes",
        ["", "inner"],
        {"scale_factor": (2.5, 1.5), "mode": "bilinear"},
        {"mode": "linear", "axes": [2, 3]},
    ),
    case("Reshape", made("Reshape", ["slices", "shape"]), lambda x: x.flatten(2)),
    case("Flatten", made("Flatten", ["slices"]), lambda x: x.flatten(1)),
    case("Squeeze", made("Squeeze", ["slices", "third"]), lambda x: x.squeeze(2), (2, 4, 1, 8)),
    case("Unsqueeze", made("Unsqueeze", ["slices", "some"]), lambda x: x[:, None, None]),
    case("Expand", made("Expand", ["slices", "as"]), lambda x: x.expand(5, 2, 4, 6, 8), (4, 1, 8)),
    case("Tile", made("Tile", ["slices", "times"]), lambda x: x.repeat(1, 2, 1, 3)),
    case("Transpose", made("Transpose", ["slices"], perm=[2, 0, 3, 1]), lambda x: x.permute(2, 0, 3, 1)),
    case("Transpose of all", made("Transpose", ["slices"]), lambda x: x.permute(3, 2, 1, 0)),
    case(
        "Concat",
        made("Concat", ["slices", "plane", "slices"], axis=-3),
        lambda x: torch.cat([x, T["plane"], x], 1),
        (1, 2, 6, 8),
    ),
    case("Split", [helper.make_node("Split", ["slices", "parts"], ["unread", "logits"], axis=1)], lambda x: x[:, 1:]),
    case(
        "Split in halves",
        [helper.make_node("Split", ["slices"], ["a", "b"], axis=-1, num_outputs=2), made("Mul", ["a", "b"])],
        lambda x: x[..., :4] * x[..., 4:],
    ),
    case("Slice", made("Slice", ["slices", "far", "end", "axes"]), lambda x: x[:, :, :-1, 1:]),
    case(
        "Slice in steps",
        made("Slice", ["slices", "begin", "close", "axes", "down"]),
        lambda x: x[:, :, [6, 5, 4]][..., 4:7],
        (1, 2, 9, 8),
    ),
    case("Slice by two", made("Slice", ["slices", "some", "as2", "axes", "steps"]), lambda x: x[:, :, [2, 0], 1:7:2]),
    case("Pad", made("Pad", ["slices", "pads", "high"]), lambda x: F.pad(x, (2, -1, 1, 3), value=1.1)),
    case(
        "Pad by the edge",
        made("Pad", ["slices", "around"], mode="edge"),
        lambda x: F.pad(x, (1, 3, 2, 1), mode="replicate"),
    ),
    case(
        "Pad by mirroring",
        made("Pad", ["slices", "around"], mode="reflect"),
        lambda x: F.pad(x, (1, 3, 2, 1), mode="reflect"),
    ),
    case("Pad of some axes", made("Pad", ["slices", "steps4", "", "axes"]), lambda x: F.pad(x, (2, 0, 1, 3))),
    case("Gather", made("Gather", ["slices", "places"], axis=2), lambda x: x[:, :, [3, 0, 3]]),
    case("Gather one", made("Gather", ["slices", "one"], axis=1), lambda x: x[:, 1]),
    case("DepthToSpace", made("DepthToSpace", ["slices"], blocksize=2), dcr, (2, 8, 3, 2)),
    case("DepthToSpace CRD", made("DepthToSpace", ["slices"], blocksize=2, mode="CRD"), crd, (2, 8, 3, 2)),
    case("SpaceToDepth", made("SpaceToDepth", ["slices"], blocksize=2), to_depth),
    case("Trilu", made("Trilu", ["slices", "one"], upper=1), lambda x: x.triu(1)),
    case(
        "GatherElements",
        made("GatherElements", ["slices", "each"], axis=1),
        lambda x: x.gather(1, torch.tensor(WHOLE["each"])),
        (2, 3),
    ),
    case("GatherND", made("GatherND", ["slices", "pairs"]), lambda x: x[[1, 0, 1], [2, 1, 2]], (2, 3, 4)),
]
TENSORS += [
    numpy_helper.from_array(np.full((4, 6, 8), 0.7, np.float32), "one8"),
    numpy_helper.from_array(np.array([7, -7], np.int64), "as2"),
    numpy_helper.from_array(np.array([2, 1, 0, 3], np.int64), "steps4"),
]


def model_of(nodes: Any, rank: int, out_rank: int, opset: int = 20) -> bytes:
    def port(name: str, axes: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}{k}" for k in range(axes)])

    used = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in TENSORS if tensor.name in used]
    graph = helper.make_graph(nodes, "net", [port("slices", rank)], [port("logits", out_rank)], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(made)
    return made.SerializeToString(deterministic=True)


def run(content: bytes, **feeds: Any) -> Any:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def compare(content: bytes, function: Any, x: Any) -> None:
    given = torch.from_numpy(x).requires_grad_(True)
    y = function(given)
    np.testing.assert_allclose(run(content, slices=x), y.detach().numpy(), atol=2e-5)
    target = CHANCE.normal(size=tuple(y.shape)).astype(np.float32)
    wanted = torch.autograd.grad((y * torch.from_numpy(target)).sum(), given)[0].numpy()
    got = run(reversed_graph(content), slices=x, target=target)
    assert got.shape == x.shape
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5 * max(scale, 1e-3))
    along = CHANCE.normal(size=x.shape).astype(np.float32)
    step = 1e-3
    ends = [float((run(content, slices=x + sign * step * along).astype(float) * target).sum()) for sign in (1, -1)]
    slope, change = float((got.astype(float) * along).sum()), (ends[0] - ends[1]) / (2 * step)
    assert abs(slope - change) < 0.02 * (np.abs(got.astype(float) * along).sum() + 0.1)


@pytest.mark.parametrize(("nodes", "function", "shape", "span"), CASES)
def test_every_rule_is_torchs_gradient_and_what_a_small_step_changes(
    nodes: Any, function: Any, shape: Any, span: Any
) -> None:
    x = numbers(*shape, low=span[0], high=span[1])
    y = function(torch.from_numpy(x))
    compare(model_of(nodes, len(shape), y.ndim), function, x)


def test_groups() -> None:
    node = made("GroupNormalization", ["slices", "four", "mean"], num_groups=2, epsilon=0.1)
    compare(model_of([node], 4, 4, 21), lambda x: F.group_norm(x, 2, T["four"], T["mean"], eps=0.1), numbers(*PLANE))


def test_sizes_of_another_layer() -> None:
    """As exporters write it where sizes are free: no gradient passes through a size."""
    node = helper.make_node
    nodes = [
        node("MaxPool", ["slices"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", ["slices"], ["s"]),
        node("Resize", ["p", "", "", "s"], ["r"], mode="linear"),
        node("Shape", ["r"], ["t"]),
        node("Reshape", ["slices", "t"], ["v"]),
        node("Add", ["r", "v"], ["logits"]),
    ]

    def function(x: Any) -> Any:
        return x + F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:], mode="bilinear")

    compare(model_of(nodes, 4, 4), function, numbers(2, 3, 7, 9))


def test_every_rule_is_tried() -> None:
    tried = {node.op_type for one in CASES for node in one.values[0]} | {"GroupNormalization"}
    assert set(RULES) <= tried


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (made("CumSum", ["slices", "one"]), "CumSum cannot be reversed"),
        (made("Pow", ["power", "slices"]), "as an exponent"),
        (made("Conv", ["slices", "slices"]), "Conv cannot be reversed where its input 2 depends on the image"),
        (made("PRelu", ["slices", "slices"]), "PRelu cannot be reversed where its input 2"),
        (made("Dropout", ["slices", "low", "g"]), "as in training"),
        (made("Cast", ["slices"], to=10), "other than float32"),
        (made("AveragePool", ["slices"], kernel_shape=[3, 3], ceil_mode=1), "ceil_mode"),
        (made("MaxPool", ["slices"], kernel_shape=[3, 3], storage_order=1), "by columns"),
        (made("ConvTranspose", ["slices", "back"], output_shape=[9, 9]), "to a size that is told"),
        (made("Conv", ["slices", "p"], auto_pad="SAME_UPPER"), "does not tell the size of its kernel"),
        (made("Einsum", ["slices"], equation="bcii->bci"), "Einsum bcii->bci"),
        (made("Einsum", ["slices"], equation="bcij->bc"), "Einsum bcij->bc"),
        (made("MatMul", ["slices", "row"]), "a matrix and a vector"),
        (made("Resize", ["slices", "", "twice"], coordinate_transformation_mode="tf_crop_and_resize"), "of a part"),
        (made("Resize", ["slices", "", "", "larger"], keep_aspect_ratio_policy="not_larger"), "keeps proportions"),
        (made("GroupNormalization", ["slices", "two", "two"], num_groups=2), "older than version 21"),
        (made("BatchNormalization", ["slices", *["four"] * 4], training_mode=1), "as in training"),
    ],
)
def test_what_cannot_be_reversed_is_said(node: Any, why: str) -> None:
    def port(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list("nchw"))

    kernel = helper.make_node("Identity", ["k"], ["p"])
    graph = helper.make_graph([kernel, node], "net", [port("slices")], [port("logits")], TENSORS)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(ValueError, match=why):
        reversed_graph(model.SerializeToString(deterministic=True))
