"""What the clustering ops do with bad input, and inside torch's machinery."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bottomup_fast import cluster, mean_shift, ops
from bottomup_fast.errors import InputError

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(2, 5, 9, 15, generator=GENERATOR)
MASK = torch.rand(2, 9, 15, generator=GENERATOR) < 0.7
POINTS = torch.randn(2, 40, 5, generator=GENERATOR)
SEEDS = POINTS[:, ::8]
REGIONS = torch.arange(40, dtype=torch.int32) % 4 - 1
GAPS = "regions must be numbered from 0 without gaps, -1 for none"


def same(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [15, 600])
def test_non_finite_values(bad: float, dtype: torch.dtype, size: int) -> None:
    features = torch.ones(2, 5, 9, size, dtype=dtype)
    features[1, 3, 8, size - 2] = bad
    with pytest.raises(InputError, match=r"^features contain NaN or Inf$"):
        ops.cluster(features)
    mask = torch.ones(2, 9, size, dtype=torch.bool)
    mask[1, 8] = False
    with pytest.raises(InputError, match=r"^features contain NaN or Inf$"):
        ops.cluster(features, mask)
    points = features[0, 0, :4, :12].clone().unsqueeze(0)
    points[0, 2, 3] = bad
    with pytest.raises(InputError, match=r"^points contain NaN or Inf$"):
        ops.mean_shift(points, torch.ones_like(points))
    with pytest.raises(InputError, match=r"^seeds contain NaN or Inf$"):
        ops.mean_shift(torch.ones_like(points), points)
    with pytest.raises(InputError, match=r"^points contain NaN or Inf$"):
        ops.cluster_regions(points[0], torch.tensor([0, 1, 1, 1], dtype=torch.int32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((FEATURES[0],), r"features must have shape \(B, D, H, W\), not \(5, 9, 15\)"),
        ((FEATURES.int(),), "features must be float32, .* not torch.int32"),
        ((FEATURES[:, :0],), "features must have at least one dimension, got D = 0"),
        ((FEATURES, MASK[0]), r"mask must be bool \(2, 9, 15\), got torch.bool \(9, 15\)"),
        ((FEATURES, MASK.int()), "mask must be bool .*, got torch.int32 .*"),
        ((FEATURES, MASK.numpy()), "mask must be a bool tensor, got ndarray"),
        ((FEATURES, MASK.to("meta")), "mask is on meta, features on cpu"),
        ((FEATURES, None, 46), r"bandwidth_deg must be in \(0, 45\], got 46"),
        ((FEATURES, None, 45, 0), "min_support must be at least 1, got 0"),
    ],
)
def test_cluster(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        ops.cluster(*arguments)


@pytest.mark.parametrize("name", ["rounds", "max_modes"])
def test_bounds_of_cluster(name: str) -> None:
    with pytest.raises(InputError, match=f"^{name} must be at least 1, got 0$"):
        ops.cluster(FEATURES, **{name: 0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((POINTS[0], SEEDS), r"points must have shape \(B, N, D\), not \(40, 5\)"),
        ((POINTS, SEEDS[..., :0]), r"seeds must have shape .* not \(2, 5, 0\)"),
        ((POINTS, SEEDS.int()), "seeds must be float32, .* not torch.int32"),
        ((POINTS.numpy(), SEEDS), "points must be a torch.Tensor, not ndarray"),
        ((POINTS, SEEDS[:1]), r"seeds .* must have the B and D of points \(2, 40, 5\)"),
        ((POINTS, SEEDS, 0), r"bandwidth_deg must be in \(0, 45\], got 0"),
        ((POINTS, SEEDS, 45, 0, -1), "max_steps must not be negative, got -1"),
    ],
)
def test_mean_shift(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        ops.mean_shift(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((POINTS, REGIONS), r"points must have shape \(N, D\), not \(2, 40, 5\)"),
        ((POINTS[0].int(), REGIONS), "points must be float32, .* not torch.int32"),
        ((POINTS[0], REGIONS.long()), r"regions must be int32 \(40,\), not torch.int64 \(40,\)"),
        ((POINTS[0], REGIONS[:-1]), r"regions must be int32 \(40,\), not torch.int32 \(39,\)"),
        ((POINTS[0], [0, 40]), "regions must be a torch.Tensor, not list"),
        ((POINTS[0], REGIONS - 1), GAPS),
        ((POINTS[0], REGIONS * 2), GAPS),
        ((POINTS[0], REGIONS + 1000), GAPS),
        ((POINTS[0], REGIONS, 45, 0), "min_support must be at least 1, got 0"),
    ],
)
def test_cluster_regions(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        ops.cluster_regions(*arguments)


def test_the_ops_themselves_are_guarded() -> None:
    op = torch.ops.bottomup_fast
    for call, name in (
        (lambda: op.cluster(FEATURES, MASK[0], 45.0, 10, 8, 9, False), "cluster"),
        (lambda: op.cluster(FEATURES, None, 50.0, 10, 8, 9, False), "cluster"),
        (lambda: op.cluster(FEATURES, None, 45.0, 10, 8, 0, False), "cluster"),
        (lambda: op.mean_shift(POINTS, SEEDS[:1], 45.0, 0.0, 9), "mean_shift"),
        (lambda: op.mean_shift(POINTS.int(), SEEDS, 45.0, 0.0, 9), "mean_shift"),
        (lambda: op.cluster_regions(POINTS[0], REGIONS.long(), 45.0, 1), "cluster_regions"),
    ):
        with pytest.raises(RuntimeError, match=f"^{name}: "):
            call()


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype: torch.dtype) -> None:
    op = torch.ops.bottomup_fast
    features = FEATURES.to(dtype).requires_grad_()
    points, seeds = POINTS.to(dtype).requires_grad_(), SEEDS.to(dtype).requires_grad_()
    torch.library.opcheck(op.cluster.default, (features, MASK, 45.0, 10, 8, 64, True))
    torch.library.opcheck(op.cluster.default, (features, None, 45.0, 10, 8, 64, False))
    torch.library.opcheck(op.mean_shift.default, (points, seeds, 45.0, 1e-6, 50))
    torch.library.opcheck(op.cluster_regions.default, (points[0].detach(), REGIONS, 45.0, 10))


def test_outputs_have_no_gradient() -> None:
    points = POINTS.clone().requires_grad_()
    outputs = [
        *ops.cluster(FEATURES.clone().requires_grad_()),
        *ops.mean_shift(points, points[:, :3]),
        *ops.cluster_regions(points[0], REGIONS),
    ]
    assert not any(output.requires_grad for output in outputs)


def test_compiles_into_one_graph() -> None:
    compiled = torch.compile(ops.cluster, fullgraph=True)
    assert same(compiled(FEATURES, MASK), ops.cluster(FEATURES, MASK))
    assert same(compiled(FEATURES, fast=True), ops.cluster(FEATURES, fast=True))
    with pytest.raises(RuntimeError, match="features contain NaN or Inf"):
        compiled(FEATURES * torch.nan, MASK)
    shift = torch.compile(ops.mean_shift, fullgraph=True)
    assert same(shift(POINTS, SEEDS), ops.mean_shift(POINTS, SEEDS))


def test_compiles_with_dynamic_shapes() -> None:
    compiled = torch.compile(ops.cluster, fullgraph=True, dynamic=True, backend="eager")
    for size in (5, 7):
        features = FEATURES[:, :, :size, : 2 * size]
        assert same(compiled(features), ops.cluster(features))


class Clustering(torch.nn.Module):
    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return cluster(features, 30.0, mask, precision="fast")


def test_exports() -> None:
    height, width = torch.export.Dim("height", min=2), torch.export.Dim("width", min=2)
    shapes = ({2: height, 3: width}, {1: height, 2: width})
    program = torch.export.export(Clustering(), (FEATURES, MASK), dynamic_shapes=shapes)
    for size in (9, 7):
        case = FEATURES[:, :, :size, : size + 3], MASK[:, :size, : size + 3]
        assert torch.equal(program.module()(*case), Clustering()(*case))


def test_meta_tensors_and_autocast() -> None:
    found = ops.cluster(FEATURES.to("meta"), max_modes=7)
    assert found.labels.shape == found.score.shape == (2, 9, 15)
    assert found.modes.shape == (2, 7, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert same(ops.cluster(FEATURES), ops.cluster(FEATURES))
    expected = ops.cluster(FEATURES)
    with torch.autocast("cpu", torch.bfloat16):
        assert same(ops.cluster(FEATURES), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backends_and_precisions_of_the_public_functions(dtype: torch.dtype) -> None:
    features = torch.eye(5)[torch.arange(9 * 15) // 30].mT.view(5, 9, 15).to(dtype)
    expected = cluster(features, backend="reference")
    assert expected.max() == 5
    for precision in (None, "highest", "fast"):
        assert torch.equal(cluster(features, precision=precision), expected)
    points = POINTS.to(dtype)
    compiled, plain = (
        mean_shift(points, points[:, :4], backend=backend) for backend in ("auto", "reference")
    )
    tolerance = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 1e-4)
    torch.testing.assert_close(compiled[0], plain[0], atol=tolerance, rtol=0)


def test_unknown_backends_and_precisions() -> None:
    with pytest.raises(InputError, match=r'^backend must be "auto" or "reference", got \'gpu\'$'):
        cluster(FEATURES, backend="gpu")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^backend must be"):
        mean_shift(POINTS, SEEDS, backend="gpu")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r'^precision must be None, "highest" or "fast", got 1$'):
        cluster(FEATURES, precision=1)  # type: ignore[arg-type]
