"""An exported file as a network that `Segmenter` accepts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from bottomup_fast.errors import InputError
from bottomup_fast.export.description import Description
from bottomup_fast.models.network import MULTIPLE, BottomUpNetwork
from bottomup_fast.models.weights import load_model

Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


class ExportedNetwork(BottomUpNetwork):
    """A network whose inference is an exported file's.

    It takes images in [0, 1], since the file normalises them: its `settings` are the model's with a
    mean of 0 and a deviation of 1.

    Args:
        description: of the file.
        run: contiguous float32 inputs in the file's order to its outputs, in any memory.
    """

    def __init__(self, description: Description, run: Run) -> None:
        nn.Module.__init__(self)  # it has no encoder and decoder of its own
        settings = description.settings
        inside = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        outside = settings.preprocessing.model_copy(update=inside)
        self.settings = settings.model_copy(update={"preprocessing": outside})
        self.description = description
        self.feature_dim = settings.architecture.feature_dim
        self.foreground = settings.architecture.foreground
        self._run = run

    def forward_with_foreground(
        self, images: Tensor, origin: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Features, and foreground logits where the model has them, of images in [0, 1].

        Raises:
            InputError: images larger than the file's resolutions.
        """
        batch, _, height, width = images.shape
        rows, columns = self._size(height, width)
        padding = (0, columns - width, 0, rows - height)
        padded = functional.pad(images, padding, mode="replicate") if any(padding) else images
        inputs = [padded.float().contiguous()]
        if self.description.settings.architecture.position_scale is not None:
            corner = images.new_zeros(batch, 2) if origin is None else origin
            inputs.append(corner.float().contiguous())
        outputs = [output.to(images.device)[..., :height, :width] for output in self._run(inputs)]
        return outputs[0], outputs[1] if self.foreground else None

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """What the file takes that holds an image of this size."""
        fixed, longest = self.description.resolutions, max(height, width)
        if fixed and longest > fixed[-1]:
            raise InputError(
                f"image: {height}x{width} pixels after scaling, the exported file takes "
                f"{fixed[-1]} at most; give resolutions or tile_size that fit, or export anew"
            )
        if len(fixed) == 1:
            return fixed[0], fixed[0]
        return height + -height % MULTIPLE, width + -width % MULTIPLE


def model_network(model: str | os.PathLike[str] | BottomUpNetwork) -> BottomUpNetwork:
    """The network of a bundled model's name or a model file; a network is returned as it is.

    Raises:
        InputError: unknown model, or one that cannot be exported.
    """
    network = model if isinstance(model, BottomUpNetwork) else load_model(model)
    if network.settings is None:
        raise InputError("model: the network has no settings; load it with load_model")
    if not hasattr(network, "encoder"):
        raise InputError(
            "model: exported already, or a stand-in; export the model it was made from"
        )
    return network
