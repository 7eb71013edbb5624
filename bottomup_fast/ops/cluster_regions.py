"""The op that partitions many small sets of points, each on its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.ops.library import (
    check_tensor,
    check_type,
    check_window,
    input_errors,
    register_without_gradient,
)

Tensors = tuple[Tensor, Tensor, Tensor]


def cluster_regions(
    points: Tensor, regions: Tensor, bandwidth_deg: float = 45.0, min_support: int = 10
) -> Tensors:
    """Partition every region by the modes of its own points (equation 10).

    Args:
        points: (N, D) float32, float64, float16 or bfloat16 of any length and sign.
        regions: (N,) int32 of each point, from 0 without gaps, or -1 for a point that takes no
            part.
        bandwidth_deg: half opening angle of the window, degrees in (0, 45].
        min_support: points a mode needs in its window; a region without any is one cluster.

    Returns:
        (N,) int32, the position of each point's mode, -1 where it takes no part; (N,) float32,
        |cos| to it, 0 there; and (M, D) float32 modes, those of a region after those of the one
        before, the best supported first. A region's only mode may be a zero line. None has a
        gradient. For the same input and CPU path all are bitwise the same for any number of
        threads, and no region depends on others.

    Raises:
        InputError: a wrong rank, shape, dtype, device or range, NaN or Inf. What only the values
            tell is a RuntimeError in compiled code.
    """
    for name, tensor in (("points", points), ("regions", regions)):
        check_tensor(name, tensor)
    if points.ndim != 2 or points.shape[1] < 1:
        raise InputError(f"points must have shape (N, D), not {tuple(points.shape)}")
    check_type("points", points)
    if regions.dtype != torch.int32 or regions.shape != points.shape[:1]:
        raise InputError(
            f"regions must be int32 ({len(points)},), not {regions.dtype} {tuple(regions.shape)}"
        )
    check_window(bandwidth_deg, min_support)
    with input_errors("cluster_regions"):
        return _cluster_regions(points, regions, bandwidth_deg, min_support)


def _cluster_regions_fake(
    points: Tensor, regions: Tensor, bandwidth_deg: float, min_support: int
) -> Tensors:
    count, dimensions = points.shape
    num_modes = torch.library.get_ctx().new_dynamic_size()
    index = points.new_empty(count, dtype=torch.int32)
    modes = points.new_empty((num_modes, dimensions), dtype=torch.float32)
    return index, torch.empty_like(index, dtype=torch.float32), modes


_cluster_regions: Callable[[Tensor, Tensor, float, int], Tensors]
_cluster_regions = torch.ops.bottomup_fast.cluster_regions.default
torch.library.register_fake("bottomup_fast::cluster_regions", _cluster_regions_fake)
register_without_gradient("bottomup_fast::cluster_regions")
