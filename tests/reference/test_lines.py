from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bottomup_fast.reference import (
    canonical_sign,
    distance,
    norm,
    normalise,
    principal_lines,
    scatter_matrices,
)

SEEDS = st.integers(0, 2**32 - 1)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def sine(first: Tensor, second: Tensor) -> Tensor:
    """Sine of the angle between unit lines, exact also where it is tiny."""
    first, second = first.double(), second.double()
    second = second / second.norm(dim=-1, keepdim=True)
    tangent = first - (first * second).sum(-1, keepdim=True) * second
    length: Tensor = torch.linalg.vector_norm(tangent, dim=-1)
    return length


class TestNormalise:
    def test_unit_length_along_the_axis(self) -> None:
        features = randn(2, 5, 3, 4)
        x = normalise(features)
        torch.testing.assert_close(x.norm(dim=1), torch.ones(2, 3, 4, dtype=torch.float64))
        torch.testing.assert_close(x * features.norm(dim=1, keepdim=True), features)
        torch.testing.assert_close(normalise(features.movedim(1, -1), dim=-1).movedim(-1, 1), x)
        torch.testing.assert_close(norm(features), features.norm(dim=1))

    def test_short_features_are_divided_by_the_floor(self) -> None:
        feature = torch.tensor([[3e-9, 4e-9]], dtype=torch.float64)
        torch.testing.assert_close(normalise(feature), feature / 1e-6)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_zero_stays_zero_with_gradient_zero(self, dtype: torch.dtype) -> None:
        features = torch.zeros(1, 4, dtype=dtype, requires_grad=True)
        x, length = normalise(features), norm(features)
        assert x.abs().max() == 0
        assert length == 0
        (gradient,) = torch.autograd.grad(x.sum() + length.sum(), features)
        assert gradient.abs().max() == 0

    @pytest.mark.parametrize("scale", [1.0, 1e-8])
    def test_gradient(self, scale: float) -> None:
        features = (scale * randn(3, 4)).requires_grad_()
        assert torch.autograd.gradcheck(normalise, features, eps=1e-6 * scale)
        assert torch.autograd.gradcheck(norm, features, eps=1e-6 * scale)


@settings(deadline=None)
@given(SEEDS, SEEDS)
def test_distance_between_lines(first_seed: int, second_seed: int) -> None:
    x, y = (normalise(randn(4, 5, seed=seed), dim=-1) for seed in (first_seed, second_seed))
    between = distance(x, y)
    torch.testing.assert_close(
        between, torch.stack([1 - abs(a @ b) for a, b in zip(x, y, strict=True)])
    )
    torch.testing.assert_close(distance(-x, y), between, rtol=0, atol=0)
    torch.testing.assert_close(distance(y, x), between)
    assert (between > -1e-15).all()
    assert (between <= 1).all()
    assert (distance(x, -x).abs() < 1e-15).all()


@settings(deadline=None)
@given(SEEDS)
def test_canonical_sign(seed: int) -> None:
    lines = randn(3, 4, 5, seed=seed)
    chosen = canonical_sign(lines)
    torch.testing.assert_close(chosen, canonical_sign(-lines), rtol=0, atol=0)
    torch.testing.assert_close(chosen, canonical_sign(chosen), rtol=0, atol=0)
    torch.testing.assert_close(chosen.abs(), lines.abs(), rtol=0, atol=0)
    assert (chosen.amax(-1) == chosen.abs().amax(-1)).all()
    assert ((chosen == lines).all(-1) | (chosen == -lines).all(-1)).all()


def test_scatter_matrices_by_loops(make_case: Callable[..., tuple[Tensor, Tensor]]) -> None:
    features, labels = make_case(3, batch=3, entities=5)
    x, flat = features.flatten(2).mT, labels.flatten(1)
    expected = torch.zeros(3, 8, 6, 6, dtype=torch.float64)
    for image in range(3):
        for pixel, label in enumerate(flat[image]):
            if label >= 0:
                expected[image, label] += torch.outer(x[image, pixel], x[image, pixel])
    torch.testing.assert_close(scatter_matrices(x, flat, 7), expected)


class TestPrincipalLines:
    @pytest.mark.parametrize("dim", [2, 3, 16, 128])
    @pytest.mark.parametrize("relative_gap", [1.0, 1e-1, 1e-3])
    def test_float32_accuracy(self, dim: int, relative_gap: float) -> None:
        rng = np.random.default_rng(dim)
        for _ in range(5):
            basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
            values = (1 - relative_gap) * rng.uniform(0, 1, dim)
            values[:2] = 1, 1 - relative_gap
            matrix = torch.from_numpy(100 * basis @ np.diag(values) @ basis.T).float()
            matrix = (matrix + matrix.mT) / 2
            exact, vectors = np.linalg.eigh(matrix.double().numpy())
            line = principal_lines(matrix)
            bound = 1e-6 * exact[-1] / (exact[-1] - exact[-2])
            assert sine(line, torch.from_numpy(vectors[:, -1])) <= bound
            assert line.dtype == torch.float32
            assert line.max() == line.abs().max()
            torch.testing.assert_close(line.norm(), torch.tensor(1.0))

    def test_equal_eigenvalues_give_a_line_of_their_space(self) -> None:
        basis = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
        matrix = torch.from_numpy(basis @ np.diag([2.0, 2.0, 2.0, 1.0, 0.0]) @ basis.T)
        line = principal_lines(matrix)
        torch.testing.assert_close(line @ matrix @ line, torch.tensor(2.0, dtype=torch.float64))
        torch.testing.assert_close(line.norm(), torch.tensor(1.0, dtype=torch.float64))

    def test_zero_matrix_gives_a_zero_line_with_gradient_zero(self) -> None:
        matrices = torch.zeros(2, 3, 3, dtype=torch.float64)
        matrices[1] = torch.diag(torch.tensor([1.0, 3.0, 2.0]))
        matrices.requires_grad_()
        lines = principal_lines(matrices)
        assert lines.tolist() == [[0, 0, 0], [0, 1, 0]]
        (gradient,) = torch.autograd.grad((lines * randn(2, 3)).sum(), matrices)
        assert gradient[0].abs().max() == 0
        assert gradient[1].abs().max() > 0

    @settings(max_examples=10, deadline=None)
    @given(SEEDS)
    def test_gradient(self, seed: int) -> None:
        # Spectra with a clear gap, so that the numeric derivative is one.
        x = randn(2, 6, 3, seed=seed)
        x[..., 0] += torch.where(x[..., 0] < 0, -2, 2)
        x = normalise(x, dim=-1).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: principal_lines(x.mT @ x), x)

    def test_gradient_floors_a_vanishing_gap(self) -> None:
        # d(line . e_j) / dA_1j = 1 / (value_1 - value_j), in halves on both sides of the diagonal.
        matrix = torch.diag(torch.tensor([2.0, 2.0 - 1e-9, 1.0], dtype=torch.float64))
        matrix.requires_grad_()
        line = principal_lines(matrix)
        for other, gap in ((1, 2e-6), (2, 1.0)):
            (gradient,) = torch.autograd.grad(line[other], matrix, retain_graph=True)
            expected = torch.zeros(3, 3, dtype=torch.float64)
            expected[0, other] = expected[other, 0] = 0.5 / gap
            torch.testing.assert_close(gradient, expected)
