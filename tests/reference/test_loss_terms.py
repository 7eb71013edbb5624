from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bottomup_fast.losses import BottomUpLoss, LossTerms
from bottomup_fast.reference import losses as reference

Case = Callable[..., tuple[Tensor, Tensor]]
SlowLosses = Callable[[Tensor, Tensor], list[Any]]
NORMALISERS = ["entities", "pairs", "sqrt-pairs"]
DRAWN = "contrast"


def close(actual: Tensor, expected: float | Tensor) -> None:
    assert actual.item() == pytest.approx(float(expected), rel=1e-9, abs=1e-11)


def same_terms(actual: LossTerms, expected: LossTerms, but: tuple[str, ...] = ()) -> None:
    for name, value in expected._asdict().items():
        if name not in but:
            close(getattr(actual, name), value)


@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize(
    ("entities", "dim", "shape"),
    [
        (1, 3, (1, 7)),
        (1, 16, (1, 1)),
        (2, 3, (1, 1)),
        (2, 5, (1, 7)),
        (3, 3, (17, 23)),
        (5, 4, (17, 23)),
        (7, 16, (17, 23)),
        (8, 12, (7, 1)),
        (12, 16, (17, 23)),
    ],
)
def test_terms_by_loops(
    make_case: Case,
    slow_losses: SlowLosses,
    entities: int,
    dim: int,
    shape: tuple[int, int],
    normaliser: Any,
) -> None:
    for seed in range(2):
        features, labels = make_case(100 * entities + seed, 2, dim, entities, shape)
        terms = BottomUpLoss(repulsion_normaliser=normaliser, contrast_queries=4)(features, labels)
        images = [image.terms(normaliser) for image in slow_losses(features, labels)]
        for name in images[0]:
            close(getattr(terms, name), float(np.mean([image[name] for image in images])))


def test_the_cases_are_worth_it(make_case: Case, slow_losses: SlowLosses) -> None:
    """The comparison above would prove little on maps without background, gaps or live terms."""
    features, labels = make_case(700, 2, 16, 7, (17, 23))
    for image, map_ in zip(slow_losses(features, labels), labels, strict=True):
        present = set(map_.unique().tolist())
        assert {-1, 0} < present
        assert len(present) < 9
        assert all(value > 0.01 for value in image.terms().values())


@pytest.mark.parametrize("target_gradient", [False, True])
@pytest.mark.parametrize("separate_terms", [False, True])
def test_settings_of_the_gradient_leave_the_values_alone(
    make_case: Case, target_gradient: bool, separate_terms: bool
) -> None:
    features, labels = make_case(0, 2)
    loss = BottomUpLoss(target_gradient=target_gradient, separate_terms=separate_terms)
    same_terms(loss(features.clone().requires_grad_(), labels), BottomUpLoss()(features, labels))


def test_total_is_the_weighted_sum(make_case: Case) -> None:
    weights = dict(zip(LossTerms._fields, (2.0, 3.0, 5.0, 7.0, 11.0, 13.0), strict=False))
    loss = BottomUpLoss(**{f"{name}_weight": weight for name, weight in weights.items()})  # type: ignore[arg-type]
    terms = loss(*make_case(0, 2))
    close(terms.total, sum(weights[name] * getattr(terms, name) for name in weights))


def test_default_weights(make_case: Case) -> None:
    t = BottomUpLoss()(*make_case(0, 2))
    segment = t.segment_mse + 0.05 * t.segment_gradient
    close(t.total, t.attraction + t.repulsion + segment + 0.125 * t.contrast + 0.025 * t.norm)


@pytest.mark.parametrize("name", [name for name in LossTerms._fields if name != "total"])
def test_a_weight_of_zero_drops_its_term_alone(make_case: Case, name: str) -> None:
    features, labels = make_case(0, 2)
    everything = BottomUpLoss()
    without = BottomUpLoss(**{f"{name}_weight": 0.0})  # type: ignore[arg-type]
    full, less = everything(features, labels), without(features, labels)
    close(less.total, full.total - everything.weights[name] * getattr(full, name))
    same_terms(less, full, but=("total", DRAWN))
    assert less.contrast == (0 if name == DRAWN else full.contrast)


