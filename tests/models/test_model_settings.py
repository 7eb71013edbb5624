from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bottomup_fast.preprocessing import to_unit_range
from bottomup_fast.settings import ClusteringSettings, ModelSettings, PreprocessingSettings


def test_settings_survive_json(settings: ModelSettings) -> None:
    assert ModelSettings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_are_immutable(settings: ModelSettings) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings.name = "other"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "give either scale or resolutions"),
        ({"scale": 1, "resolutions": [64]}, "give either scale or resolutions"),
        ({"resolutions": [128, 64]}, "resolutions must be ascending"),
        ({"resolutions": [64, 64]}, "resolutions must be ascending"),
        ({"resolutions": [16]}, "greater than or equal to 32"),
        ({"resolutions": [1 << 21]}, "less than or equal to 1048576"),
        ({"scale": 1001}, "less than or equal to 1000"),
        ({"scale": 0}, "greater than 0"),
        ({"scale": 1, "std": [1, 0, 1]}, "greater than 0"),
        ({"scale": 1, "mean": [float("nan"), 0, 0]}, "finite number"),
        ({"scale": float("inf")}, "finite number"),
        ({"scale": 1, "low_percentile": 50, "high_percentile": 50}, "must be below"),
        ({"scale": 1, "patch_overlap": 1}, "less than 1"),
        ({"scale": 1, "joining_diameter": 9}, "joining_diameter needs resolutions"),
        ({"resolutions": [32, 64], "joining_diameter": 0}, "greater than 0"),
        ({"scale": 1, "normalization": "range"}, "Extra inputs"),
    ],
)
def test_preprocessing_out_of_range_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        PreprocessingSettings.model_validate(values)


def test_wider_bandwidths_than_45_degrees_are_refused() -> None:
    assert ClusteringSettings().bandwidth_deg == 45
    with pytest.raises(ValidationError, match="less than or equal to 45"):
        ClusteringSettings(bandwidth_deg=45.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_range_divides_by_the_types_largest_value(dtype: type[np.uint8 | np.uint16]) -> None:
    image: Any = np.zeros((2, 3, 3), dtype)
    image[0, 0, 0] = np.iinfo(dtype).max
    unit = to_unit_range(image, PreprocessingSettings(scale=1))
    assert unit.dtype == np.float32
    assert unit[0, 0, 0] == 1
    assert unit.sum() == 1


def test_percentiles_ignore_the_overall_brightness() -> None:
    settings = PreprocessingSettings(scale=1, normalisation="percentile")
    image = np.random.default_rng(0).integers(0, 60, (40, 40, 3)).astype(np.uint8)
    dark, bright = (to_unit_range(part, settings) for part in (image, 3 * image + 20))
    np.testing.assert_allclose(dark, bright, atol=1e-6)
    assert dark.min() == 0
    assert dark.max() == 1
