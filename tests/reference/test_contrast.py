from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from bottomup_fast.losses import BottomUpLoss, target_lines
from bottomup_fast.reference import normalise
from bottomup_fast.reference.contrast import contrast_term, sample_keys, sample_queries
from bottomup_fast.reference.philox import philox

Case = Callable[..., tuple[Tensor, Tensor]]
SEED = torch.tensor([7, 0])
ONLY_CONTRAST = dict.fromkeys(
    ("attraction_weight", "repulsion_weight", "segment_mse_weight", "segment_gradient_weight"), 0.0
) | {"norm_weight": 0.0, "contrast_weight": 1.0}


def random_image(seed: int = 0, entities: int = 4, pixels: int = 400) -> tuple[Tensor, ...]:
    """Pixel lines (N, D), labels (N,), target lines (K+1, D) and entity numbers of one image."""
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(-1, entities + 1, pixels))
    centres = rng.normal(size=(entities + 2, 5))
    spread = rng.uniform(0, 0.8, (pixels, 1)) * rng.normal(size=(pixels, 5))
    x = normalise(torch.from_numpy(centres[labels] + spread), dim=-1)
    image = x.mT.unsqueeze(0).unsqueeze(-1)
    lines = target_lines(image, labels.view(1, -1, 1), entities)[0]
    return x, labels, lines, torch.arange(1, entities + 1)


def only_contrast(**settings: int) -> BottomUpLoss:
    return BottomUpLoss(**ONLY_CONTRAST, **settings)  # type: ignore[arg-type]


class TestQueries:
    @pytest.mark.parametrize("queries", [1, 5, 60, 500])
    def test_distinct_pixels_of_their_entity(self, queries: int) -> None:
        x, labels, lines, entities = random_image()
        chosen, drawn = sample_queries(x, labels, lines, entities, SEED, queries)
        assert chosen.shape == drawn.shape == (4, queries)
        for entity, pixels, mask in zip(entities, chosen, drawn, strict=True):
            assert mask.sum() == min(queries, (labels == entity).sum())
            assert (labels[pixels[mask]] == entity).all()
            assert len(pixels[mask].unique()) == mask.sum()

    @pytest.mark.parametrize("queries", [3, 30, 60])
    def test_hard_before_easy(self, queries: int) -> None:
        x, labels, lines, entities = random_image()
        hard = (x * lines[labels]).sum(-1).abs() < 0.97
        chosen, drawn = sample_queries(x, labels, lines, entities, SEED, queries)
        for entity, pixels, mask in zip(entities, chosen, drawn, strict=True):
            num_hard = int((hard & (labels == entity)).sum())
            assert 3 < num_hard < (labels == entity).sum() - 3
            assert hard[pixels[mask]].sum() == min(queries, num_hard)

    def test_every_hard_pixel_is_as_likely(self) -> None:
        # Entity 1: eight pixels at 45 degrees from its line, and two on it, which are never drawn.
        x = torch.tensor([[1.0, 1.0]] * 8 + [[1.0, 0.0]] * 2 + [[0.0, 1.0]])
        labels = torch.tensor([1] * 10 + [2])
        lines = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        counts = torch.zeros(11)
        for seed in range(800):
            words = torch.tensor([seed, 0])
            chosen, _ = sample_queries(
                normalise(x, dim=-1), labels, lines, torch.tensor([1, 2]), words, 2
            )
            counts[chosen[0]] += 1
        assert counts[8:].sum() == 0
        assert chisquare(counts[:8]).pvalue > 1e-3

    def test_an_entity_draws_the_same_whoever_else_is_there(self) -> None:
        x, labels, lines, entities = random_image()
        alone = torch.where(labels == 2, -1, labels)
        fewer = entities[entities != 2]
        everyone, _ = sample_queries(x, labels, lines, entities, SEED, 20)
        others, _ = sample_queries(x, alone, lines, fewer, SEED, 20)
        assert torch.equal(others, everyone[[0, 2, 3]])


