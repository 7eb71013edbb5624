"""Figures 2 and 3 of the paper, redrawn from finished runs.

python -m ablation.figures runs/ablation docs/pictures          (in bench/)
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from bottomup_fast.data.folder import FolderDataset
from bottomup_fast.data.sources import data_path
from bottomup_fast.files import atomic_write
from bottomup_fast.inference import resize, resize_nearest
from bottomup_fast.models.weights import load_model
from bottomup_fast.overlay import draw_overlay, picture_grid
from bottomup_fast.reference import normalise, target_lines
from bottomup_fast.reference.lines import principal_lines
from bottomup_fast.segmenter import Segmenter

Picture = NDArray[np.uint8]
# Validation images whose licences allow showing them; the credits stand beside the pictures.
SHOWN = ("000000255165", "000000377575", "000000352257")
CHANNELS = 4
WIDTH = 1500


class View:
    """An image of the data set with the lines a model gives its pixels.

    Attributes:
        image: (h, w, 3) at the size the network saw.
        labels: (h, w) annotation at that size.
        lines: (D, h, w) unit features.
    """

    def __init__(self, segmenter: Segmenter, samples: FolderDataset, name: str) -> None:
        self.sample = samples[samples.names.index(name)]
        settings = segmenter.settings.preprocessing
        height, width = self.sample.labels.shape
        zoom = settings.resolutions[0] / max(height, width)
        size = round(height * zoom), round(width * zoom)
        unit = torch.from_numpy(self.sample.image).permute(2, 0, 1) / 255
        small = resize(unit, *size)
        mean, std = (torch.tensor(value).view(3, 1, 1) for value in (settings.mean, settings.std))
        with torch.inference_mode():
            features = segmenter.network(((small - mean) / std).unsqueeze(0))
        self.lines = normalise(features.float())[0]
        self.image = (small * 255).round().byte().permute(1, 2, 0).numpy()
        self.labels = resize_nearest(torch.from_numpy(self.sample.labels), *size)

    def colours(self) -> Picture:
        """|cos| with the three principal axes of all lines as red, green and blue."""
        flat = self.lines.flatten(1)
        axes = []
        for _ in range(3):
            axis = principal_lines((flat @ flat.mT)[None])[0]
            axes.append((axis @ self.lines.flatten(1)).abs().view(self.lines.shape[1:]))
            flat = flat - axis[:, None] * (axis @ flat)
        return _grey(torch.stack(axes, dim=-1))

    def segment_space(self) -> list[Picture]:
        """Eq. 7: alignment of every pixel with each of the largest annotated entities."""
        entities, sizes = self.labels[self.labels > 0].unique(return_counts=True)
        numbers = torch.searchsorted(entities, self.labels) + 1
        numbers[self.labels <= 0] = -1
        lines = target_lines(self.lines[None], numbers[None], len(entities))[0, 1:]
        space = torch.linalg.pinv(lines.mT) @ self.lines.flatten(1)
        largest = sizes.argsort(descending=True)[:CHANNELS]
        return [_grey(space[i].abs().view(self.labels.shape)) for i in largest]


def main(
    folder: Annotated[Path, typer.Argument(help="Of the runs.")],
    output: Annotated[Path, typer.Argument(help="Of the pictures.")],
) -> None:
    """Draw both figures."""
    samples = FolderDataset(data_path(Path("coco_subset")), "val")
    contrastive, full = (
        Segmenter(load_model(folder / f"{name}-0" / "last.safetensors"))
        for name in ("differentiation", "full")
    )
    spaces, features = [], []
    for name in SHOWN:
        view, before = View(full, samples, name), View(contrastive, samples, name)
        truth = draw_overlay(view.image, np.maximum(view.labels.numpy(), 0))
        spaces.append([view.image, truth, *view.segment_space()])
        features.append(
            [
                view.image,
                *(one.colours() for one in (before, view)),
                *(
                    draw_overlay(view.sample.image, s.segment(view.sample.image).labels)
                    for s in (contrastive, full)
                ),
            ]
        )
    channels = [f"channel {i + 1}" for i in range(CHANNELS)]
    _save(output / "segment-space.jpg", spaces, ["image", "entities", *channels])
    titles = ["image", "without L_mse, L_grad", "all losses", "segments without", "segments with"]
    _save(output / "losses.jpg", features, titles)


def _grey(values: torch.Tensor) -> Picture:
    return (values.clamp(0, 1) * 255).byte().numpy()


def _save(path: Path, rows: list[list[Picture]], titles: list[str]) -> None:
    with atomic_write(path) as temporary:
        picture = Image.fromarray(picture_grid(rows, titles))
        picture.thumbnail((WIDTH, WIDTH))
        picture.save(temporary, quality=90)


if __name__ == "__main__":
    typer.run(main)
