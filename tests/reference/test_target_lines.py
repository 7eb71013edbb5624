from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.losses import target_lines

Case = Callable[..., tuple[Tensor, Tensor]]


def entity(features: Tensor) -> tuple[Tensor, Tensor]:
    """One image whose (N, D) features all belong to entity 1."""
    image = features.mT.reshape(1, features.shape[1], 1, -1)
    return image, torch.ones(1, 1, len(features), dtype=torch.int32)


def exact_scatter(features: Tensor, inside: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of A, from (D, H, W) features, in float64 throughout."""
    chosen = features.double().numpy()[:, inside.numpy()]
    x = chosen / np.maximum(np.linalg.norm(chosen, axis=0), 1e-6)
    values, vectors = np.linalg.eigh(x @ x.T)
    return values, vectors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [3, 16])
@pytest.mark.parametrize("seed", range(4))
def test_accuracy_of_every_line(make_case: Case, seed: int, dim: int, dtype: torch.dtype) -> None:
    features, labels = make_case(seed, 2, dim, 6, (17, 23), dtype)
    lines = target_lines(features, labels, 8)
    assert lines.shape == (2, 9, dim)
    assert lines.dtype == dtype
    for image in range(2):
        for label in range(9):
            line, inside = lines[image, label], labels[image] == label
            if not inside.any():
                assert line.abs().max() == 0
                continue
            values, vectors = exact_scatter(features[image], inside)
            tangent = (
                line.double().numpy() - (line.double().numpy() @ vectors[:, -1]) * (vectors[:, -1])
            )
            assert np.linalg.norm(tangent) <= 1e-6 * values[-1] / (values[-1] - values[-2])
            assert line.max() == line.abs().max()
            assert abs(line.norm() - 1) < 1e-6


def test_accuracy_of_many_pixels_and_a_small_gap() -> None:
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(1, 8, 256, 128)).astype(np.float32))
    features[:, 0] *= 1.05
    labels = torch.ones(1, 256, 128, dtype=torch.int32)
    values, vectors = exact_scatter(features[0], labels[0] > 0)
    assert values[-1] / (values[-1] - values[-2]) > 10
    line = target_lines(features, labels, 1)[0, 1].double().numpy()
    tangent = line - (line @ vectors[:, -1]) * vectors[:, -1]
    assert np.linalg.norm(tangent) <= 1e-6 * values[-1] / (values[-1] - values[-2])


def test_antipodal_features_do_not_cancel() -> None:
    direction = torch.tensor([0.6, -0.8, 0.0])
    lines = target_lines(*entity(torch.stack([direction, -direction])), 1)
    torch.testing.assert_close(lines[0, 1], -direction)


def test_equal_eigenvalues_give_a_line_of_their_space() -> None:
    line = target_lines(*entity(torch.eye(3)[:2]), 1)[0, 1]
    torch.testing.assert_close(line.norm(), torch.tensor(1.0))
    assert abs(line[2]) < 1e-6


def test_background_has_row_0_and_ignored_pixels_none() -> None:
    features = torch.eye(3).view(1, 3, 1, 3)
    lines = target_lines(features, torch.tensor([[[-1, 0, 2]]]), 3)
    expected = torch.tensor([[[0.0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]])
    torch.testing.assert_close(lines, expected, atol=1e-12, rtol=0)


def test_an_entity_of_zero_features_has_a_zero_line() -> None:
    assert target_lines(*entity(torch.zeros(4, 3)), 1).abs().max() == 0


def test_a_zero_feature_takes_no_part() -> None:
    features = torch.tensor([[0.0, 0.0], [0.6, 0.8]])
    torch.testing.assert_close(target_lines(*entity(features), 1)[0, 1], features[1])


@pytest.mark.parametrize("seed", range(3))
class TestInvariance:
    def test_to_the_sign_of_any_feature(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 2)
        generator = torch.Generator().manual_seed(seed)
        sign = torch.randint(0, 2, (2, 1, 6, 7), generator=generator) * 2 - 1
        expected = target_lines(features, labels, 4)
        torch.testing.assert_close(target_lines(features * sign, labels, 4), expected)

    def test_to_the_length_of_any_feature(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 2)
        generator = torch.Generator().manual_seed(seed)
        length = torch.rand(2, 1, 6, 7, generator=generator, dtype=torch.float64) + 0.1
        expected = target_lines(features, labels, 4)
        torch.testing.assert_close(target_lines(features * length, labels, 4), expected)

    def test_to_the_numbers_of_entities(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 2)
        new = torch.tensor([0, 3, 1, 4, 2])
        renumbered = torch.where(labels < 0, labels, new[labels])
        lines, expected = target_lines(features, renumbered, 4), target_lines(features, labels, 4)
        torch.testing.assert_close(lines[:, new], expected)

    def test_to_the_other_images_of_the_batch(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 3)
        alone = [target_lines(features[[i]], labels[[i]], 4) for i in range(3)]
        torch.testing.assert_close(target_lines(features, labels, 4), torch.cat(alone))

    def test_to_the_layout(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 2)
        expected = target_lines(features, labels, 4)
        channels_last = features.contiguous(memory_format=torch.channels_last)
        strided = labels.mT.contiguous().mT
        torch.testing.assert_close(target_lines(channels_last, strided, 4), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(make_case: Case, dtype: torch.dtype) -> None:
    features, labels = make_case(0, 2, dtype=dtype)
    lines = target_lines(features, labels, 4)
    assert lines.dtype == torch.float32
    assert torch.equal(lines, target_lines(features.float(), labels, 4))


def test_autocast_changes_nothing(make_case: Case) -> None:
    features, labels = make_case(0, 2, dtype=torch.float32)
    expected = target_lines(features, labels, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(target_lines(features, labels, 4), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32])
def test_labels_of_any_integer_type(make_case: Case, dtype: torch.dtype) -> None:
    features, labels = make_case(0, 2)
    labels = labels.clamp_min(0)
    expected = target_lines(features, labels, 4)
    assert torch.equal(target_lines(features, labels.to(dtype), 4), expected)


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)])
def test_without_pixels_every_line_is_zero(shape: tuple[int, ...]) -> None:
    labels = torch.zeros(shape[0], *shape[2:], dtype=torch.int32)
    lines = target_lines(torch.zeros(shape), labels, 2)
    assert lines.shape == (shape[0], 3, 3)
    assert not lines.any()


def test_no_entities() -> None:
    labels = torch.full((1, 2, 2), -1)
    assert target_lines(torch.ones(1, 3, 2, 2), labels, 0).tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize(
    ("features", "labels", "num_entities", "message"),
    [
        (
            torch.ones(1, 2, 1, 1),
            torch.tensor([[[3]]]),
            2,
            "labels go up to 3, .*num_entities is 2",
        ),
        (torch.ones(1, 2, 1, 1), torch.tensor([[[-2]]]), 2, "labels must be at least -1, got -2"),
        (torch.ones(1, 2, 1, 1), torch.tensor([[[0]]]), -1, "num_entities must not be negative"),
        (torch.ones(2, 1, 1), torch.tensor([[[0]]]), 1, r"features must be \(B, D, H, W\)"),
        (torch.full((1, 2, 1, 1), torch.inf), torch.tensor([[[0]]]), 1, "features contain NaN"),
        (torch.ones(1, 2, 1, 1), torch.tensor([[0]]), 1, r"labels must be \(1, 1, 1\)"),
    ],
)
def test_bad_input(features: Tensor, labels: Tensor, num_entities: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        target_lines(features, labels, num_entities)
