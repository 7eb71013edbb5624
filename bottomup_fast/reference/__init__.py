"""Every quantity of the paper in plain torch: the readable statement of the maths, and the oracle.

Any float dtype, any device. Nothing here is fast; everything here is meant to be read beside the
paper's equations.
"""

from bottomup_fast.reference.lines import (
    canonical_sign,
    distance,
    erode_labels,
    norm,
    normalise,
    principal_lines,
    scatter_matrices,
    target_lines,
)

__all__ = [
    "canonical_sign",
    "distance",
    "erode_labels",
    "norm",
    "normalise",
    "principal_lines",
    "scatter_matrices",
    "target_lines",
]
