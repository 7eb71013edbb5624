from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bottomup_fast.losses import BottomUpLoss, LossTerms

Case = Callable[..., tuple[Tensor, Tensor]]
TERMS = [name for name in LossTerms._fields if name not in ("contrast", "total")]
NORMALISERS = ["entities", "pairs", "sqrt-pairs"]
# Without contrast, whose gradient test_contrast.py checks: moved pixels change its draws.
SMOOTH: dict[str, Any] = {"contrast_weight": 0.0}


def gradient_of(value: Tensor, features: Tensor) -> Tensor:
    return torch.autograd.grad(value, features, retain_graph=True)[0]


def numeric_gradient(function: Callable[[Any], float], features: Tensor) -> Tensor:
    """Central differences of a function of a (D, H, W) array."""
    gradient, array = torch.zeros_like(features), features.detach().numpy().copy()
    for index in np.ndindex(array.shape):
        value = array[index]
        sides = []
        for step in (1e-6, -1e-6):
            array[index] = value + step
            sides.append(function(array))
        array[index] = value
        gradient[index] = (sides[0] - sides[1]) / 2e-6
    return gradient


# No entity of one pixel: that lies where an absolute value of the segment space has its kink.
@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize(("seed", "dim", "entities"), [(0, 3, 2), (14, 4, 3), (2, 5, 1)])
def test_lines_are_constants_by_default(
    make_case: Case,
    slow_loss: Callable[..., Any],
    seed: int,
    dim: int,
    entities: int,
    normaliser: Any,
) -> None:
    features, labels = make_case(seed, 1, dim, entities, (3, 4))
    loss = BottomUpLoss(repulsion_normaliser=normaliser, separate_terms=True, **SMOOTH)
    features.requires_grad_()
    terms = loss(features, labels)
    lines = slow_loss(features[0].detach().numpy(), labels[0].numpy()).lines
    slow_total = torch.zeros(())
    for name in TERMS:

        def slow_term(array: Any, name: str = name) -> float:
            moved = slow_loss(array, labels[0].numpy(), lines)
            value: float = moved.terms(normaliser)[name]
            return value

        expected = numeric_gradient(slow_term, features[0])
        slow_total = slow_total + loss.weights[name] * expected
        actual = gradient_of(getattr(terms, name), features)[0]
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7, msg=name)
    torch.testing.assert_close(
        gradient_of(terms.total, features)[0], slow_total, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    ("seed", "dim", "entities", "normaliser"),
    [(4, 5, 3, "entities"), (0, 3, 2, "pairs"), (0, 3, 2, "sqrt-pairs")],
)
def test_target_gradient_is_exact(
    make_case: Case, seed: int, dim: int, entities: int, normaliser: Any
) -> None:
    features, labels = make_case(seed, 1, dim, entities, (3, 4))
    loss = BottomUpLoss(
        repulsion_normaliser=normaliser, target_gradient=True, separate_terms=True, **SMOOTH
    )

    def terms(features: Tensor) -> tuple[Tensor, ...]:
        values = loss(features, labels)
        return tuple(getattr(values, name) for name in (*TERMS, "total"))

    assert all(term > 0 for term in terms(features))
    assert torch.autograd.gradcheck(terms, features.requires_grad_(), atol=1e-6)


def test_target_gradient_is_another_gradient(make_case: Case) -> None:
    features, labels = make_case(0, 2)
    features.requires_grad_()
    one, other = (
        BottomUpLoss(target_gradient=exact, separate_terms=True)(features, labels)
        for exact in (False, True)
    )
    for name in ("repulsion", "segment_mse", "segment_gradient"):
        constant, exact = (gradient_of(getattr(terms, name), features) for terms in (one, other))
        assert (constant - exact).abs().max() > 1e-3
    # The contrast and the norm know nothing of it.
    for name in ("contrast", "norm"):
        constant, exact = (gradient_of(getattr(terms, name), features) for terms in (one, other))
        torch.testing.assert_close(constant, exact)


