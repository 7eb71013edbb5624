from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.position import REACH, PositionCode, ScaledPositionCode
from bottomup_fast.models.registry import create_model


def codes(dim: int, scale: float, height: int, width: int, origin: Tensor | None = None) -> Tensor:
    """Unit codes of pixels that point to themselves, (D, H, W)."""
    return PositionCode(dim, scale)(torch.zeros(1, 2, height, width), origin)[0]


@pytest.mark.parametrize(("dim", "tolerance"), [(32, 0.3), (128, 0.1)])
def test_cosines_fall_with_distance_as_a_gaussian_does(dim: int, tolerance: float) -> None:
    scale = 10.0
    code = codes(dim, scale, 101, 101)
    y, x = torch.meshgrid(torch.arange(101) - 50, torch.arange(101) - 50, indexing="ij")
    expected = torch.exp(-(y**2 + x**2) / (2 * scale**2))
    cosine = torch.einsum("dhw,d->hw", code, code[:, 50, 50])
    assert (cosine - expected).abs().max() < tolerance


def test_no_two_far_places_of_an_image_share_a_window_of_mean_shift() -> None:
    code = codes(32, 10.0, 512, 512)
    y, x = torch.meshgrid(torch.arange(512) - 250, torch.arange(512) - 250, indexing="ij")
    far = y**2 + x**2 > 24**2
    cosine = torch.einsum("dhw,d->hw", code, code[:, 250, 250])
    assert cosine[far].abs().max() < math.cos(math.radians(45))


def test_pixels_that_point_to_one_place_share_its_code() -> None:
    code = PositionCode(16, 5.0)
    displacement = torch.stack(
        torch.meshgrid(3.0 - torch.arange(8), 2.0 - torch.arange(9), indexing="ij")
    )
    reach = REACH * code.scale
    result = code(REACH * torch.atanh(displacement.unsqueeze(0) / reach), None)
    torch.testing.assert_close(result, result[..., :1, :1].expand_as(result))
    itself = code(torch.zeros(1, 2, 8, 9), None)
    torch.testing.assert_close(result[..., 0, 0], itself[..., 3, 2])


def test_no_pixel_points_farther_than_the_reach() -> None:
    code, far = PositionCode(16, 4.0), torch.tensor([1e3, 0.0]).view(1, 2, 1, 1)
    at_reach = code(torch.zeros(1, 2, 1, 1), torch.tensor([[REACH * 4.0, 0.0]]))
    torch.testing.assert_close(code(far, None), at_reach)


def test_a_tile_has_the_codes_of_its_place_in_the_whole() -> None:
    whole = codes(17, 8.0, 40, 50)
    part = codes(17, 8.0, 12, 20, torch.tensor([[7.0, 30.0]]))
    torch.testing.assert_close(part, whole[:, 7:19, 30:50], atol=1e-5, rtol=0)


