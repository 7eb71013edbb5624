from __future__ import annotations

import pytest

from bottomup_fast.errors import InputError
from bottomup_fast.export import Description
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.settings import ModelSettings


@pytest.fixture
def description(network: BottomUpNetwork) -> Description:
    assert network.settings is not None
    return Description(network.settings, "aoti", "float16", (64,), "2.11.0", "cpu")


def test_round_trip(description: Description) -> None:
    metadata = description.to_metadata()
    assert Description.from_metadata("f", metadata, "aoti") == description


def test_what_other_programs_read(description: Description) -> None:
    metadata = description.to_metadata()
    assert ModelSettings.model_validate_json(metadata["bottomup_fast"]) == description.settings
    expected = {
        "layout": "1",
        "format": "aoti",
        "precision": "float16",
        "fixed_resolutions": "64",
        "resolutions": "64,96",
        "feature_dim": "6",
        "foreground": "true",
        "position_code": "true",
        "bandwidth_deg": "45.0",
        "colour_order": "RGB",
        "input_range": "[0, 1]",
        "intensity": "range",
        "normalisation": "inside",
        "mean": "0.4,0.5,0.6",
        "std": "0.2,0.3,0.4",
        "licence": "Apache-2.0",
    }
    assert {key: metadata[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bottomup_fast": None}, "no metadata of `bottomup export`"),
        ({"layout": None}, "no metadata of `bottomup export`"),
        ({"layout": "2"}, "written in layout 2, this version reads 1; export the model again"),
        ({"format": "onnx"}, "an export to onnx, not to aoti"),
        ({"bottomup_fast": "{"}, "metadata: settings"),
        ({"bottomup_fast": '{"name": 3}'}, "metadata: settings.name"),
        ({"precision": "int4"}, "unknown precision int4"),
        ({"precision": None}, "'precision' is missing"),
        ({"device": None}, "'device' is missing"),
        ({"fixed_resolutions": "a"}, "invalid literal"),
    ],
)
def test_bad_metadata_is_refused(
    description: Description, change: dict[str, str | None], problem: str
) -> None:
    metadata = {**description.to_metadata(), **change}
    kept = {key: value for key, value in metadata.items() if value is not None}
    with pytest.raises(InputError, match=problem) as error:
        Description.from_metadata("model.pt2", kept, "aoti")
    assert str(error.value).startswith("model.pt2: ")
    assert "\n" not in str(error.value)
