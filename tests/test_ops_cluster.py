from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from bottomup_fast import mean_shift, ops
from bottomup_fast.reference.clustering import assign, exact_partition, number_by_appearance
from bottomup_fast.reference.lines import normalise

WINDOW = math.cos(math.radians(45))


def scene(
    seed: int, height: int, width: int, dim: int = 24, count: int = 6, outliers: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Noisy features (1, D, H, W) of orthogonal groups in blocks of 5 x 5, and the groups."""
    rng = np.random.default_rng(seed)
    lines = np.linalg.qr(rng.normal(size=(dim, dim)))[0][:count]
    blocks = rng.integers(0, count, (height // 5 + 1, width // 5 + 1))
    labels = blocks.repeat(5, 0).repeat(5, 1)[:height, :width]
    noise = rng.normal(size=(height, width, dim))
    features = lines[labels] + 0.3 / math.sqrt(dim) * noise
    replaced = rng.random((height, width, 1)) < outliers
    features = np.where(replaced, noise, features)
    features *= rng.choice([-1, 1], replaced.shape)
    labels = np.where(replaced[..., 0], -1, labels)
    return torch.from_numpy(features).permute(2, 0, 1)[None].float(), torch.from_numpy(labels)


def same(first: ops.Clusters, second: ops.Clusters) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def groups_of(labels: Tensor, truth: Tensor) -> None:
    """The labels are the groups, by other names; pixels of group -1 may be anywhere."""
    inside = truth >= 0
    pairs = torch.stack([truth[inside], labels[inside].long()]).unique(dim=1)
    assert pairs.shape[1] == len(truth[inside].unique()) == len(labels[inside].unique())


def check_fields(features: Tensor, found: ops.Clusters, mask: Tensor | None = None) -> None:
    """Every field is what the modes make it."""
    for image, part in enumerate(zip(*found, strict=True)):
        labels, num_segments, score, modes, support, num_modes = part
        count = int(num_modes)
        points = normalise(features[image].double().flatten(1).mT, dim=-1)
        inside = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask[image]
        lines = modes[:count].double()
        assert not modes[count:].any()
        assert not support[count:].any()
        assert not labels[~inside].any()
        assert not score[~inside].any()
        assert int(labels.max()) == int(num_segments)
        if count == 0:
            assert (labels[inside] == 1).all()
            assert not score.any()
            continue
        torch.testing.assert_close(lines.norm(dim=1), torch.ones(count).double())
        largest = lines.gather(1, lines.abs().argmax(1, keepdim=True))
        assert (largest > 0).all()
        index, cosine = (out.view_as(labels)[inside] for out in assign(points, lines))
        torch.testing.assert_close(score[inside].double(), cosine, atol=3e-6, rtol=0)
        agree = labels[inside] == number_by_appearance(index).to(torch.int32)
        assert agree.float().mean() >= 0.99
        windows = (lines @ points[inside.flatten()].mT).abs()
        assert ((windows >= WINDOW).sum(1) - support[:count]).abs().max() <= 3
        assert (support[: count - 1] >= support[1:count]).all()


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    dim=st.sampled_from([1, 2, 7, 15, 16, 17, 31, 33]),
    height=st.integers(1, 12),
    width=st.integers(1, 40),
    min_support=st.sampled_from([1, 2, 10, 1000]),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_fields_of_small_images_of_any_size(
    batch: int, dim: int, height: int, width: int, min_support: int, masked: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, dim, generator=generator)
    group = torch.randint(0, 3, (batch, height, width), generator=generator)
    noise = torch.randn(batch, height, width, dim, generator=generator)
    features = (centres[group] + 0.2 * noise).permute(0, 3, 1, 2)
    mask = torch.rand(batch, height, width, generator=generator) < 0.6 if masked else None
    check_fields(features, ops.cluster(features, mask, 45.0, min_support), mask)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("height", "width", "count"), [(90, 90, 3), (101, 97, 20), (70, 131, 13)])
def test_images_larger_than_a_sample(height: int, width: int, count: int, fast: bool) -> None:
    features, truth = scene(0, height, width, count=count, outliers=0.05)
    found = ops.cluster(features, fast=fast)
    assert int(found.num_segments) >= count
    groups_of(found.labels[0], truth)
    if not fast:
        check_fields(features, found)


@pytest.mark.parametrize("fast", [False, True])
def test_the_exact_partition(fast: bool) -> None:
    features, _ = scene(1, 66, 70, dim=9, count=5)
    found = ops.cluster(features, fast=fast)
    assert torch.equal(found.labels[0].long(), exact_partition(features[0]))


def test_few_pixels_of_a_large_image_beside_outliers() -> None:
    features, truth = scene(2, 160, 160, dim=64, count=3, outliers=0.05)
    small = normalise(torch.randn(64, generator=torch.Generator().manual_seed(0)), dim=0)
    features[0, :, 33:36, 77:81], truth[33:36, 77:81] = small.view(-1, 1, 1), 3
    found = ops.cluster(features)
    assert int(found.num_modes) == int(found.num_segments) == 4
    groups_of(found.labels[0], truth)


@pytest.mark.parametrize(("height", "width"), [(20, 31), (90, 91)])
def test_signs_change_nothing(height: int, width: int) -> None:
    features, _ = scene(3, height, width, outliers=0.05)
    signs = torch.randn(1, 1, height, width, generator=torch.Generator().manual_seed(0)).sign()
    assert same(ops.cluster(signs * features), ops.cluster(features))
    assert same(ops.cluster(features * 2.0**20), ops.cluster(features))


@pytest.mark.parametrize(("height", "width"), [(20, 31), (90, 91)])
def test_the_order_of_pixels_changes_no_group(height: int, width: int) -> None:
    features, truth = scene(4, height, width, outliers=0.02)
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(0))
    shuffled = features.flatten(2)[..., order].view_as(features)
    groups_of(ops.cluster(shuffled).labels[0], truth.flatten()[order].view_as(truth))


def test_a_batch_is_a_loop_over_its_images() -> None:
    images = [scene(seed, 75, 80, count=3 + seed, outliers=0.05)[0] for seed in range(3)]
    mask = torch.rand(3, 75, 80, generator=torch.Generator().manual_seed(0)) < 0.8
    mask[1] = False
    for chosen in (None, mask):
        alone = [
            ops.cluster(image, None if chosen is None else chosen[i : i + 1])
            for i, image in enumerate(images)
        ]
        looped = ops.Clusters(*map(torch.cat, zip(*alone, strict=True)))
        assert same(ops.cluster(torch.cat(images), chosen), looped)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_layouts_and_types_are_read_as_they_are(dtype: torch.dtype) -> None:
    features = torch.cat([scene(seed, 70, 75, outliers=0.05)[0] for seed in range(2)]).to(dtype)
    expected = ops.cluster(features.float())
    wider = torch.zeros(2, 24, 72, 80, dtype=dtype)
    wider[:, :, 1:71, 2:77] = features
    for view in (
        features,
        features.contiguous(memory_format=torch.channels_last),
        features.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        wider[:, :, 1:71, 2:77],
    ):
        assert same(ops.cluster(view), expected)
    mask = torch.rand(2, 75, 70, generator=torch.Generator().manual_seed(0)) < 0.7
    assert same(ops.cluster(features, mask.mT), ops.cluster(features, mask.mT.contiguous()))


def test_fast_and_highest_agree() -> None:
    features, _ = scene(5, 120, 130, dim=32, count=25, outliers=0.05)
    highest, fast = ops.cluster(features), ops.cluster(features, fast=True)
    assert (highest.labels == fast.labels).float().mean() > 0.99
    assert int(highest.num_modes) == int(fast.num_modes)


def test_ambiguous_features_end_at_modes_at_rest() -> None:
    walk = torch.randn(1, 6, 70, 80, generator=torch.Generator().manual_seed(0)).cumsum(2)
    found = ops.cluster(walk)
    check_fields(walk, found)
    modes = found.modes[:, : int(found.num_modes)]
    moved, _ = ops.mean_shift(walk.flatten(2).mT, modes, max_steps=1)
    assert (moved - modes).norm(dim=-1).max() < math.radians(45) / 4000


def test_only_the_best_supported_modes_are_kept() -> None:
    features, _ = scene(6, 75, 80, count=6)
    every, three = ops.cluster(features), ops.cluster(features, max_modes=3)
    assert every.modes.shape == (1, 1024, 24)
    assert three.modes.shape == (1, 3, 24)
    assert int(three.num_modes) == int(three.num_segments) == 3
    assert torch.equal(three.support, every.support[:, :3])
    assert int(ops.cluster(features, rounds=1).num_segments) == 6


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)])
def test_nothing_to_cluster(shape: tuple[int, ...]) -> None:
    found = ops.cluster(torch.zeros(shape))
    assert found.labels.shape == found.score.shape == (shape[0], *shape[2:])
    assert not found.num_segments.any()
    assert not found.num_modes.any()


def test_zero_features_belong_to_the_best_supported_mode() -> None:
    features, truth = scene(7, 80, 80)
    features[..., 20:60, 10:50] = 0
    found = ops.cluster(features)
    inside = torch.zeros(80, 80, dtype=torch.bool)
    inside[20:60, 10:50] = True
    index = (found.modes[0, 0] @ features[0].flatten(1)).abs().argmax()
    assert (found.labels[0][inside] == found.labels[0].flatten()[index]).all()
    assert not found.score[0][inside].any()
    groups_of(found.labels[0], torch.where(inside, -1, truth))
    assert (ops.cluster(features * 0).labels == 1).all()


FAST = 2


def results(seed: int) -> list[ops.Clusters | tuple[Tensor, ...]]:
    """What each op makes of the same input."""
    features = torch.cat([scene(seed + i, 90, 83, outliers=0.05)[0] for i in range(2)])
    points = features.flatten(2).mT
    sizes = torch.tensor([7, 40, 960, 1, 6462])
    regions = torch.arange(-1, 4, dtype=torch.int32).repeat_interleave(sizes)
    regions = regions[torch.randperm(7470, generator=torch.Generator().manual_seed(seed))]
    return [
        ops.cluster(features),
        ops.cluster(features[..., :30, :30], min_support=2),
        ops.cluster(features.bfloat16(), fast=True),  # at FAST
        ops.mean_shift(points, points[:, ::400]),
        ops.cluster_regions(points[0], regions),
    ]


def test_bitwise_the_same_for_any_number_of_threads() -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            found.append(results(0))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


INFO = ops.build_info()["cpu"]


@pytest.mark.parametrize("path", [path for path in INFO["available"] if path != INFO["path"]])
def test_the_other_instruction_sets_agree(path: str, tmp_path: Path) -> None:
    script = f"""
import sys, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_ops_cluster import INFO, results
print(INFO["path"])
torch.save([tuple(result) for result in results(0)], {str(tmp_path / "results.pt")!r})
"""
    environment = {**os.environ, "BOTTOMUP_CPU": path}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == path
    others = torch.load(tmp_path / "results.pt")
    for number, (mine, other) in enumerate(zip(results(0), others, strict=True)):
        # One of the two multiplies in bfloat16.
        tolerance = 5e-3 if number == FAST and "avx512-amx" in (path, INFO["path"]) else 1e-4
        for one, two in zip(mine, other, strict=True):
            assert one.shape == two.shape
            difference = (one.double() - two.double()).abs()
            assert (difference > tolerance).float().mean() < 1e-3


@pytest.mark.parametrize("bandwidth", [10.0, 30.0, 45.0])
@pytest.mark.parametrize("dim", [1, 5, 32])
def test_mean_shift_is_that_of_the_reference(bandwidth: float, dim: int) -> None:
    features, _ = scene(8, 9, 21, dim=dim, count=min(dim, 4))
    points = functional.pad(features.flatten(2).mT, (0, 0, 0, 3)).expand(2, -1, -1)
    seeds = points[:, ::7]
    modes, support = ops.mean_shift(points, seeds, bandwidth)
    assert (modes.dtype, support.dtype) == (torch.float32, torch.int32)
    expected = mean_shift(points.double(), seeds.double(), bandwidth, 1e-6, backend="reference")
    torch.testing.assert_close(modes.double(), expected[0], atol=1e-4, rtol=0)
    assert (support.long() - expected[1]).abs().max() <= 1
    still, _ = ops.mean_shift(points, seeds, bandwidth, max_steps=0)
    torch.testing.assert_close(still.abs(), normalise(seeds, dim=-1).abs())