def test_features_have_unit_length_and_an_odd_dimension_stays_zero() -> None:
    result = PositionCode(5, 8.0)(torch.randn(2, 2, 3, 4), None)
    torch.testing.assert_close(result.norm(dim=1), torch.ones(2, 3, 4))
    assert (result[:, 4] == 0).all()
    assert (result[:, :4] != 0).all()
    assert (PositionCode(1, 8.0)(torch.zeros(1, 2, 3, 4), None) == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_round_positions(dtype: torch.dtype) -> None:
    code, origin = PositionCode(8, 10.0), torch.tensor([[0.0, 5000.0]])
    displacement = torch.zeros(1, 2, 2, 300)
    assert torch.equal(code(displacement.to(dtype), origin), code(displacement, origin))


@torch.no_grad()
def test_positions_reach_the_features(network: BottomUpNetwork) -> None:
    images = torch.randn(1, 3, 32, 32).expand(2, -1, -1, -1)
    origin = torch.tensor([[0.0, 0.0], [8.0, 20.0]])
    here, there = network(images, origin)
    assert torch.equal(here, network(images)[0])
    assert (here - there).abs().max() > 1e-3
    plain = create_model("bottomup_efficientnet_lite0", 16).eval()
    here, there = plain(images, origin)
    assert torch.equal(here, there)


def test_the_place_pointed_to_is_learnt() -> None:
    network = create_model("bottomup_efficientnet_lite0", 16, position_scale=10.0)
    network(torch.randn(2, 3, 64, 64)).sum().backward()
    assert network.decoder.output.weight.grad is not None
    assert (network.decoder.output.weight.grad != 0).any()


SMALLEST, LARGEST = 5.0, 80.0
WINDOW = math.cos(math.radians(45))


def scaled_codes(scale: float, height: int, width: int, origin: Tensor | None = None) -> Tensor:
    """Unit codes of pixels that point to themselves at a scale, (D, H, W)."""
    rank = math.log(scale / SMALLEST) / math.log(LARGEST / SMALLEST)
    anchor = torch.zeros(1, 3, height, width)
    anchor[:, 2] = math.atanh(max(-1 + 1e-7, min(1 - 1e-7, 2 * rank - 1)))
    return ScaledPositionCode(48, SMALLEST, LARGEST)(anchor, origin)[0]


@pytest.mark.parametrize("scale", [5.0, 8.0, 20.0, 45.0, 80.0])
def test_the_window_is_as_wide_as_the_scale_says(scale: float) -> None:
    code = scaled_codes(scale, 321, 321)
    cosine = torch.einsum("dhw,d->hw", code, code[:, 160, 160]).abs()
    y, x = torch.meshgrid(torch.arange(321) - 160, torch.arange(321) - 160, indexing="ij")
    distance = (y**2 + x**2).sqrt() / scale
    assert (cosine[distance < 0.5] > WINDOW).all()
    assert (cosine[distance > 1.2] < WINDOW).all()


@pytest.mark.parametrize("scale", [8.0, 12.0, 20.0])
def test_scales_are_told_apart_by_their_ratio(scale: float) -> None:
    here = scaled_codes(scale, 1, 1)[:, 0, 0]
    assert here @ scaled_codes(1.8 * scale, 1, 1)[:, 0, 0] > WINDOW
    assert here @ scaled_codes(3.5 * scale, 1, 1)[:, 0, 0] < WINDOW


def test_pixels_that_point_to_one_place_share_its_scaled_code() -> None:
    code = ScaledPositionCode(32, SMALLEST, LARGEST)
    reach, mean = REACH * LARGEST, math.sqrt(SMALLEST * LARGEST)
    displacement = torch.stack(
        torch.meshgrid(30.0 - torch.arange(8), 20.0 - torch.arange(9), indexing="ij")
    )
    anchor = torch.full((1, 3, 8, 9), 0.3)
    anchor[0, :2] = torch.atanh(displacement / reach) * reach / mean
    result = code(anchor, None)
    torch.testing.assert_close(result, result[..., :1, :1].expand_as(result), atol=1e-4, rtol=0)


def test_a_tile_has_the_scaled_codes_of_its_place_in_the_whole() -> None:
    whole = scaled_codes(12.0, 40, 50)
    part = scaled_codes(12.0, 12, 20, torch.tensor([[7.0, 30.0]]))
    torch.testing.assert_close(part, whole[:, 7:19, 30:50], atol=1e-5, rtol=0)


def test_scaled_codes_have_unit_length_and_left_over_dimensions_stay_zero() -> None:
    result = ScaledPositionCode(21, 4.0, 30.0)(3 * torch.randn(2, 3, 5, 4), None)
    assert result.shape == (2, 21, 5, 4)
    torch.testing.assert_close(result.norm(dim=1), torch.ones(2, 5, 4))
    assert (result[:, 16:] == 0).all()


def test_gradients_are_finite_where_the_shortest_waves_vanish() -> None:
    anchor = torch.full((1, 3, 2, 2), 9.0, requires_grad=True)
    ScaledPositionCode(56, 5.0, 160.0)(anchor, None)[0, 0].sum().backward()
    assert anchor.grad is not None
    assert anchor.grad.isfinite().all()


def test_place_and_scale_are_learnt() -> None:
    network = create_model("bottomup_efficientnet_lite0", 24, position_scale=4, largest_scale=32)
    features = network(torch.randn(2, 3, 64, 64))
    assert features.shape == (2, 24, 64, 64)
    (features * torch.randn_like(features)).sum().backward()
    gradient = network.decoder.output.weight.grad
    assert gradient is not None
    assert (gradient != 0).any(1).all()


@pytest.mark.parametrize("largest", [None, 60.0])
@pytest.mark.parametrize("shape", [(2, 40, 300), (1, 3, 9000), (1, 1, 1)])
def test_features_computed_in_strips_are_those_computed_at_once(
    largest: float | None, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    network = BottomUpNetwork(
        "mobilenetv3_small_050", 16, 20, position_scale=10.0, largest_scale=largest
    ).eval()
    batch, height, width = shape
    described = torch.randn(batch, network.described, height, width)
    for origin in (None, torch.tensor([[5.0, 7.0]]).expand(batch, 2)):
        assert network.position is not None
        expected = torch.tanh(network.position(described, origin))
        with torch.no_grad():
            found = network._features(described, origin)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
