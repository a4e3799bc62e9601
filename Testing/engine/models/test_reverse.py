"""The reverse pass in the graph against torch's own gradients, for small nets and for the model that ships."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.onnx_format import parse, serialise
from unoise_engine.models.reverse import reversed_graph
from unoise_engine.models.runtime import onnxruntime

torch = pytest.importorskip("torch")
CHANCE = np.random.default_rng(5)


def model_of(nodes: Any, tensors: Any, rank: Any = 2, opset: Any = 18) -> Any:
    """Bytes of a model from "slices" to "logits"."""

    def port(name: Any, channels: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, *"dhw"[3 - rank :]])

    graph = helper.make_graph(nodes, "net", [port("slices", 2)], [port("logits", 1)], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(made)
    return made.SerializeToString(deterministic=True)


def tensor(name: Any, *shape: Any, values: Any = None) -> Any:
    values = CHANCE.normal(0, 0.5, shape).astype(np.float32) if values is None else np.asarray(values)
    return numpy_helper.from_array(values, name)


def gradient(content: Any, x: Any, target: Any) -> Any:
    session = onnxruntime.InferenceSession(reversed_graph(content), providers=["CPUExecutionProvider"])
    return session.run(["gradient"], {"slices": x, "target": target})[0]


def by_torch(forward: Any, x: Any, target: Any) -> Any:
    given = torch.from_numpy(x).requires_grad_(True)
    return torch.autograd.grad((forward(given) * torch.from_numpy(target)).sum(), given)[0].numpy()


def conv(shape: Any, **how: Any) -> Any:
    k = tensor("k", *shape)
    w = torch.from_numpy(numpy_helper.to_array(k))
    return k, w, helper.make_node("Conv", ["slices", "k"], ["a"], **how)


F = torch.nn.functional


def nets() -> Any:
    """Name -> (nodes, tensors, the same in torch, rank). Each ends in a convolution to one channel."""
    head, head3 = tensor("head", 1, 4, 1, 1), tensor("head3", 1, 4, 1, 1, 1)
    wide, wide3 = tensor("wide", 4, 2, 3, 3), tensor("wide3", 4, 2, 3, 3, 3)
    w, h, w3, h3 = (torch.from_numpy(numpy_helper.to_array(t)) for t in (wide, head, wide3, head3))
    node = helper.make_node

    def ends(*inner: Any) -> Any:
        return [
            node("Conv", ["slices", "wide"], ["a"], pads=[1, 1, 1, 1]),
            *inner,
            node("Conv", ["b", "head"], ["logits"]),
        ]

    def ends3(*inner: Any) -> Any:
        return [
            node("Conv", ["slices", "wide3"], ["a"], pads=[1] * 6),
            *inner,
            node("Conv", ["b", "head3"], ["logits"]),
        ]

    def same(inner: Any) -> Any:
        return lambda x: F.conv2d(inner(F.conv2d(x, w, padding=1)), h)

    def same3(inner: Any) -> Any:
        return lambda x: F.conv3d(inner(F.conv3d(x, w3, padding=1)), h3)

    up, up3 = tensor("up", 4, 4, 2, 2), tensor("up3", 4, 4, 2, 2, 2)
    down = tensor("down", 4, 4, 3, 3)
    scale, shift = tensor("scale", 4), tensor("shift", 4)
    u, u3, d, s, b = (torch.from_numpy(numpy_helper.to_array(t)) for t in (up, up3, down, scale, shift))
    twice, nearest = tensor("twice", values=np.array([1, 1, 2, 2], np.float32)), {
        "mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}  # fmt: skip
    deep = tensor("deep", 16, 4, 1, 1)
    mixed = torch.from_numpy(numpy_helper.to_array(deep))
    factor = tensor("factor", values=np.array(-1.7, np.float32))
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    yield "relu", ends(node("Relu", ["a"], ["b"])), [wide, head], same(F.relu), 2
    yield (
        "leaky",
        ends(node("LeakyRelu", ["a"], ["b"], alpha=0.3)),
        [wide, head],
        same(lambda x: F.leaky_relu(x, 0.3)),
        2,
    )
    yield (
        "pool and repeat",
        ends(node("MaxPool", ["a"], ["p"], **pool), node("Resize", ["p", "", "twice"], ["b"], **nearest)),
        [wide, head, twice],
        same(lambda x: F.interpolate(F.max_pool2d(x, 2), scale_factor=2)),
        2,
    )
    yield (
        "concat of two ways",
        ends(node("Relu", ["a"], ["r"]), node("Concat", ["a", "r"], ["c"], axis=1), node("Conv", ["c", "join"], ["b"])),
        [wide, head, join := tensor("join", 4, 8, 1, 1)],
        same(lambda x: F.conv2d(torch.cat([x, F.relu(x)], 1), torch.from_numpy(numpy_helper.to_array(join)))),
        2,
    )
    yield (
        "depth to space",
        ends(
            node("Conv", ["a", "deep"], ["m"]),
            node("DepthToSpace", ["m"], ["e"], blocksize=2),
            node("MaxPool", ["e"], ["b"], **pool),
        ),
        [wide, head, deep],
        same(lambda x: F.max_pool2d(depth_to_space(F.conv2d(x, mixed)), 2)),
        2,
    )
    yield (
        "steps and back",
        ends(
            node("Conv", ["a", "down"], ["s"], pads=[1, 1, 1, 1], strides=[2, 2]),
            node("ConvTranspose", ["s", "up"], ["b"], strides=[2, 2]),
        ),
        [wide, head, down, up],
        same(lambda x: F.conv_transpose2d(F.conv2d(x, d, padding=1, stride=2), u, stride=2)),
        2,
    )
    yield (
        "a little more at one end",
        ends(
            node("Conv", ["a", "small"], ["b"], pads=[1, 0, 0, 1]),
        ),
        [wide, head, small := tensor("small", 4, 4, 2, 2)],
        same(lambda x: F.conv2d(F.pad(x, (0, 1, 1, 0)), torch.from_numpy(numpy_helper.to_array(small)))),
        2,
    )
    yield (
        "sums and factors",
        ends(node("Mul", ["a", "factor"], ["m"]), node("Sub", ["m", "factor"], ["n"]), node("Add", ["n", "a"], ["b"])),
        [wide, head, factor],
        same(lambda x: -1.7 * x + 1.7 + x),
        2,
    )
    yield (
        "taken from a number, and twice",
        ends(
            node("Sub", ["factor", "a"], ["m"]),
            node("Mul", ["factor", "m"], ["n"]),
            node("Identity", ["n"], ["i"]),
            node("Sub", ["i", "a"], ["s"]),
            node("Add", ["s", "s"], ["b"]),
        ),
        [wide, head, factor],
        same(lambda x: 2 * (-1.7 * (-1.7 - x) - x)),
        2,
    )
    yield (
        "groups and holes",
        ends(node("Conv", ["a", "group"], ["b"], group=2, dilations=[2, 1], pads=[2, 1, 2, 1], kernel_shape=[3, 3])),
        [wide, head, group := tensor("group", 4, 2, 3, 3)],
        same(
            lambda x: F.conv2d(
                x, torch.from_numpy(numpy_helper.to_array(group)), padding=(2, 1), dilation=(2, 1), groups=2
            )
        ),
        2,
    )
    yield (
        "enlarged with an edge cut off",
        ends(
            node("MaxPool", ["a"], ["p"], kernel_shape=[2, 1], strides=[2, 1]),
            node("ConvTranspose", ["p", "edge"], ["b"], strides=[2, 1], pads=[1, 1, 1, 1]),
        ),
        [wide, head, edge := tensor("edge", 4, 4, 4, 3)],
        same(
            lambda x: F.conv_transpose2d(
                F.max_pool2d(x, (2, 1)), torch.from_numpy(numpy_helper.to_array(edge)), stride=(2, 1), padding=(1, 1)
            )
        ),
        2,
    )
    yield (
        "steps of three that leave a rest, and numbers stored as such",
        ends(
            node("Conv", ["a", "down"], ["s"], strides=[3, 3]),
            node("Resize", ["s", "", "plain"], ["r"], **nearest),
            node("Conv", ["r", "up"], ["b"], pads=[0, 0, 1, 1]),
        ),
        [wide, head, down, up, helper.make_tensor("plain", TensorProto.FLOAT, [4], [1, 1, 4, 3])],
        same(lambda x: F.conv2d(F.pad(F.interpolate(F.conv2d(x, d, stride=3), scale_factor=(4, 3)), (0, 1, 0, 1)), u)),
        2,
    )
    yield (
        "instance norm of little spread",
        [
            node("Mul", ["slices", "tiny"], ["t"]),
            node("InstanceNormalization", ["t", "pair", "pair"], ["i"]),
            node("Conv", ["i", "two"], ["logits"]),
        ],
        [
            helper.make_tensor("tiny", TensorProto.FLOAT, [], [3e-3]),
            pair := tensor("pair", 2),
            two := tensor("two", 1, 2, 1, 1),
        ],
        lambda x: F.conv2d(
            F.instance_norm(
                3e-3 * x,
                weight=torch.from_numpy(numpy_helper.to_array(pair)),
                bias=torch.from_numpy(numpy_helper.to_array(pair)),
                eps=1e-5,
            ),
            torch.from_numpy(numpy_helper.to_array(two)),
        ),
        2,
    )
    yield (
        "instance norm, blocks",
        ends3(
            node("InstanceNormalization", ["a", "scale", "shift"], ["i"], epsilon=1e-3),
            node("LeakyRelu", ["i"], ["b"], alpha=0.01),
        ),
        [wide3, head3, scale, shift],
        same3(lambda x: F.leaky_relu(F.instance_norm(x, weight=s, bias=b, eps=1e-3), 0.01)),
        3,
    )
    yield (
        "up again, blocks",
        ends3(
            node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
            node("ConvTranspose", ["p", "up3"], ["b"], strides=[2, 2, 2]),
        ),
        [wide3, head3, up3],
        same3(lambda x: F.conv_transpose3d(F.max_pool3d(x, 2), u3, stride=2)),
        3,
    )


def depth_to_space(x: Any) -> Any:
    """ONNX's order of channels (DCR), which is not torch's pixel_shuffle."""
    n, c, h, w = x.shape
    return x.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)


@pytest.mark.parametrize(("nodes", "tensors", "forward", "rank"), [pytest.param(*n[1:], id=n[0]) for n in nets()])
def test_every_rule_is_torchs_gradient(nodes: Any, tensors: Any, forward: Any, rank: Any) -> None:
    size = (8, 12) if rank == 2 else (4, 6, 8)
    x = CHANCE.normal(size=(2, 2, *size)).astype(np.float32)
    target = (CHANCE.random((2, 1, *size)) < 0.3).astype(np.float32)
    content = model_of(nodes, tensors, rank)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    scores = forward(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(session.run(["logits"], {"slices": x})[0], scores, atol=1e-4 * np.abs(scores).max())
    wanted = by_torch(forward, x, target)
    assert np.abs(wanted).max() > 1e-2, "a gradient of nothing tells nothing"
    np.testing.assert_allclose(gradient(content, x, target), wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


def test_where_several_voxels_are_the_largest_each_gets_its_part() -> None:
    pool = helper.make_node("MaxPool", ["slices"], ["p"], kernel_shape=[2, 2], strides=[2, 2])
    up = helper.make_node("ConvTranspose", ["p", "k"], ["logits"], strides=[2, 2])
    content = model_of([pool, up], [tensor("k", values=np.ones((2, 1, 2, 2), np.float32))])
    x = np.zeros((1, 2, 2, 2), np.float32)
    x[0, 0, 0] = 1  # two of four
    got = gradient(content, x, np.ones((1, 1, 2, 2), np.float32))
    assert np.array_equal(got[0, 0], [[2, 2], [0, 0]]) and np.array_equal(got[0, 1], np.ones((2, 2)))


def test_a_way_must_lead_there() -> None:
    nodes = [helper.make_node("Identity", ["k"], ["logits"])]
    with pytest.raises(ValueError, match="no way"):
        reversed_graph(model_of(nodes, [tensor("k", 1, 1, 1, 1)]))


def test_what_the_gradient_does_not_need_is_left_out() -> None:
    k, head = tensor("k", 4, 2, 1, 1), tensor("head", 1, 4, 1, 1)
    nodes = [
        helper.make_node("Conv", ["slices", "k"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Mul", ["b", "spare"], ["unused"]),
        helper.make_node("Conv", ["b", "head"], ["logits"]),
    ]
    graph = parse(reversed_graph(model_of(nodes, [k, head, tensor("spare", 1)]))).graph
    made = {name for node in graph.node for name in node.output}
    assert "a" in made and not made & {"b", "unused", "logits"}
    assert {"k", "head"} <= {one.name for one in graph.initializer} and "spare" not in {
        t.name for t in graph.initializer
    }
    assert [port.name for port in graph.input] == ["slices", "target"]
    assert [port.name for port in graph.output] == ["gradient"]


def test_old_operators_are_refused() -> None:
    relu = [helper.make_node("Relu", ["slices"], ["logits"])]
    for old in (13, 17):
        with pytest.raises(ValueError, match="older than version 18"):
            reversed_graph(model_of(relu, [], opset=old))
    reversed_graph(model_of(relu, [], opset=18))


def test_the_model_that_ships() -> None:
    """Against torch on the same net, built anew from the bundle's weights."""
    from unoise_engine.training.rebuilt import rebuilt

    bundle = load_bundle(device="cpu")
    net = rebuilt(bundle.folder, bundle.manifest)[0]
    x = np.random.default_rng(7).normal(0, 1, (1, 1, 64, 96)).astype(np.float32)
    x[0, 0, 20:44, 20:44] += 1.5
    target = np.zeros((1, 1, 64, 96), np.float32)
    target[0, 0, 24:40, 24:40] = 1
    wanted = by_torch(net, x, target)
    assert np.abs(wanted).max() > 1e-2
    np.testing.assert_allclose(bundle.gradient(x, target), wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())
    assert serialise(parse(reversed_graph((bundle.folder / "utility.onnx").read_bytes())))
