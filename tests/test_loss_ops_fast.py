"""The losses at precision "fast" and plain torch with bfloat16 products, both beside float64."""

from __future__ import annotations

import pytest
import torch
from loss_cases import WEIGHTS, blocks, fused_losses, plain_losses
from torch import Tensor

from bottomup_fast import BottomUpLoss, ops
from bottomup_fast.reference import lines

ENTITIES = 6


@pytest.mark.parametrize("dim", [15, 16, 64, 128])
def test_errors_are_those_of_bfloat16_products(dim: int) -> None:
    # Errors of a term may cancel by chance, in one case but not in several.
    errors = torch.zeros(2, len(WEIGHTS), dtype=torch.float64)
    for seed in range(5):
        features, labels = blocks(seed, dim=dim)
        targets = ops.target_lines(features, labels, ENTITIES)
        exact, exact_gradient = plain_losses(features.double(), labels, targets)
        fused = fused_losses(features, labels, targets, fast=True)
        plain = plain_losses(features, labels, targets, bfloat16=True)
        distances = [(gradient - exact_gradient).norm() for _, gradient in (fused, plain)]
        assert distances[0] <= 2 * distances[1]
        errors += torch.stack([(terms - exact).square() for terms, _ in (fused, plain)])
    assert (errors[0].sqrt() <= 2 * errors[1].sqrt() + 1e-6).all()


@pytest.mark.parametrize("dim", [15, 16, 128])
def test_lines_turn_as_by_bfloat16_products(dim: int) -> None:
    angles = torch.zeros(2, dtype=torch.float64)
    for seed in range(5):
        features, labels = blocks(seed, dim=dim)
        exact = lines.target_lines(features.double(), labels.long(), ENTITIES)
        x = lines.pixel_lines(features).bfloat16()
        matrices = lines.scatter_matrices(x, labels.flatten(1).long(), ENTITIES).float()
        fast = ops.target_lines(features, labels, ENTITIES, fast=True)
        for i, found in enumerate([fast, lines.principal_lines(matrices)]):
            # The sine, which tells small angles better than the cosine.
            across = found - (found * exact).sum(-1, keepdim=True) * exact
            angles[i] += across.square().sum()
    assert angles[0].sqrt() <= 2 * angles[1].sqrt()


def loss_of(features: Tensor, labels: Tensor, **arguments: object) -> list[Tensor]:
    features = features.detach().requires_grad_()
    loss = BottomUpLoss(contrast_queries=20, contrast_negatives=30, **arguments)  # type: ignore[arg-type]
    terms = loss(features, labels)
    return [*terms, *torch.autograd.grad(terms.total, features)]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(map(torch.equal, first, second))


@pytest.mark.parametrize(("dtype", "chosen"), [(torch.float32, "highest"), (torch.half, "fast")])
def test_half_precision_is_fast_by_default(dtype: torch.dtype, chosen: str) -> None:
    features, labels = blocks(12)
    features = features.to(dtype)
    default = loss_of(features, labels)
    assert same(default, loss_of(features, labels, precision=chosen))
    other = {"fast": "highest", "highest": "fast"}[chosen]
    is_rounded = ops.build_info()["cpu"]["path"] in ("avx512-bf16", "avx512-amx")
    assert same(default, loss_of(features, labels, precision=other)) != is_rounded


def test_separate_terms_are_fast_too() -> None:
    expected = loss_of(*blocks(13), precision="fast")
    assert same(loss_of(*blocks(13), precision="fast", separate_terms=True), expected)


def test_threads_change_no_bit() -> None:
    features, labels = blocks(10, shape=(150, 130))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            results.append(loss_of(features, labels, precision="fast"))
    finally:
        torch.set_num_threads(threads)
    assert all(same(result, results[0]) for result in results)