class TestKeys:
    def test_never_background_ignored_or_own(self) -> None:
        _, labels, lines, entities = random_image()
        keys = sample_keys(labels, lines, entities, SEED, 700)
        assert keys.shape == (4, 700)
        assert (labels[keys] > 0).all()
        assert (labels[keys] != entities.unsqueeze(1)).all()

    @pytest.mark.parametrize("missing", [None, 1, 3, 4])
    def test_frequencies_follow_the_softmax(self, missing: int | None) -> None:
        _, labels, _, entities = random_image()
        # Lines 1..4 in a plane, some across the origin: no two of the angles between are alike.
        angles = torch.tensor([90.0, 0.0, 20.0, 230.0, 85.0], dtype=torch.float64).deg2rad()
        lines = torch.stack([angles.cos(), angles.sin()], dim=1)
        if missing is not None:
            labels = torch.where(labels == missing, 0, labels)
            entities = entities[entities != missing]
        keys = sample_keys(labels, lines, entities, SEED, 20_000)
        for own, row in zip(entities.tolist(), labels[keys], strict=True):
            others = [entity for entity in entities.tolist() if entity != own]
            weights = np.exp([abs(float(lines[own] @ lines[other])) / 0.5 for other in others])
            counts = [int((row == other).sum()) for other in others]
            assert chisquare(counts, 20_000 * weights / weights.sum()).pvalue > 1e-3
            # The weights differ enough for a uniform draw to fail.
            assert chisquare(counts).pvalue < 1e-6

    def test_pixels_of_an_entity_are_as_likely(self) -> None:
        _, labels, lines, entities = random_image(pixels=60)
        keys = sample_keys(labels, lines, entities, SEED, 20_000)
        for entity in entities[1:]:
            drawn = keys[0][labels[keys[0]] == entity]
            counts = torch.bincount(drawn, minlength=60)[labels == entity]
            assert chisquare(counts).pvalue > 1e-3

    def test_images_and_entities_draw_apart(self) -> None:
        labels = torch.tensor([1] * 50 + [2] * 50 + [3] * 50)
        lines, entities = torch.cat([torch.zeros(1, 3), torch.eye(3)]), torch.tensor([1, 2, 3])
        first = sample_keys(labels, lines, entities, SEED, 100)
        assert torch.equal(first, sample_keys(labels, lines, entities, SEED, 100))
        for other in ([7, 1], [8, 0], [7 + 2**32, 0]):
            keys = sample_keys(labels, lines, entities, torch.tensor(other), 100)
            assert (keys != first).float().mean() > 0.9
        # Entities 1 and 2 share entity 3 as a target; they do not draw the same of its pixels.
        assert ((first[0] != first[1]) | (labels[first[0]] != 3)).float().mean() > 0.9


def word(entity: int, draw: int, stream: int, which: int) -> float:
    """One number in [0, 1) of seed 7 + 3 * 2^32 and image 2; stream 0 queries, 1 keys."""
    counter = torch.tensor(2), torch.tensor(entity), torch.tensor(draw), torch.tensor(stream)
    words: list[int] = philox((torch.tensor(7), torch.tensor(3)), counter).tolist()
    return words[which] / 2**32


def test_draws_by_loops() -> None:
    """Which counter gives which draw is what another backend has to follow."""
    x, labels, lines, entities = random_image(pixels=60)
    seed = torch.tensor([7 + 3 * 2**32, 2])
    chosen, drawn = sample_queries(x, labels, lines, entities, seed, 9)
    keys = sample_keys(labels, lines, entities, seed, 9)
    members = {i: (labels == i).nonzero().flatten().tolist() for i in entities.tolist()}
    for row, own in enumerate(members):
        ranks = [
            (abs(float(x[pixel] @ lines[own])) >= 0.97, word(own, pixel, 0, 0), pixel)
            for pixel in members[own]
        ]
        assert chosen[row][drawn[row]].tolist() == [pixel for *_, pixel in sorted(ranks)[:9]]
        others = [other for other in members if other != own]
        weights = np.exp([abs(float(lines[own] @ lines[other])) / 0.5 for other in others])
        below = np.cumsum(weights / weights.sum())
        for draw in range(9):
            other = others[int((below <= word(own, draw, 1, 0)).sum())]
            place = int(word(own, draw, 1, 1) * len(members[other]))
            assert keys[row, draw] == members[other][place]


def test_value_by_loops() -> None:
    x, labels, lines, entities = random_image()
    chosen, drawn = sample_queries(x, labels, lines, entities, SEED, 90)
    assert not drawn.all()
    keys = sample_keys(labels, lines, entities, SEED, 11)
    total = 0.0
    for row, entity in enumerate(entities):
        losses = []
        for pixel in chosen[row][drawn[row]]:
            positive = exp(abs(float(x[pixel] @ lines[entity])) / 0.5)
            negative = sum(exp(abs(float(x[pixel] @ x[key])) / 0.5) for key in keys[row])
            losses.append(-log(positive / (positive + negative)))
        total += sum(losses) / len(losses) / len(entities)
    term = contrast_term(x[None], labels[None], lines[None], SEED[None], 90, 11)
    torch.testing.assert_close(term, torch.tensor([total], dtype=torch.float64))