@pytest.mark.parametrize("target_gradient", [False, True])
class TestWhichTermsAreDifferentiable:
    def test_total_alone_by_default(self, make_case: Case, target_gradient: bool) -> None:
        features, labels = make_case(0, 2)
        features.requires_grad_()
        terms = BottomUpLoss(target_gradient=target_gradient)(features, labels)
        assert [term.requires_grad for term in terms] == [False] * 6 + [True]

    def test_every_one_with_separate_terms(self, make_case: Case, target_gradient: bool) -> None:
        features, labels = make_case(0, 2)
        features.requires_grad_()
        loss = BottomUpLoss(target_gradient=target_gradient, separate_terms=True)
        terms = loss(features, labels)
        weighted = [
            weight * gradient_of(getattr(terms, name), features)
            for name, weight in loss.weights.items()
        ]
        assert all(part.abs().max() > 0 for part in weighted)
        torch.testing.assert_close(gradient_of(terms.total, features), sum(weighted))
        together = BottomUpLoss(target_gradient=target_gradient)(features, labels).total
        torch.testing.assert_close(
            gradient_of(together, features), gradient_of(terms.total, features)
        )

    def test_gradient_scales_with_the_one_above(
        self, make_case: Case, target_gradient: bool
    ) -> None:
        features, labels = make_case(0, 2)
        features.requires_grad_()
        total = BottomUpLoss(target_gradient=target_gradient)(features, labels).total
        expected = 3 * gradient_of(total, features)
        torch.testing.assert_close(gradient_of(3 * total, features), expected)


@pytest.mark.parametrize("target_gradient", [False, True])
class TestStructure:
    def loss(self, target_gradient: bool) -> BottomUpLoss:
        return BottomUpLoss(target_gradient=target_gradient, separate_terms=True)

    def test_ignored_pixels_receive_nothing(self, make_case: Case, target_gradient: bool) -> None:
        features, labels = make_case(0, 2)
        features.requires_grad_()
        gradient = gradient_of(self.loss(target_gradient)(features, labels).total, features)
        ignored = (labels < 0).unsqueeze(1).expand_as(gradient)
        assert ignored.any()
        assert gradient[ignored].abs().max() == 0
        assert (gradient.abs().sum(1)[labels >= 0] > 0).all()

    def test_only_the_norm_term_pulls_along_a_feature(
        self, make_case: Case, target_gradient: bool
    ) -> None:
        features, labels = make_case(0, 2)
        features.requires_grad_()
        terms = self.loss(target_gradient)(features, labels)
        for name in (*TERMS, "contrast"):
            along = (gradient_of(getattr(terms, name), features) * features).sum(1)
            if name == "norm":
                assert along.abs().max() > 1e-3
            else:
                assert along.abs().max() < 1e-14

    def test_negated_features_get_the_negated_gradient(
        self, make_case: Case, target_gradient: bool
    ) -> None:
        features, labels = make_case(0, 2)
        generator = torch.Generator().manual_seed(0)
        sign = torch.randint(0, 2, (2, 1, 6, 7), generator=generator) * 2 - 1
        features.requires_grad_()
        loss = self.loss(target_gradient)
        expected = gradient_of(loss(features, labels).total, features)
        flipped = (features * sign).detach().requires_grad_()
        actual = gradient_of(loss(flipped, labels).total, flipped)
        torch.testing.assert_close(actual, expected * sign)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_zero_features_receive_nothing(
        self, make_case: Case, target_gradient: bool, dtype: torch.dtype
    ) -> None:
        features, labels = make_case(0, 2, dtype=dtype)
        features[:, :, ::2, ::3] = 0
        features.requires_grad_()
        terms = self.loss(target_gradient)(features, labels)
        for term in terms:
            gradient = gradient_of(term, features)
            assert gradient.isfinite().all()
            assert gradient[:, :, ::2, ::3].abs().max() == 0
            assert gradient.abs().max() > 0

    @pytest.mark.parametrize("length", [1e-12, 1e-5])
    def test_short_features_have_a_finite_gradient(
        self, make_case: Case, target_gradient: bool, length: float
    ) -> None:
        features, labels = make_case(0, 2, dtype=torch.float32)
        features = (length * features).requires_grad_()
        total = self.loss(target_gradient)(features, labels).total
        assert total.isfinite()
        assert gradient_of(total, features).isfinite().all()


@pytest.mark.parametrize("target_gradient", [False, True])
def test_float32_follows_float64(make_case: Case, target_gradient: bool) -> None:
    features, labels = make_case(0, 2, 8, 5, (17, 23))
    loss = BottomUpLoss(target_gradient=target_gradient)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        typed = features.float().to(dtype).requires_grad_()
        total = loss(typed, labels).total
        assert total.dtype == dtype
        gradients.append(gradient_of(total, typed))
    assert gradients[0].dtype == torch.float32
    scale = gradients[1].abs().max()
    assert (gradients[0] - gradients[1]).abs().max() < 1e-4 * scale


def test_a_step_against_the_gradient_lowers_the_loss(make_case: Case) -> None:
    features, labels = make_case(0, 2)
    features.requires_grad_()
    loss = BottomUpLoss(target_gradient=True, **SMOOTH)
    total = loss(features, labels).total
    with torch.no_grad():
        moved = features - 1e-3 * gradient_of(total, features)
    assert loss(moved, labels).total < total
