from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._inductor.exc import InvalidCxxCompiler

from bottomup_fast import Segmenter
from bottomup_fast.errors import InputError
from bottomup_fast.export import Description, aoti, compare, export_aoti, load_aoti
from bottomup_fast.export.check import picture
from bottomup_fast.models.network import BottomUpNetwork

Make = Callable[..., BottomUpNetwork]


def test_it_segments_as_the_network_does(aoti_file: Path, network: BottomUpNetwork) -> None:
    loaded = load_aoti(aoti_file)
    comparison = compare(network, loaded)
    assert comparison.max_difference <= 1e-4
    assert comparison.differing_pixels == 0
    assert comparison.segments > 2
    image = (picture(90, 120) * 255).byte().permute(1, 2, 0).numpy()
    expected = Segmenter(network, "cpu", precision="highest").segment(image)
    np.testing.assert_array_equal(Segmenter(loaded, "cpu").segment(image).labels, expected.labels)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 32), (3, 64, 160)])
def test_any_batch_and_size(
    aoti_file: Path, network: BottomUpNetwork, batch: int, height: int, width: int
) -> None:
    image, origin = torch.rand(batch, 3, height, width), 30 * torch.rand(batch, 2)
    assert network.settings is not None
    mean = torch.tensor(network.settings.preprocessing.mean).view(3, 1, 1)
    std = torch.tensor(network.settings.preprocessing.std).view(3, 1, 1)
    features, logits = load_aoti(aoti_file).forward_with_foreground(image, origin)
    with torch.no_grad():
        expected, truth = network.forward_with_foreground((image - mean) / std, origin)
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(logits, truth, atol=1e-3, rtol=0)


def test_torchs_own_loader_takes_the_package(aoti_file: Path) -> None:
    package = torch._inductor.aoti_load_package(str(aoti_file))
    features, logits = package(torch.rand(1, 3, 64, 64), torch.zeros(1, 2))
    assert features.shape == (1, 6, 64, 64)
    assert logits.shape == (1, 64, 64)
    metadata = package.get_metadata()
    assert Description.from_metadata("package", metadata, "aoti").runtime == torch.__version__


@pytest.mark.slow
def test_the_bundled_model(bundled: BottomUpNetwork, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    export_aoti(bundled, path)
    comparison = compare(bundled, load_aoti(path))
    assert comparison.max_difference <= 1e-4
    assert comparison.differing_pixels == 0


def test_refused_settings(network: BottomUpNetwork, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m\.bin: an AOTInductor package must end in \.pt2"):
        export_aoti(network, tmp_path / "m.bin")
    with pytest.raises(InputError, match="device: AOTInductor packages are for cpu or cuda, got m"):
        export_aoti(network, tmp_path / "m.pt2", device="meta")
    with pytest.raises(InputError, match=r"multiples of 32 .* got 50"):
        export_aoti(network, tmp_path / "m.pt2", resolution=50)


def test_without_a_gpu(network: BottomUpNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device: compiling for cuda needs a GPU"):
        export_aoti(network, "m.pt2", device="cuda")


def test_packages_for_a_gpu(aoti_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = aoti._read_metadata
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(
        aoti, "_read_metadata", lambda name, content: read(name, content) | {"device": "cuda"}
    )
    with pytest.raises(InputError, match=r"tiny\.pt2: compiled for cuda, but torch finds no GPU"):
        load_aoti(aoti_file)


def test_without_a_compiler(
    network: BottomUpNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", missing)
    with pytest.raises(InputError, match="aoti: no C\\+\\+ compiler found"):
        export_aoti(network, tmp_path / "m.pt2")


def test_the_archive_is_whole(aoti_file: Path) -> None:
    with zipfile.ZipFile(aoti_file) as archive:
        assert archive.testzip() is None
        assert len(archive.comment) == 64
        names = [name for name in archive.namelist() if name.endswith("wrapper_metadata.json")]
        assert json.loads(archive.read(names[0]))["licence"] == "Apache-2.0"
