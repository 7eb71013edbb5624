from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bottomup_fast.losses import BottomUpLoss, LossTerms

Case = Callable[..., tuple[Tensor, Tensor]]
SEGMENT = ("segment_mse", "segment_gradient")


def evaluate(features: Tensor, labels: Tensor) -> tuple[LossTerms, dict[str, float]]:
    """The terms, and the largest gradient each sends to any feature, with differentiable lines."""
    features = features.detach().requires_grad_()
    terms = BottomUpLoss(target_gradient=True, separate_terms=True)(features, labels)
    largest = {}
    for name, term in terms._asdict().items():
        gradient = torch.zeros_like(features)
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(term, features, retain_graph=True)
        assert gradient.isfinite().all()
        largest[name] = float(gradient.abs().max())
    return terms, largest


def along(lines: np.ndarray, background: bool = False) -> tuple[Tensor, Tensor]:
    """Three columns of pixels along each line (K, D), so that these are the target lines exactly.

    Rows of the map differ by sign and length. `background` adds a column across all lines.
    """
    features = torch.from_numpy(np.asarray(lines, dtype=np.float64)).repeat_interleave(3, 0)
    labels = torch.arange(1, len(lines) + 1).repeat_interleave(3)
    if background:
        features = torch.cat([features, torch.ones(1, features.shape[1], dtype=torch.float64)])
        labels = torch.cat([labels, torch.zeros(1, dtype=torch.long)])
    scale = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64).view(1, 1, 3, 1)
    return scale * features.mT.unsqueeze(0).unsqueeze(2), labels.expand(1, 3, -1).contiguous()


def pair(cosine: float, dim: int = 4) -> np.ndarray:
    lines = np.zeros((2, dim))
    lines[0, 0] = 1
    lines[1, :2] = cosine, -((1 - cosine**2) ** 0.5)
    return lines


def umbrella(condition: float) -> np.ndarray:
    """Three lines 60 degrees apart, raised from their plane until MᵀM has that condition number."""
    angles = np.radians([0, 60, 120])
    low, high = 1e-6, 0.5
    for _ in range(100):
        height = (low * high) ** 0.5
        lines = np.stack([np.cos(angles), np.sin(angles), np.full(3, height), 0 * angles], axis=1)
        lines /= np.linalg.norm(lines, axis=1, keepdims=True)
        if np.linalg.cond(lines @ lines.T) > condition:
            low = height
        else:
            high = height
    return lines


def expect_segment_space(features: Tensor, labels: Tensor, alive: bool) -> None:
    terms, gradients = evaluate(features, labels)
    for name in SEGMENT:
        assert (getattr(terms, name) > 0) == alive
        assert (gradients[name] > 0) == alive
    assert terms.repulsion > 0
    assert gradients["repulsion"] > 0
    assert terms.contrast > 0
    assert terms.total.isfinite()


class TestDegenerateSegmentSpace:
    def test_two_entities_with_exactly_one_line(self) -> None:
        features, labels = along(pair(1.0), background=True)
        expect_segment_space(features, labels, alive=False)
        assert evaluate(features, labels)[0].attraction.abs() < 1e-15

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize(("cosine", "alive"), [(0.979, True), (0.981, False)])
    def test_similar_lines(self, cosine: float, alive: bool, sign: int) -> None:
        expect_segment_space(*along(pair(sign * cosine), background=True), alive=alive)

    @pytest.mark.parametrize(("condition", "alive"), [(0.98e4, True), (1.02e4, False)])
    def test_ill_conditioned_without_a_similar_pair(self, condition: float, alive: bool) -> None:
        lines = umbrella(condition)
        gram = lines @ lines.T
        assert np.linalg.cond(gram) == pytest.approx(condition, rel=1e-6)
        assert abs(gram - np.diag(np.diag(gram))).max() < 0.6
        expect_segment_space(*along(lines, background=True), alive=alive)

    @pytest.mark.parametrize(("entities", "alive"), [(2, True), (3, False), (5, False)])
    def test_more_entities_than_dimensions(self, entities: int, alive: bool) -> None:
        angles = np.pi * np.arange(entities) / entities + 0.1
        lines = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        expect_segment_space(*along(lines, background=True), alive=alive)

    def test_missing_numbers_do_not_count_as_entities(self) -> None:
        features, labels = along(pair(0.5, dim=2), background=True)
        labels = torch.where(labels > 0, labels * 40, labels)
        expect_segment_space(features, labels, alive=True)

    def test_concerns_its_image_alone(self, make_case: Case) -> None:
        healthy = make_case(0, 1, 4, 3, (3, 7))
        degenerate = along(pair(0.99), background=True)
        both = BottomUpLoss()(
            torch.cat([healthy[0], degenerate[0]]), torch.cat([healthy[1], degenerate[1]])
        )
        for name in SEGMENT:
            alone = getattr(BottomUpLoss()(*healthy), name)
            assert alone > 0
            torch.testing.assert_close(getattr(both, name), alone / 2)


