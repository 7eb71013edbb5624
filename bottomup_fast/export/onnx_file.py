"""ONNX: the network for onnxruntime and everything else that reads the format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.export.description import Description, Precision
from bottomup_fast.export.exported_network import ExportedNetwork, model_network
from bottomup_fast.export.graph import capture, check_sides
from bottomup_fast.export.onnx_cluster import add_clustering, take_clustering
from bottomup_fast.export.onnx_format import (
    CHECKSUM_ENTRY,
    OPSET,
    has_clustering,
    open_session,
    require,
)
from bottomup_fast.export.seal import read_sealed, seal
from bottomup_fast.files import atomic_write
from bottomup_fast.models.network import BottomUpNetwork


def export_onnx(
    model: str | os.PathLike[str] | BottomUpNetwork,
    path: str | os.PathLike[str],
    *,
    precision: Precision = "float32",
    resolution: int | None = None,
    clustering: bool = False,
) -> Description:
    """Write a model as ONNX: `image` (B, 3, H, W) float32 in [0, 1] to `features` (B, D, H, W).

    Models with a foreground channel also give `foreground_logits` (B, H, W); models with a position
    code also take `origin` (B, 2), the (y, x) of each image's corner in pixels. Inputs and outputs
    are float32 in every precision.

    Args:
        model: name of a bundled model, a model file, or a network with settings.
        path: of the file.
        precision: float32 or float16.
        resolution: side of square images, a multiple of 32; None for any H, W that are.
        clustering: make the operator `Cluster` of the domain `bottomup` the last node, whose output
            `labels` (B, H, W) int32 are the model's; see `onnx_cluster`.

    Returns:
        What the file says about itself.

    Raises:
        InputError: what is wrong with the model or the settings.
        ImportError: without the packages of the `export` extra.
    """
    network = model_network(model)
    if precision == "bfloat16":
        raise InputError("precision: bfloat16 convolutions run in no ONNX runtime on CPUs")
    sides = () if resolution is None else (resolution,)
    assert network.settings is not None
    description = Description(network.settings, "onnx", precision, sides)
    content = onnx_bytes(network, precision, resolution, description.to_metadata())
    if clustering:
        content = add_clustering(content, network.settings.clustering.model_dump())
    with atomic_write(path) as temporary:
        temporary.write_bytes(seal(content + CHECKSUM_ENTRY))
    return description


def onnx_bytes(
    network: BottomUpNetwork,
    precision: Precision,
    resolution: int | None,
    metadata: Mapping[str, str],
) -> bytes:
    """The network as one serialised ONNX model, weights inside."""
    require("onnxscript")
    check_sides(() if resolution is None else (resolution,))
    captured = capture(network, precision, resolution)
    program = torch.onnx.export(
        captured.program,
        input_names=list(captured.inputs),
        output_names=list(captured.outputs),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    if precision == "bfloat16":
        _round_kernels(program.model)
    program.model.metadata_props.update({**metadata, "opset": str(OPSET)})
    content: bytes = program.model_proto.SerializeToString()
    return content


def _round_kernels(model: Any) -> None:
    """Make kernels bfloat16 that became float32 as normalisations were folded into them."""
    import onnx_ir

    for node in model.graph:
        if node.op_type == "Conv":
            for value in node.inputs[1:]:
                rounded = torch.from_numpy(value.const_value.numpy().astype("float32")).bfloat16()
                value.const_value = onnx_ir.tensor(rounded, name=value.name)
                value.dtype = onnx_ir.DataType.BFLOAT16


def load_onnx(path: str | os.PathLike[str], *, threads: int | None = None) -> ExportedNetwork:
    """An exported ONNX file in onnxruntime on the CPU, as a network for `Segmenter`.

    Its operator `Cluster`, if it has one, is left to the segmenter.

    Args:
        path: written by `export_onnx`.
        threads: of onnxruntime; torch's number by default.

    Raises:
        InputError: missing, truncated, damaged or foreign file, or of another layout.
        ImportError: without onnxruntime.
    """
    runtime = require("onnxruntime")
    content = read_sealed(path)
    if has_clustering(content):
        content, _ = take_clustering(content)
    session, metadata = open_session(
        runtime, path, content, torch.get_num_threads() if threads is None else threads
    )
    description = Description.from_metadata(os.fspath(path), metadata, "onnx")
    names = [value.name for value in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        feed = {name: value.cpu().numpy() for name, value in zip(names, inputs, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, feed)]

    return ExportedNetwork(description, run)
