"""Clustering as the last node of an ONNX file: the operator `Cluster` of the domain `bottomup`.

It turns a network's outputs into labels, as the model does for an image at one size: mean shift,
assignment, connected pieces, specks. `register_cluster` makes the operator known to onnx, which
then checks such files and infers their shapes; `cluster_op` runs it in onnx's reference evaluator
by `bottomup_fast.runtime`. Nothing here needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError
from bottomup_fast.export.onnx_format import require

DOMAIN = "bottomup"
VERSION = 1
OPERATOR = "Cluster"
FloatArray = NDArray[np.float32]

_DOC = """Labels of the pixels of each image by the modes of their features' lines (mean shift).

Without `foreground_logits` every pixel gets a label 1..n, numbered in order of first appearance;
with them, pixels whose probability is not above `foreground_threshold` are background, 0."""
_ATTRIBUTES: dict[str, tuple[str, object]] = {
    "bandwidth_deg": ("Half opening angle of the window, degrees in (0, 45].", 45.0),
    "min_support": ("Pixels a mode needs in its window to be kept.", 10),
    "foreground_threshold": ("Probability above which a pixel belongs to an object.", 0.5),
    "by_region": ("1: cluster each connected piece of the foreground on its own.", 0),
    "split_components": ("1: connected pieces of a mode are segments of their own.", 0),
    "min_area": ("Segments of fewer pixels are folded into a neighbour.", 0),
    "min_score": ("Segments of a lower mean foreground probability are background.", 0.0),
    "precision": ("highest or fast: how carefully modes are sought.", "highest"),
}


def register_cluster() -> None:
    """Register the operator's schema with onnx, once.

    Raises:
        ImportError: without onnx.
    """
    defs = require("onnx.defs")
    if defs.has(OPERATOR, domain=DOMAIN):
        return
    schema = defs.OpSchema
    parameter, option = schema.FormalParameter, schema.FormalParameterOption
    operator = schema(
        OPERATOR,
        DOMAIN,
        VERSION,
        _DOC,
        inputs=[
            parameter("features", "T", "(B, D, H, W), of any length and sign."),
            parameter("foreground_logits", "T", "(B, H, W).", param_option=option.Optional),
        ],
        outputs=[parameter("labels", "L", "(B, H, W).")],
        type_constraints=[
            ("T", ["tensor(float)"], "Numbers."),
            ("L", ["tensor(int32)"], "Labels."),
        ],
        attributes=[
            schema.Attribute(name, _default(name, value), description)
            for name, (description, value) in _ATTRIBUTES.items()
        ],
        node_determinism=schema.NodeDeterminism.Deterministic,
    )
    operator.set_type_and_shape_inference_function(_infer)
    defs.register_schema(operator)


def _default(name: str, value: object) -> Any:
    return require("onnx").helper.make_attribute(name, value)


def _infer(context: Any) -> None:
    """Labels have the features' batch, height and width."""
    onnx = require("onnx")
    labels = onnx.TypeProto()
    labels.tensor_type.elem_type = onnx.TensorProto.INT32
    features = context.get_input_type(0)
    if features is not None and features.tensor_type.HasField("shape"):
        sizes = features.tensor_type.shape.dim
        if len(sizes) != 4:
            raise onnx.shape_inference.InferenceError(
                f"{OPERATOR}: features must have shape (B, D, H, W), got {len(sizes)} dimensions"
            )
        labels.tensor_type.shape.dim.extend(sizes[axis] for axis in (0, 2, 3))
    context.set_output_type(0, labels)