@pytest.mark.parametrize("seed", range(3))
class TestInvariance:
    def test_to_the_sign_of_any_feature(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 2)
        generator = torch.Generator().manual_seed(seed)
        sign = torch.randint(0, 2, (2, 1, 6, 7), generator=generator) * 2 - 1
        same_terms(BottomUpLoss()(features * sign, labels), BottomUpLoss()(features, labels))

    def test_to_the_length_of_features_but_for_the_norm(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 2)
        # Powers of two, so that no pixel close to being easy changes sides by rounding.
        generator = torch.Generator().manual_seed(seed)
        scale = 2.0 ** torch.randint(-3, 4, (2, 1, 6, 7), generator=generator)
        loss = BottomUpLoss()
        scaled, plain = loss(features * scale, labels), loss(features, labels)
        same_terms(scaled, plain, but=("norm", "total"))
        assert abs(scaled.norm - plain.norm) > 0.01

    def test_to_the_numbers_of_entities(self, make_case: Case, seed: int) -> None:
        # The contrast draws by number: with every pixel a query, only its keys may differ.
        features, labels = make_case(seed, 2)
        new = torch.tensor([0, 3, 1, 6, 2])
        renumbered = torch.where(labels < 0, labels, new[labels])
        one, other = BottomUpLoss()(features, labels), BottomUpLoss()(features, renumbered)
        same_terms(one, other, but=(DRAWN, "total"))
        torch.testing.assert_close(one.contrast, other.contrast, rtol=0.02, atol=0)

    def test_to_a_rotation_of_feature_space(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 2)
        rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
        turned = torch.einsum("ij,bjhw->bihw", torch.from_numpy(rotation), features)
        same_terms(BottomUpLoss()(turned, labels), BottomUpLoss()(features, labels))

    def test_to_a_reflection_of_the_image(self, make_case: Case, seed: int) -> None:
        # Odd sizes of 8k+1 pixels, so that the scales of the gradient keep the same pixels.
        features, labels = make_case(seed, 2, shape=(9, 17))
        flipped = BottomUpLoss()(features.flip(2, 3), labels.flip(1, 2))
        same_terms(flipped, BottomUpLoss()(features, labels), but=(DRAWN, "total"))

    def test_to_ignored_features(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 2)
        changed = torch.where((labels < 0).unsqueeze(1), 5.0, features)
        assert (labels < 0).any()
        same_terms(BottomUpLoss()(changed, labels), BottomUpLoss()(features, labels))


@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_sign_of_the_lines_changes_nothing(make_case: Case, normaliser: str) -> None:
    features, labels = make_case(0)
    x, flat = torch.nn.functional.normalize(features.flatten(2).mT, dim=-1), labels.flatten(1)
    random = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 5, 6)))
    flat = torch.where(flat == 2, -1, flat)
    lines = torch.nn.functional.normalize(random, dim=-1)
    lines[:, 2] = 0
    member = reference.Membership.of(flat, 4, torch.float64)

    def terms(lines: Tensor) -> list[Tensor]:
        cosines = x @ lines.mT
        sigma, usable = reference.segment_space(cosines, lines, member)
        attraction = reference.attraction_term(cosines, member)
        return [sigma, usable, attraction, reference.repulsion_term(cosines, member, normaliser)]

    sign = torch.tensor([-1.0, 1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    assert terms(lines)[1].all()
    for one, other in zip(terms(lines), terms(lines * sign[:, None]), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("separate_terms", [False, True])
def test_a_batch_is_the_mean_of_its_images(make_case: Case, separate_terms: bool) -> None:
    features, labels = make_case(1, 4, entities=6)
    labels[1] = -1  # an image without pixels counts
    labels[2] = labels[2].clamp_max(0)  # and so does one without entities
    seeds = torch.tensor([5, 2**62, 7, 8])
    loss = BottomUpLoss(separate_terms=separate_terms)
    alone = [loss(features[[i]], labels[[i]], seeds[[i]]) for i in range(4)]
    for name, value in loss(features, labels, seeds)._asdict().items():
        close(value, torch.stack([getattr(terms, name) for terms in alone]).mean())


def test_same_input_same_bits(make_case: Case) -> None:
    features, labels = make_case(0, 2, dtype=torch.float32)
    first, second = (BottomUpLoss()(features, labels, 3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_segments_in_perfect_order() -> None:
    """Orthogonal lines, one for the background too: only the contrast is left."""
    features = torch.eye(4, dtype=torch.float64).view(1, 4, 2, 2)
    terms = BottomUpLoss()(features, torch.tensor([[[0, 1], [2, 3]]]))
    assert [float(term) for term in terms[:2]] == [0, 0]
    assert [float(term) for term in terms[3:6]] == [0, 0, 0]
    # One positive at |cos| / 0.5 = 2 against 512 orthogonal keys.
    close(terms.contrast, float(np.log(np.exp(2) + 512) - 2))


def test_worked_example() -> None:
    """Two one-pixel entities at 60 degrees in the plane, and a background pixel along the first."""
    half, root = 0.5, 0.75**0.5
    features = torch.tensor([[1.0, half, 2.0], [0.0, root, 0.0]], dtype=torch.float64)
    terms = BottomUpLoss()(features.view(1, 2, 1, 3), torch.tensor([[[1, 2, 0]]]))
    close(terms.attraction, 0.0)
    # Ordered pairs: 1-2 and 2-1 a half each, 0-1 and 1-0 one each, 0-2 and 2-0 a half each; K = 2.
    close(terms.repulsion, 2.0)
    # The background pixel has sigma (1, 0): R = ((0, 0, 1), (0, 0, 0)).
    close(terms.segment_mse, (1 / 3) / 2)
    # Scale 0: one step of 1 in two pairs; scale 1: pixels 0 and 2, one step in one pair.
    close(terms.segment_gradient, (1 / 2 + 1) / 2)
    close(terms.norm, 1 / 3)
