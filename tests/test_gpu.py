"""The ops on a GPU, against float64 references and the same ops on the CPU: pytest -m gpu."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bottomup_fast import BottomUpLoss, cluster, mean_shift, ops
from bottomup_fast.errors import InputError
from bottomup_fast.reference import lines as reference_lines

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

TYPES = [torch.float32, torch.float16, torch.bfloat16]


def scene(
    batch: int = 2, dim: int = 32, height: int = 61, width: int = 83, count: int = 7
) -> tuple[Tensor, Tensor]:
    """Noisy features of orthogonal lines in blocks, and the labels: ignored, background, 1..K."""
    generator = torch.Generator().manual_seed(0)
    lines = torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0][: count + 2]
    blocks = (batch, -(-height // 9), -(-width // 9))
    labels = torch.randint(-1, count + 1, blocks, generator=generator)
    labels = labels.repeat_interleave(9, 1).repeat_interleave(9, 2)[:, :height, :width]
    noise = torch.randn(batch, height, width, dim, generator=generator)
    features = lines[labels + 1] + 0.3 / dim**0.5 * noise
    features = (
        features * (torch.randint(0, 2, labels.shape, generator=generator) * 2 - 1)[..., None]
    )
    return features.movedim(-1, 1).contiguous(), labels.int().contiguous()


def layouts(features: Tensor) -> list[Tensor]:
    return [features, features.contiguous(memory_format=torch.channels_last)]


def loss_of(features: Tensor, labels: Tensor, **arguments: object) -> tuple[Tensor, Tensor]:
    features = features.detach().requires_grad_()
    settings = {"contrast_queries": 20, "contrast_negatives": 30, **arguments}
    terms = BottomUpLoss(**settings)(features, labels, seed=3)  # type: ignore[arg-type]
    gradient = torch.autograd.grad(terms.total, features)[0]
    return torch.stack(terms).detach().cpu().double(), gradient.cpu().double()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", [0, 1])
def test_losses(dtype: torch.dtype, layout: int) -> None:
    features, labels = scene()
    features = layouts(features.to(dtype))[layout]
    precision = {"precision": "highest"}
    terms, gradient = loss_of(features.cuda(), labels.cuda(), **precision)
    expected, exact = loss_of(features.double(), labels, backend="reference")
    rounding = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(terms, expected, atol=1e-6, rtol=1e-5)
    assert (gradient - exact).norm() <= rounding * exact.norm()


def test_fast_losses_are_near() -> None:
    features, labels = scene(dim=128)
    terms, gradient = loss_of(features.cuda(), labels.cuda(), precision="fast")
    expected, exact = loss_of(features.double(), labels, backend="reference")
    torch.testing.assert_close(terms, expected, atol=1e-2, rtol=1e-2)
    assert (gradient - exact).norm() <= 3e-2 * exact.norm()


def test_target_lines() -> None:
    features, labels = scene(dim=128)
    found = ops.target_lines(features.cuda(), labels.cuda(), 9).cpu()
    expected = reference_lines.target_lines(features.double(), labels.long(), 9)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


def test_contrast_draws_as_on_the_cpu() -> None:
    features, labels = scene()
    lines = ops.target_lines(features, labels, 7)
    easy = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    seeds = torch.tensor([[5, 0], [5, 1]])
    arguments = (labels, easy, lines, seeds)
    on_cpu = ops.contrast_samples(*arguments, 20, 30)
    on_gpu = ops.contrast_samples(*(tensor.cuda() for tensor in arguments), 20, 30)
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert torch.equal(one, other.cpu())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("fast", [False, True])
def test_cluster_is_that_of_the_cpu(dtype: torch.dtype, fast: bool) -> None:
    features, labels = scene()
    mask = labels >= 0
    precision = "fast" if fast else "highest"
    for layout in layouts(features.to(dtype)):
        on_gpu = cluster(layout.cuda(), mask=mask.cuda(), precision=precision)  # type: ignore[arg-type]
        on_cpu = cluster(layout, mask=mask, precision=precision)  # type: ignore[arg-type]
        assert torch.equal(on_gpu.cpu(), on_cpu)


def test_mean_shift_and_assignment() -> None:
    features, _ = scene()
    points = features.flatten(2).mT
    seeds = points[:, ::97]
    modes, support = mean_shift(points.cuda(), seeds.cuda())
    expected, counts = mean_shift(points, seeds)
    torch.testing.assert_close(modes.cpu(), expected, atol=1e-5, rtol=0)
    assert (support.cpu() - counts).abs().max() <= 1
    index, score = ops.assign(features.cuda(), expected[:, :5].cuda())
    cpu_index, cpu_score = ops.assign(features, expected[:, :5])
    assert (index.cpu() == cpu_index).float().mean() > 0.999
    torch.testing.assert_close(score.cpu(), cpu_score, atol=1e-5, rtol=0)


@pytest.mark.parametrize("op", ["losses", "cluster"])
def test_bitwise_the_same_again_and_alone(op: str) -> None:
    features, labels = (tensor.cuda() for tensor in scene())

    def run(one: slice) -> list[Tensor]:
        if op == "cluster":
            return list(ops.cluster(features[one], fast=True))
        seeds = torch.zeros(len(features[one]), 2, dtype=torch.long, device="cuda")
        lines = ops.target_lines(features[one], labels[one], 7)
        weights = torch.ones(6)
        with_gradient = features[one].detach().requires_grad_()
        _terms, total = ops.losses(with_gradient, labels[one], lines, weights, seeds)
        return [lines, torch.autograd.grad(total, with_gradient)[0] * len(features[one])]

    first = run(slice(None))
    for _ in range(20):
        assert all(torch.equal(a, b) for a, b in zip(first, run(slice(None)), strict=True))
    for image in range(len(features)):
        alone = run(slice(image, image + 1))
        for whole, part in zip(first, alone, strict=True):
            assert torch.equal(whole[image : image + 1], part)


def captured(work: Callable[[], Tensor]) -> tuple[Tensor, torch.cuda.CUDAGraph]:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return result, graph


def test_clustering_in_a_graph() -> None:
    features = scene()[0].cuda()
    other = features.flip(-1).contiguous()
    expected = cluster(other, precision="fast")
    static = features.clone()
    result, graph = captured(lambda: ops.cluster(static, fast=True).labels)
    static.copy_(other)
    graph.replay()
    assert torch.equal(result, expected)


def test_a_training_step_compiles() -> None:
    features, labels = (tensor.cuda() for tensor in scene())
    loss = BottomUpLoss(contrast_weight=0.0, max_entities=7)
    compiled = torch.compile(loss, fullgraph=True)
    for layout in layouts(features):
        one, two = (layout.detach().requires_grad_() for _ in range(2))
        loss(one, labels).total.backward()
        compiled(two, labels).total.backward()
        assert torch.equal(one.grad, two.grad)  # type: ignore[arg-type]


def test_bad_input_is_told_by_the_device() -> None:
    features, labels = (tensor.cuda() for tensor in scene())
    with pytest.raises(InputError, match=r"^labels must lie between"):
        BottomUpLoss(max_entities=3)(features, labels)
    features[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match=r"^features contain NaN"):
        cluster(features)
    with pytest.raises(InputError, match="features on cuda:0"):
        ops.assign(features, torch.zeros(2, 1, 32))


def test_another_stream() -> None:
    features = scene()[0].cuda()
    expected = cluster(features)
    with torch.cuda.stream(torch.cuda.Stream()):
        moved = features.clone()
        assert torch.equal(cluster(moved), expected)


@pytest.mark.parametrize("op", ["assign", "target_lines", "cluster", "mean_shift"])
def test_opcheck(op: str) -> None:
    features, labels = (tensor.cuda() for tensor in scene(height=9, width=11))
    points = features.flatten(2).mT.contiguous()
    arguments = {
        "assign": (features, points[:, :3], torch.tensor([3, 1], dtype=torch.int32).cuda()),
        "target_lines": (features, labels, 7),
        "cluster": (features, None, 45.0, 10, 3, 64, True),
        "mean_shift": (points, points[:, :4], 45.0, 1e-6, 10),
    }[op]
    torch.library.opcheck(getattr(torch.ops.bottomup_fast, op).default, arguments)