@pytest.mark.parametrize("cosine", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("negatives", [1, 512])
def test_value_where_every_draw_is_alike(cosine: float, negatives: int) -> None:
    sine = (1 - cosine**2) ** 0.5
    features = torch.tensor([[1, 0], [-1, 0], [cosine, sine], [0.6, 0.8], [-0.6, 0.8]])
    labels = torch.tensor([1, 1, 2, 0, -1]).view(1, 1, 5)
    loss = only_contrast(contrast_negatives=negatives)
    term = loss(features.double().mT.reshape(1, 2, 1, 5), labels).contrast
    assert term == pytest.approx(log(exp(2) + negatives * exp(2 * cosine)) - 2)


def test_gradient_reaches_the_queries_alone(make_case: Case) -> None:
    features, labels = make_case(2)
    features.requires_grad_()
    total = only_contrast(contrast_queries=1)(features, labels).total
    reached = torch.autograd.grad(total, features)[0][0].abs().sum(0) > 0
    entities = torch.unique(labels[labels > 0])
    assert sorted(labels[0][reached].tolist()) == entities.tolist()


@pytest.mark.parametrize("target_gradient", [False, True])
def test_gradient_with_keys_and_lines_constant(make_case: Case, target_gradient: bool) -> None:
    """With every pixel a query, each is a key too: only its own part as a query may count."""
    features, labels = make_case(2)
    flat, entities = labels.flatten(), torch.unique(labels[labels > 0])
    seed = torch.tensor([9])
    lines = target_lines(features, labels, 4)[0]
    constant = normalise(features.flatten(2).mT, dim=-1)[0]
    keys = sample_keys(flat, lines, entities, torch.tensor([9, 0]), 20)

    def frozen(features: Tensor) -> Tensor:
        x = normalise(features.flatten(2).mT, dim=-1)[0]
        means = []
        for entity, row in zip(entities, keys, strict=True):
            candidates = torch.cat([lines[entity].unsqueeze(0), constant[row]])
            logits = (x[flat == entity] @ candidates.mT).abs() / 0.5
            means.append(-logits.log_softmax(-1)[:, 0].mean())
        return torch.stack(means).mean()

    loss = only_contrast(contrast_negatives=20)
    loss.target_gradient = target_gradient
    features.requires_grad_()
    actual, expected = loss(features, labels, seed).total, frozen(features)
    torch.testing.assert_close(actual, expected)
    (actual_gradient,) = torch.autograd.grad(actual, features)
    (expected_gradient,) = torch.autograd.grad(expected, features)
    torch.testing.assert_close(actual_gradient, expected_gradient)


def test_lines_receive_no_gradient() -> None:
    x, labels, lines, _ = random_image()
    lines.requires_grad_()
    x.requires_grad_()
    total = contrast_term(x[None], labels[None], lines[None], SEED[None]).sum()
    gradients = torch.autograd.grad(total, (lines, x), allow_unused=True)
    assert [gradient is None for gradient in gradients] == [True, False]


def test_seed_decides_the_draws(make_case: Case) -> None:
    features, labels = make_case(0, 2)
    loss = only_contrast(contrast_negatives=8)
    assert torch.equal(loss(features, labels, 1).total, loss(features, labels, 1).total)
    assert loss(features, labels, 1).total != loss(features, labels, 2).total
    assert loss(features, labels, 1).total != loss(features, labels, 1 + 2**40).total


def test_one_seed_tells_images_apart_by_their_place(make_case: Case) -> None:
    features, labels = make_case(0)
    loss = only_contrast(contrast_negatives=8)
    pair = loss(features.expand(2, -1, -1, -1), labels.expand(2, -1, -1), 1).total
    alone = loss(features, labels, 1).total
    assert pair != alone
    # The first image of a batch is the one at place 0, whatever follows it.
    empty = torch.full_like(labels, -1)
    with_empty = loss(features.expand(2, -1, -1, -1), torch.cat([labels, empty]), 1).total
    torch.testing.assert_close(2 * with_empty, alone)


@pytest.mark.parametrize("integer", [torch.int32, torch.int64])
def test_seeds_of_a_batch_are_those_of_its_images(make_case: Case, integer: torch.dtype) -> None:
    features, labels = make_case(0, 3, entities=5)
    seeds = torch.tensor([5, 2**31 - 1, 5], dtype=integer)
    loss = only_contrast(contrast_negatives=8, contrast_queries=3)
    alone = [loss(features[[i]], labels[[i]], seeds[[i]]).total for i in range(3)]
    torch.testing.assert_close(loss(features, labels, seeds).total, sum(alone) / 3)
    torch.testing.assert_close(alone[1], loss(features[[1]], labels[[1]], 2**31 - 1).total)


@pytest.mark.parametrize("label", [-1, 0, 1, 9])
def test_fewer_than_two_entities_give_zero(label: int) -> None:
    features = torch.randn(1, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    labels = torch.full((1, 2, 4), label)
    labels[0, 0] = 0
    total = only_contrast()(features, labels).total
    assert total == 0
    assert torch.autograd.grad(total, features)[0].abs().max() == 0
