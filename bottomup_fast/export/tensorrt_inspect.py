"""What a TensorRT engine is made of: which operations were fused, and in which precision they run.

Read from what the builder says, which needs no GPU, unlike loading the engine for its inspector.
"""

from __future__ import annotations

import re

from bottomup_fast.errors import InputError
from bottomup_fast.export.tensorrt_engine import Built

_LAYER = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<kind>.*?), Inputs: .*?"
    r"Outputs: \[(?P<outputs>.*?)\], TacticName: .*?Metadata: (?P<metadata>.*)$"
)
_TYPE = re.compile(r"Datatype: (\w+)")
_OPERATION = re.compile(r"\[ONNX Layer: (.*?)\]")
_PARSED = re.compile(r"^VERBOSE: (\S+) \[(\w+)\] inputs: ")
_PRECISION = {"Float": "float32", "Half": "float16", "BFloat16": "bfloat16"}


def inspect_engine(built: Built) -> list[dict[str, str]]:
    """One row a layer that computes something, in order of execution.

    Args:
        built: with `verbose` options.

    Returns:
        layer: its name, one for each profile; kind: of TensorRT; precision: of what it writes;
        operations: types of the ONNX nodes that it fuses, such as "Conv+Clip".

    Raises:
        InputError: the builder said nothing about layers.
    """
    layers = []
    lines = "\n".join(built.log).splitlines()
    types_of = {node[1]: node[2] for line in lines if (node := _PARSED.match(line))}
    for line in lines:
        found = _LAYER.match(line)
        if found is None or not (types := _TYPE.findall(found["outputs"])):
            continue  # the others wait, signal, or compute shapes
        precisions = dict.fromkeys(_PRECISION.get(kind, kind.lower()) for kind in types)
        names = _OPERATION.findall(found["metadata"])
        layers.append(
            {
                "layer": found["name"],
                "kind": found["kind"],
                "precision": ", ".join(precisions),
                "operations": "+".join(types_of.get(name, name) for name in names),
            }
        )
    if not layers:
        raise InputError("inspect: the builder listed no layers; build with verbose options")
    return layers
