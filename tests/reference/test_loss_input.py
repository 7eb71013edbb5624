from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.losses import BottomUpLoss, LossTerms

Case = Callable[..., tuple[Tensor, Tensor]]


def same_bits(actual: LossTerms, expected: LossTerms) -> None:
    for name, value in expected._asdict().items():
        assert getattr(actual, name).dtype == value.dtype
        assert torch.equal(getattr(actual, name), value), name


def gradient(loss: BottomUpLoss, features: Tensor, labels: Tensor) -> Tensor:
    features = features.detach().requires_grad_()
    return torch.autograd.grad(loss(features, labels).total, features)[0]


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_is_computed_in_float32(self, make_case: Case, dtype: torch.dtype) -> None:
        features, labels = make_case(0, 2, dtype=dtype)
        loss = BottomUpLoss(precision="highest")
        same_bits(loss(features, labels), loss(features.float(), labels))
        half, full = gradient(loss, features, labels), gradient(loss, features.float(), labels)
        assert half.dtype == dtype
        # Two roundings where a contrast query's gradient is added to that of the other terms.
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(half, full.to(dtype), rtol=2 * eps, atol=1e-3 * eps)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_terms_have_the_dtype_of_the_features(
        self, make_case: Case, dtype: torch.dtype
    ) -> None:
        terms = BottomUpLoss()(*make_case(0, 2, dtype=dtype))
        assert {(term.dtype, term.shape) for term in terms} == {(dtype, ())}

    @pytest.mark.parametrize("seed", range(3))
    def test_float32_is_close_to_float64(self, make_case: Case, seed: int) -> None:
        features, labels = make_case(seed, 2, 8, 6, (17, 23), torch.float32)
        single, double = (BottomUpLoss()(f, labels) for f in (features, features.double()))
        for name, value in double._asdict().items():
            torch.testing.assert_close(getattr(single, name).double(), value, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_autocast_changes_nothing(self, make_case: Case, dtype: torch.dtype) -> None:
        features, labels = make_case(0, 2, dtype=dtype)
        expected = BottomUpLoss()(features, labels)
        with torch.autocast("cpu", torch.bfloat16):
            same_bits(BottomUpLoss()(features, labels), expected)

    @pytest.mark.parametrize("precision", [None, "highest", "fast"])
    @pytest.mark.parametrize("backend", ["auto", "reference"])
    def test_precision_and_backend_are_taken(
        self, make_case: Case, precision: Any, backend: Any
    ) -> None:
        features, labels = make_case(0)
        loss = BottomUpLoss(precision=precision, backend=backend)
        same_bits(loss(features, labels), BottomUpLoss()(features, labels))


class TestLayout:
    def strided(self, features: Tensor) -> dict[str, Tensor]:
        batch, dim, height, width = features.shape
        wider = features.new_full((2 * batch, dim + 1, height, 3 * width), torch.nan)
        wider[::2, 1:, :, ::3] = features
        return {
            "channels last": features.contiguous(memory_format=torch.channels_last),
            "transposed": features.mT.contiguous().mT,
            "every third column": wider[::2, 1:, :, ::3],
        }

    def test_any_strides(self, make_case: Case) -> None:
        features, labels = make_case(0, 2)
        loss = BottomUpLoss(target_gradient=True)
        expected = gradient(loss, features, labels)
        for layout, view in self.strided(features).items():
            assert not view.is_contiguous(), layout
            for map_ in (labels, labels.mT.contiguous().mT):
                torch.testing.assert_close(loss(view, map_), loss(features, labels))
                torch.testing.assert_close(gradient(loss, view, map_), expected)

    @pytest.mark.parametrize(
        "dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.bool]
    )
    def test_labels_of_any_integer_type(self, make_case: Case, dtype: torch.dtype) -> None:
        features, labels = make_case(0)
        labels = labels.clamp(0, 1 if dtype == torch.bool else 9)
        expected = BottomUpLoss()(features, labels)
        same_bits(BottomUpLoss()(features, labels.to(dtype)), expected)

    def test_input_is_left_alone(self, make_case: Case) -> None:
        features, labels = make_case(0)
        before = features.clone(), labels.clone()
        BottomUpLoss()(features, labels)
        assert torch.equal(features, before[0])
        assert torch.equal(labels, before[1])


class TestGradMode:
    def test_no_graph_without_requires_grad(self, make_case: Case) -> None:
        loss = BottomUpLoss(target_gradient=True, separate_terms=True)
        assert not any(term.requires_grad for term in loss(*make_case(0)))

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_no_graph_under_no_grad(self, make_case: Case, mode: Callable[[], Any]) -> None:
        features, labels = make_case(0)
        expected = BottomUpLoss()(features, labels)
        with mode():
            terms = BottomUpLoss(separate_terms=True)(features.requires_grad_(), labels)
        assert not any(term.requires_grad for term in terms)
        same_bits(terms, expected)


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0), (0, 1, 0, 0)])
@pytest.mark.parametrize("separate_terms", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_without_pixels_every_term_is_zero(
    shape: tuple[int, ...], separate_terms: bool, dtype: torch.dtype
) -> None:
    features = torch.zeros(shape, dtype=dtype, requires_grad=True)
    labels = torch.zeros(shape[0], *shape[2:], dtype=torch.int32)
    terms = BottomUpLoss(separate_terms=separate_terms)(features, labels)
    assert [term.item() for term in terms] == [0] * 7
    assert [term.requires_grad for term in terms] == [separate_terms] * 6 + [True]
    assert torch.autograd.grad(terms.total, features)[0].shape == shape


def test_labels_up_to_max_entities(make_case: Case) -> None:
    features, labels = make_case(0)
    labels[0, 0, 0] = 9
    expected = BottomUpLoss()(features, labels)
    same_bits(BottomUpLoss(max_entities=9)(features, labels), expected)
    with pytest.raises(InputError, match="labels go up to 9, but max_entities is 8"):
        BottomUpLoss(max_entities=8)(features, labels)


FEATURES = torch.ones(2, 3, 4, 5)
LABELS = torch.zeros(2, 4, 5, dtype=torch.int32)


def spoilt(value: float) -> Tensor:
    features = FEATURES.clone()
    features[1, 2, 3, 4] = value
    return features


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([[1.0]], "features must be a float tensor of 16, 32 or 64 bits, got list"),
        (FEATURES.int(), "features must be a float tensor .* got torch.int32"),
        (FEATURES.to(torch.complex64), "features must be a float tensor .* got torch.complex64"),
        (
            FEATURES.to(torch.float8_e5m2),
            "features must be a float tensor .* got torch.float8_e5m2",
        ),
        (FEATURES[0], r"features must be \(B, D, H, W\), got shape \(3, 4, 5\)"),
        (FEATURES[None], r"features must be \(B, D, H, W\), got shape \(1, 2, 3, 4, 5\)"),
        (FEATURES[:, :0], "features must have at least one dimension, got D = 0"),
        (spoilt(torch.nan), "features contain NaN or Inf"),
        (spoilt(torch.inf), "features contain NaN or Inf"),
        (spoilt(-torch.inf).half(), "features contain NaN or Inf"),
    ],
)
def test_bad_features(features: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        BottomUpLoss()(features, LABELS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0]], "labels must be an integer tensor, got list"),
        (LABELS.float(), "labels must be an integer tensor, got torch.float32"),
        (LABELS.to(torch.complex64), "labels must be an integer tensor, got torch.complex64"),
        (LABELS[0], r"labels must be \(2, 4, 5\) to fit features, got \(4, 5\)"),
        (LABELS.mT, r"labels must be \(2, 4, 5\) to fit features, got \(2, 5, 4\)"),
        (LABELS[:1], r"labels must be \(2, 4, 5\) to fit features, got \(1, 4, 5\)"),
        (LABELS.to("meta"), "labels are on meta, features on cpu"),
        (LABELS - 2, "labels must be at least -1, got -2"),
        (LABELS + 129, "labels go up to 129, but max_entities is 128"),
    ],
)
def test_bad_labels(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        BottomUpLoss()(FEATURES, labels)


@pytest.mark.parametrize("contrast_weight", [0.0, 1.0])
@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, "an integer in .*, got -1"),
        (2**63, f"an integer in .*, got {2**63}"),
        (0.5, "an integer in .*, got 0.5"),
        ("7", "an integer in .*, got 7"),
        (None, "an integer in .*, got None"),
        (torch.tensor(1), r"an integer in .* or a \(2,\) tensor of them"),
        (torch.tensor([1, 2, 3]), r"an integer in .* or a \(2,\) tensor of them"),
        (torch.tensor([1.0, 2.0]), r"an integer in .* or a \(2,\) tensor of them"),
        (torch.tensor([1, -2]), r"an integer in .* or a \(2,\) tensor of them"),
    ],
)
def test_bad_seed(seed: Any, message: str, contrast_weight: float) -> None:
    with pytest.raises(InputError, match=f"^seed must be {message}$"):
        BottomUpLoss(contrast_weight=contrast_weight)(FEATURES, LABELS, seed)


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_largest_seeds(seed: int) -> None:
    labels = torch.arange(40).view(2, 4, 5) % 3
    one = BottomUpLoss()(FEATURES, labels, seed)
    assert one.contrast > 0
    same_bits(BottomUpLoss()(FEATURES, labels, torch.tensor([seed, seed])), one)


