from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from bottomup_fast import Segmenter
from bottomup_fast.errors import InputError
from bottomup_fast.export import compare, export_onnx, load_onnx
from bottomup_fast.export.check import differing_pixels, picture
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.registry import create_model
from bottomup_fast.settings import ModelSettings

Make = Callable[..., BottomUpNetwork]


def shapes(values: object) -> dict[str, list[object]]:
    return {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in values  # type: ignore[attr-defined]
    }


def test_the_file_is_plain_onnx(onnx_file: Path) -> None:
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model)
    assert model.opset_import[0].version == 18
    inputs, outputs = shapes(model.graph.input), shapes(model.graph.output)
    assert [list(inputs), list(outputs)] == [
        ["image", "origin"],
        ["features", "foreground_logits"],
    ]
    assert inputs["image"][1] == 3
    assert all(isinstance(inputs["image"][axis], str) for axis in (0, 2, 3))
    assert outputs["features"][1] == 6
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["opset"] == "18"
    assert metadata["licence"] == "Apache-2.0"
    assert len(metadata["sha256"]) == 64


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 32), (3, 64, 160), (2, 96, 32)])
def test_any_batch_and_size(
    onnx_file: Path, network: BottomUpNetwork, batch: int, height: int, width: int
) -> None:
    session = onnxruntime.InferenceSession(onnx_file)
    image, origin = torch.rand(batch, 3, height, width), 30 * torch.rand(batch, 2)
    features, logits = session.run(None, {"image": image.numpy(), "origin": origin.numpy()})
    assert network.settings is not None
    mean = torch.tensor(network.settings.preprocessing.mean).view(3, 1, 1)
    std = torch.tensor(network.settings.preprocessing.std).view(3, 1, 1)
    with torch.no_grad():
        expected, truth = network.forward_with_foreground((image - mean) / std, origin)
    np.testing.assert_allclose(features, expected, atol=1e-4)
    np.testing.assert_allclose(logits, truth, atol=1e-3)


def test_it_segments_as_the_network_does(onnx_file: Path, network: BottomUpNetwork) -> None:
    loaded = load_onnx(onnx_file)
    comparison = compare(network, loaded)
    assert comparison.max_difference <= 1e-4
    assert comparison.differing_pixels == 0
    assert comparison.segments > 2
    image = (picture(90, 120) * 255).byte().permute(1, 2, 0).numpy()
    expected = Segmenter(network, "cpu", precision="highest").segment(image)  # at two resolutions
    found = Segmenter(loaded, "cpu").segment(image)
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["test_convnext", "test_resnet"])
def test_other_backbones_without_foreground_and_position(
    make_network: Make, tmp_path: Path, backbone: str
) -> None:
    network = make_network(backbone, foreground=False, position=False)
    export_onnx(network, tmp_path / "m.onnx")
    assert compare(network, load_onnx(tmp_path / "m.onnx", threads=1)).max_difference <= 1e-4
    model = onnx.load(tmp_path / "m.onnx")
    assert list(shapes(model.graph.input)) == ["image"]
    assert list(shapes(model.graph.output)) == ["features"]


@pytest.mark.slow
def test_half_precision_at_a_fixed_size(network: BottomUpNetwork, tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    export_onnx(network, path, precision="float16", resolution=96)
    model = onnx.load(path)
    assert shapes(model.graph.input)["image"][2:] == [96, 96]
    types = [weight.data_type for weight in model.graph.initializer if "decoder" in weight.name]
    assert types
    assert set(types) == {onnx.TensorProto.FLOAT16}
    floats = {
        value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)
    }
    assert floats == {onnx.TensorProto.FLOAT}
    loaded = load_onnx(path)
    comparison = compare(network, loaded)
    assert comparison.pixels == 96 * 96
    assert comparison.max_difference < 1e-2
    with pytest.raises(InputError, match="takes 96 at most"):
        Segmenter(loaded, "cpu", [128]).segment(np.zeros((128, 128), np.uint8))


def test_partitions_are_compared_whatever_their_numbers() -> None:
    labels = np.array([[1, 1, 2], [3, 3, 2]], np.int32)
    assert differing_pixels(labels, np.array([2, 3, 1], np.int32)[labels - 1]) == 0
    assert differing_pixels(labels, np.where(labels == 3, 0, labels).astype(np.int32)) == 0
    assert differing_pixels(labels, np.where(labels == 3, 1, labels).astype(np.int32)) == 2
    assert differing_pixels(labels, np.array([[1, 1, 2], [4, 3, 2]], np.int32)) == 1


def test_compare_sees_another_network(onnx_file: Path, make_network: Make) -> None:
    other = make_network()
    with torch.no_grad():
        other.decoder.output.bias.add_(0.01)
    with pytest.raises(
        InputError, match=r"exported onnx: features differ .* pixels change segment"
    ):
        compare(other, load_onnx(onnx_file))


@pytest.mark.slow
def test_the_bundled_model(bundled: BottomUpNetwork, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(bundled, path)
    loaded = load_onnx(path)
    comparison = compare(bundled, loaded)
    assert comparison.max_difference <= 1e-4
    assert comparison.differing_pixels == 0
    export_onnx(bundled, tmp_path / "half.onnx", precision="float16")
    half = compare(bundled, load_onnx(tmp_path / "half.onnx"))
    assert half.differing_pixels < 0.01 * half.pixels
    image = (picture(110, 130) * 255).byte().permute(1, 2, 0).numpy()
    expected = Segmenter(bundled, "cpu", precision="highest").segment(image)
    assert len(expected) > 5
    np.testing.assert_array_equal(Segmenter(loaded, "cpu").segment(image).labels, expected.labels)


@pytest.mark.slow
def test_the_network_of_the_paper(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create_model("bottomup_convnext_base").eval()
    network.settings = ModelSettings.model_validate(
        {
            "name": "paper",
            "architecture": {"name": "bottomup_convnext_base", "feature_dim": 128},
            "preprocessing": {"resolutions": [256, 512]},
        }
    )
    path = tmp_path / "paper.onnx"
    export_onnx(network, path)
    comparison = compare(network, load_onnx(path))
    assert comparison.max_difference <= 1e-4
    assert comparison.differing_pixels == 0


def test_refused_settings(network: BottomUpNetwork, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^precision: bfloat16"):
        export_onnx(network, tmp_path / "m.onnx", precision="bfloat16")
    with pytest.raises(InputError, match=r"multiples of 32 .* got 50"):
        export_onnx(network, tmp_path / "m.onnx", resolution=50)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_line(onnx_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"^onnxruntime is missing: pip install .*\[export\]"):
        load_onnx(onnx_file)