class TestZeroFeatures:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("entities", [1, 2, 3])
    def test_everywhere(self, entities: int, dtype: torch.dtype) -> None:
        labels = torch.arange(8).view(1, 2, 4) % (entities + 1)
        terms, gradients = evaluate(torch.zeros(1, 4, 2, 4, dtype=dtype), labels)
        assert terms.attraction == 1
        assert terms.norm == 1
        assert [terms.repulsion, terms.segment_mse, terms.segment_gradient] == [0, 0, 0]
        # Every |cos| is 0, so the positive is one of 513 alike.
        expected = np.log(513) if entities > 1 else 0
        assert terms.contrast.item() == pytest.approx(expected, rel=1e-6)
        assert set(gradients.values()) == {0.0}

    def test_of_one_entity_of_two(self) -> None:
        features, labels = along(pair(0.5), background=True)
        features[:, :, :, 3:6] = 0
        terms, gradients = evaluate(features, labels)
        assert terms.attraction.item() == pytest.approx(0.5)
        assert [terms.segment_mse, terms.segment_gradient] == [0, 0]
        assert gradients["segment_mse"] == gradients["segment_gradient"] == 0

    def test_of_the_background(self) -> None:
        features, labels = along(pair(0.5), background=True)
        features[:, :, :, 6:] = 0
        terms, _ = evaluate(features, labels)
        assert terms.repulsion.item() == pytest.approx(0.5)
        assert terms.segment_mse.abs() < 1e-15


class TestFewEntities:
    @pytest.mark.parametrize("normaliser", ["entities", "pairs", "sqrt-pairs"])
    def test_everything_ignored(self, normaliser: str) -> None:
        features = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        features.requires_grad_()
        loss = BottomUpLoss(repulsion_normaliser=normaliser)  # type: ignore[arg-type]
        terms = loss(features, torch.full((2, 4, 5), -1))
        assert [term.item() for term in terms] == [0] * 7
        assert torch.autograd.grad(terms.total, features)[0].abs().max() == 0

    def test_no_entity(self) -> None:
        features = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        terms, gradients = evaluate(features, torch.zeros(1, 4, 5, dtype=torch.int32))
        assert terms.norm > 0
        assert gradients["norm"] > 0
        assert [term.item() for term in terms[:5]] == [0] * 5
        assert [gradients[name] for name in LossTerms._fields[:5]] == [0] * 5

    @pytest.mark.parametrize("label", [1, 7])
    def test_one_entity_without_background_has_nothing_to_repel(self, label: int) -> None:
        features, labels = along(pair(0.5))
        labels = torch.where(labels == 1, label, -1)
        features = features + 0.1
        terms, gradients = evaluate(features, labels)
        assert terms.repulsion == terms.contrast == 0
        assert gradients["repulsion"] == gradients["contrast"] == 0
        assert terms.attraction > 0
        # sigma = |m . x| <= 1, so R = sigma - 1 is small but not 0.
        assert 0 < terms.segment_mse < 0.1

    def test_one_entity_and_background(self) -> None:
        features, labels = along(pair(0.5))
        terms, _ = evaluate(features, torch.where(labels == 2, 0, labels))
        assert terms.repulsion.item() == pytest.approx(1.0)
        assert terms.contrast == 0
        # R is 0 inside and |cos| = 0.5 on the background, half of the map.
        assert terms.segment_mse.item() == pytest.approx(0.125)

    def test_an_entity_of_one_pixel(self, make_case: Case) -> None:
        features, labels = make_case(0, 1, 6, 2, (5, 6))
        labels = labels.clamp_max(1)
        labels[0, 2, 3] = 2
        terms, gradients = evaluate(features, labels)
        assert all(value > 0 for value in terms)
        assert all(value > 0 for value in gradients.values())

    def test_one_pixel(self) -> None:
        features = torch.tensor([1.2, 0.0, 1.6], dtype=torch.float64).view(1, 3, 1, 1)
        terms, _ = evaluate(features, torch.ones(1, 1, 1, dtype=torch.int32))
        values = [term.item() for term in terms]
        assert values == pytest.approx([0, 0, 0, 0, 0, 1, 0.025], abs=1e-15)