@pytest.mark.parametrize("name", [name for name in LossTerms._fields if name != "total"])
@pytest.mark.parametrize("weight", [-0.1, float("inf"), float("nan")])
def test_bad_weights(name: str, weight: float) -> None:
    settings: dict[str, Any] = {f"{name}_weight": weight}
    message = f"^{name}_weight must be finite and not negative, got {weight}$"
    with pytest.raises(InputError, match=message):
        BottomUpLoss(**settings)


@pytest.mark.parametrize("name", ["max_entities", "contrast_queries", "contrast_negatives"])
@pytest.mark.parametrize("count", [0, -3])
def test_bad_counts(name: str, count: int) -> None:
    settings: dict[str, Any] = {name: count}
    with pytest.raises(InputError, match=f"^{name} must be at least 1, got {count}$"):
        BottomUpLoss(**settings)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("repulsion_normaliser", "'entities', 'pairs', 'sqrt-pairs'"),
        ("precision", "None, 'highest', 'fast'"),
        ("backend", "'auto', 'reference'"),
    ],
)
def test_bad_choices(name: str, allowed: str) -> None:
    settings: dict[str, Any] = {name: "other"}
    with pytest.raises(InputError, match=f"^{name} must be one of {allowed}, got 'other'$"):
        BottomUpLoss(**settings)