def add_clustering(content: bytes, settings: dict[str, Any]) -> bytes:
    """Give an ONNX model whose outputs are a network's one more: `labels`.

    Args:
        content: the model.
        settings: the operator's attributes, which are the fields of `ClusteringSettings`.
    """
    onnx = require("onnx")
    register_cluster()
    model = onnx.load_model_from_string(content)
    outputs = {value.name: value for value in model.graph.output}
    node = onnx.helper.make_node(
        OPERATOR,
        list(outputs),
        ["labels"],
        name="cluster",
        domain=DOMAIN,
        **{name: int(v) if isinstance(v, bool) else v for name, v in settings.items()},
    )
    model.graph.node.append(node)
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
    sizes = outputs["features"].type.tensor_type.shape.dim
    labels = onnx.helper.make_tensor_value_info("labels", onnx.TensorProto.INT32, [])
    labels.type.tensor_type.shape.dim.extend(sizes[axis] for axis in (0, 2, 3))
    model.graph.output.append(labels)
    model.metadata_props.add(key="clustering", value=f"{DOMAIN}.{OPERATOR}")
    onnx.checker.check_model(model, full_check=True)
    result: bytes = model.SerializeToString()
    return result


def take_clustering(content: bytes) -> tuple[bytes, dict[str, Any]]:
    """The network of a file with the operator, for runtimes that do not know it, and its settings.

    The settings are those of `cluster_outputs`.
    """
    onnx = require("onnx")
    model = onnx.load_model_from_string(content)
    attributes = model.graph.node[-1].attribute
    settings = {each.name: onnx.helper.get_attribute_value(each) for each in attributes}
    for values in (model.graph.node, model.graph.output):
        del values[-1]
    kept = [each for each in model.opset_import if each.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model.SerializeToString(), settings


def cluster_op() -> Any:
    """The operator for onnx's reference evaluator.

    `onnx.reference.ReferenceEvaluator(file, new_ops=[cluster_op()])` runs files that
    `bottomup export --to onnx --with-clustering` has written.

    Raises:
        ImportError: without onnx.
    """
    register_cluster()
    operator: Any = require("onnx.reference.op_run").OpRun

    class Cluster(operator):  # type: ignore[misc]
        """Runs in the runtime's C++."""

        op_domain = DOMAIN
        op_schema = require("onnx.defs").get_schema(OPERATOR, VERSION, DOMAIN)

        def _run(
            self, features: FloatArray, logits: FloatArray | None = None, **settings: Any
        ) -> tuple[NDArray[np.int32]]:
            return (cluster_outputs(features, logits, **settings),)

    return Cluster


def cluster_outputs(
    features: FloatArray, logits: FloatArray | None = None, **settings: Any
) -> NDArray[np.int32]:
    """What the operator computes.

    Args:
        features: (B, D, H, W).
        logits: (B, H, W) of the foreground.
        settings: attributes by name; those of the schema by default.

    Returns:
        (B, H, W) int32.

    Raises:
        InputError: what is wrong with one of them.
    """
    if features.ndim != 4:
        raise InputError(f"features must have shape (B, D, H, W), got {features.shape}")
    batch, dimensions, height, width = features.shape
    if logits is not None and logits.shape != (batch, height, width):
        raise InputError(
            f"foreground_logits must have shape {(batch, height, width)}, got {logits.shape}"
        )
    chosen = {
        name: _as_in_settings(settings.get(name, default))
        for name, (_, default) in _ATTRIBUTES.items()
    }
    chosen |= {name: bool(chosen[name]) for name in ("by_region", "split_components")}
    model = {
        "name": OPERATOR,
        "architecture": {
            "name": "given",
            "feature_dim": dimensions,
            "foreground": logits is not None,
        },
        "preprocessing": {"scale": 1.0},
        "clustering": chosen,
    }
    labels = np.empty((batch, height, width), np.int32)
    for index in range(batch):
        given = (features[index], None if logits is None else logits[index])
        labels[index] = _segment(lambda *_, given=given: given, json.dumps(model), height, width)
    return labels


def _as_in_settings(value: Any) -> int | float | str:
    """Attributes are float32: 0.6 must not become 0.60000002; text comes as bytes."""
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, int | str) else float(f"{value:.7g}")


def _segment(
    network: Callable[..., Any], settings: str, height: int, width: int
) -> NDArray[np.int32]:
    from bottomup_fast import runtime

    segmenter = runtime.Segmenter(network, settings, tile_size=max(height, width, 32))
    return segmenter.segment(np.zeros((height, width), np.uint8)).labels
