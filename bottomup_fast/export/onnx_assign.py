"""Assignment of pixels to given modes as plain ONNX, for runtimes that bring their own modes."""

from __future__ import annotations

import os

from bottomup_fast.errors import InputError
from bottomup_fast.export.onnx_format import CHECKSUM_ENTRY, OPSET, require
from bottomup_fast.export.seal import seal
from bottomup_fast.files import atomic_write

_TINY = 1e-12


def export_onnx_assign(path: str | os.PathLike[str], feature_dim: int) -> None:
    """Write `features` (B, D, H, W), `modes` (M, D) to `labels` (B, H, W) int32 and `cosine`.

    A pixel's label is 1 + the position of the mode whose line is nearest to its own, the first of
    equals (eq. 10's assignment); its `cosine`, (B, H, W) float32, is |cos| of the angle between
    them. Features and modes are float32 of any length and sign; a zero feature gets label 1 and
    cosine 0. B, H, W and M >= 1 are free.

    Args:
        path: of the file.
        feature_dim: D.

    Raises:
        InputError: D < 1.
        ImportError: without the packages of the `export` extra.
    """
    if feature_dim < 1:
        raise InputError(f"feature_dim must be at least 1, got {feature_dim}")
    onnx = require("onnx")
    helper, numbers = onnx.helper, onnx.TensorProto
    node = helper.make_node
    nodes = [
        node("ReduceL2", ["modes", "axis"], ["mode_length"]),
        node("Max", ["mode_length", "tiny"], ["mode_safe"]),
        node("Div", ["modes", "mode_safe"], ["lines"]),
        node("Unsqueeze", ["lines", "pixel_axes"], ["kernels"]),
        node("Conv", ["features", "kernels"], ["product"]),
        node("Abs", ["product"], ["likeness"]),
        node("ArgMax", ["likeness"], ["index"], axis=1, keepdims=0),
        node("Cast", ["index"], ["index32"], to=numbers.INT32),
        node("Add", ["index32", "one"], ["labels"]),
        node("ReduceMax", ["likeness", "axis"], ["best"], keepdims=0),
        node("ReduceL2", ["features", "axis"], ["length"], keepdims=0),
        node("Max", ["length", "tiny"], ["safe"]),
        node("Div", ["best", "safe"], ["cosine"]),
    ]
    shape = ["batch", "height", "width"]
    graph = helper.make_graph(
        nodes,
        "assign",
        [
            helper.make_tensor_value_info(
                "features", numbers.FLOAT, ["batch", feature_dim, "height", "width"]
            ),
            helper.make_tensor_value_info("modes", numbers.FLOAT, ["modes", feature_dim]),
        ],
        [
            helper.make_tensor_value_info("labels", numbers.INT32, shape),
            helper.make_tensor_value_info("cosine", numbers.FLOAT, shape),
        ],
        [
            helper.make_tensor("axis", numbers.INT64, [1], [1]),
            helper.make_tensor("pixel_axes", numbers.INT64, [2], [2, 3]),
            helper.make_tensor("one", numbers.INT32, [], [1]),
            helper.make_tensor("tiny", numbers.FLOAT, [], [_TINY]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(seal(model.SerializeToString() + CHECKSUM_ENTRY))
