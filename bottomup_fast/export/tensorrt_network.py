"""A TensorRT engine as a network for `Segmenter`; needs a GPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.export.description import Description
from bottomup_fast.export.exported_network import ExportedNetwork
from bottomup_fast.export.tensorrt_engine import (
    LIBRARIES,
    import_tensorrt,
    read_engine,
)


def load_tensorrt(path: str | os.PathLike[str]) -> ExportedNetwork:
    """An engine of `export_tensorrt`, run on torch's current stream without copies.

    Raises:
        InputError: missing, truncated, damaged or foreign file; of another version of TensorRT, or
            for another GPU; no GPU.
        ImportError: the library that it was built with is missing.
    """
    name = os.fspath(path)
    description, content = read_engine(path)
    library, _, version = description.runtime.partition(" ")
    if library not in LIBRARIES:
        raise InputError(f"{name}: metadata: unknown runtime {library!r}; export the model again")
    trt, _ = import_tensorrt(library)
    if version != trt.__version__:
        raise InputError(
            f"{name}: built by {description.runtime}, this is {trt.__version__}; "
            "export the model again"
        )
    if not torch.cuda.is_available():
        raise InputError(f"{name}: a TensorRT engine needs a GPU, torch finds none")
    wanted = description.device.removeprefix("cuda").strip()
    here = "{}.{}".format(*torch.cuda.get_device_capability())
    if wanted and wanted.replace(".", "") != here.replace(".", ""):
        raise InputError(
            f"{name}: built for compute capability {wanted}, this GPU has {here}; export the "
            f"model again with --compute-capability {here}"
        )
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise InputError(
            f"{name}: built for {description.device}, which TensorRT cannot run on "
            f"{torch.cuda.get_device_name()}; export the model for this GPU"
        )
    return ExportedNetwork(description, _Context(trt, runtime, engine, description))


class _Context:
    """An execution context; it keeps the runtime alive, which the engine needs."""

    def __init__(self, trt: Any, runtime: Any, engine: Any, description: Description) -> None:
        self.runtime = runtime
        self.engine = engine
        self.context = engine.create_execution_context()
        self.sides = description.resolutions
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self.inputs = sorted(inputs)  # image, origin
        self.outputs = sorted(set(names) - set(inputs))  # features, foreground_logits
        self.profile = -1

    def __call__(self, values: Sequence[Tensor]) -> list[Tensor]:
        image = values[0]
        if not image.is_cuda:
            raise InputError("device: a TensorRT engine runs on a GPU, the image is on the CPU")
        stream = torch.cuda.current_stream(image.device).cuda_stream
        profile = next(i for i, side in enumerate(self.sides) if side >= max(image.shape[2:]))
        if profile != self.profile:
            self.context.set_optimization_profile_async(profile, stream)
            self.profile = profile
        for name, value in zip(self.inputs, values, strict=True):
            self.context.set_input_shape(name, tuple(value.shape))
            self.context.set_tensor_address(name, value.data_ptr())
        results = []
        for name in self.outputs:
            shape = tuple(self.context.get_tensor_shape(name))
            result = torch.empty(shape, dtype=torch.float32, device=image.device)
            self.context.set_tensor_address(name, result.data_ptr())
            results.append(result)
        if not self.context.execute_async_v3(stream):
            raise InputError("image: TensorRT refused to run the engine on it")
        return results
