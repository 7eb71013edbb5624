"""The figures the paper prints in its Tables 1 to 5, none of them measured here.

Dille et al., A Bottom-Up Approach to Class-Agnostic Image Segmentation. The values of Tables 3 and
4 were lost in the text of the paper this project has: their methods have rows without figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

QUALITY = ("mIoU", "Boundary IoU", "recall", "relative %")
"""Columns of Tables 1, 2 and 3."""
DIFFICULTIES = ("easy", "medium", "difficult")
"""Of EVICAN's test images."""
PRECISION = tuple(
    f"{difficulty} {measure}" for difficulty in DIFFICULTIES for measure in ("AP50", "AP75", "AP")
)
"""Columns of Table 4: COCO's average precision by difficulty."""
SEPARATION = ("inter-mean", "inter-mean deg.", "intra-entity", "intra-entity deg.")
"""Columns of Table 5: similarities |cos| and the angles of those cosines."""


@dataclass(frozen=True)
class PaperTable:
    """A published table, or the half of it that one protocol gives.

    Attributes:
        title: as the paper numbers it.
        columns: of the figures.
        methods: method -> its figures, one a column, or none where they are lost.
    """

    title: str
    columns: tuple[str, ...]
    methods: Mapping[str, tuple[float, ...]]

    def rows(self) -> list[dict[str, object]]:
        """One row a method: "method", then the columns, None where a figure is lost."""
        return [
            {"method": method}
            | dict(zip(self.columns, figures or [None] * len(self.columns), strict=True))
            for method, figures in self.methods.items()
        ]

    def weakest_recall(self) -> float | None:
        """The recall that the column "relative %" refers to; None if it is lost."""
        at = self.columns.index("recall")
        return min((figures[at] for figures in self.methods.values() if figures), default=None)


def _table(
    title: str, columns: tuple[str, ...], methods: dict[str, tuple[float, ...]]
) -> PaperTable:
    return PaperTable(title, columns, MappingProxyType(methods))


ADE20K = _table(
    "Table 1",
    QUALITY,
    {
        "kMaX-DeepLab": (0.366, 0.332, 0.376, 0),
        "MaskDINO": (0.373, 0.340, 0.387, 3),
        "Mask2Former": (0.413, 0.375, 0.430, 14),
        "OneFormer": (0.455, 0.418, 0.484, 29),
        "OWES": (0.400, 0.357, 0.420, 12),
        "the paper's own, base resolution": (0.380, 0.327, 0.391, 4),
        "the paper's own": (0.462, 0.407, 0.494, 31),
    },
)
SA1B = _table(
    "Table 2, general performance",
    QUALITY,
    {
        "Mask2Former": (0.318, 0.306, 0.326, 0),
        "OneFormer": (0.335, 0.339, 0.342, 5),
        "kMaX-DeepLab": (0.337, 0.337, 0.344, 6),
        "MaskDINO": (0.341, 0.340, 0.348, 7),
        "OWES": (0.356, 0.338, 0.370, 14),
        "HQES": (0.398, 0.418, 0.411, 26),
        "the paper's own": (0.457, 0.424, 0.500, 53),
    },
)
SA1B_DENSE = _table(
    "Table 2, high object count",
    QUALITY,
    {
        "Mask2Former": (0.263, 0.285, 0.274, 0),
        "OneFormer": (0.294, 0.357, 0.305, 11),
        "kMaX-DeepLab": (0.295, 0.338, 0.308, 12),
        "MaskDINO": (0.316, 0.364, 0.329, 20),
        "OWES": (0.349, 0.380, 0.366, 34),
        "HQES": (0.384, 0.448, 0.401, 46),
        "the paper's own": (0.480, 0.460, 0.529, 93),
    },
)
ENTITYSEG = _table(
    "Table 3",
    QUALITY,
    {
        "Mask2Former": (),
        "OneFormer": (),
        "kMaX-DeepLab": (),
        "MaskDINO": (),
        "OWES": (),
        "SAM ViT-B": (),
        "the paper's own": (),
    },
)
EVICAN = _table("Table 4", PRECISION, {"MRCNN": (), "DeepCeNS": (), "the paper's own": ()})
ABLATION = _table(
    "Table 5",
    SEPARATION,
    {
        "L_att + L_rep": (0.024, 88.6, 0.152, 81.2),
        "L_att + L_rep + L_mse": (0.031, 88.2, 0.745, 41.8),
        "L_att + L_rep + L_mse + L_grad": (0.029, 88.3, 0.754, 41.1),
    },
)
