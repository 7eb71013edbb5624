from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tensorrt_rtx
import torch

from bottomup_fast.errors import InputError
from bottomup_fast.export import (
    EngineOptions,
    export_tensorrt,
    load_tensorrt,
    read_engine,
    tensorrt_network,
)
from bottomup_fast.export import tensorrt_engine as engines
from bottomup_fast.export.tensorrt_inspect import inspect_engine
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.registry import create_model
from bottomup_fast.settings import ModelSettings

Traced = Callable[..., bytes]
ADA = EngineOptions(compute_capability="8.9", library="tensorrt_rtx")


@pytest.fixture(autouse=True)
def _traced_once(
    request: pytest.FixtureRequest, traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(engines, "onnx_bytes", traced)


@pytest.fixture(scope="module")
def engine(
    network: BottomUpNetwork, traced: Traced, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, engines.Built]:
    path = tmp_path_factory.mktemp("engine") / "tiny.engine"
    options = EngineOptions((64, 90), 4, "8.9", library="tensorrt_rtx", verbose=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "onnx_bytes", traced)
        return path, export_tensorrt(network, path, options=options)


def test_the_file_holds_engine_and_description(
    engine: tuple[Path, engines.Built], network: BottomUpNetwork
) -> None:
    path, built = engine
    description, content = read_engine(path)
    assert content == built.engine
    assert description == built.description
    assert description.settings == network.settings
    assert description.precision == "float16"
    assert description.resolutions == (64, 96)
    assert description.runtime == f"tensorrt_rtx {tensorrt_rtx.__version__}"
    assert description.device == "cuda 8.9"


def test_one_profile_for_each_resolution(engine: tuple[Path, engines.Built]) -> None:
    log = "\n".join(engine[1].log)
    assert log.count("MinShape: [1,3,32,32], OptShape: [1,3,64,64], MaxShape: [4,3,64,64]") == 1
    assert log.count("MinShape: [1,3,32,32], OptShape: [1,3,96,96], MaxShape: [4,3,96,96]") == 1
    assert "MinShape: [1,2], OptShape: [1,2], MaxShape: [4,2]" in log


def test_layers_tell_what_is_fused_and_what_stays_float32(
    engine: tuple[Path, engines.Built],
) -> None:
    layers = inspect_engine(engine[1])
    assert {tuple(layer) for layer in layers} == {("layer", "kind", "precision", "operations")}
    convolutions = [layer for layer in layers if "Conv" in layer["operations"].split("+")]
    assert len(convolutions) > 20
    assert {layer["precision"] for layer in convolutions} == {"float16"}
    assert any(layer["operations"] == "Conv+Relu" for layer in convolutions)
    # The position code would be wrong by whole pixels in half precision.
    code = next(layer for layer in layers if "Cos" in layer["operations"].split("+"))
    assert code["precision"] == "float32"


def test_inspecting_needs_the_builders_words(engine: tuple[Path, engines.Built]) -> None:
    built = engine[1]
    with pytest.raises(InputError, match=r"inspect: .*build with verbose"):
        inspect_engine(engines.Built(built.engine, built.description))


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_other_precisions(
    network: BottomUpNetwork, tmp_path: Path, precision: engines.Precision
) -> None:
    options = EngineOptions((64,), 1, "8.9", library="tensorrt_rtx", verbose=True)
    built = export_tensorrt(network, tmp_path / "m.engine", precision=precision, options=options)
    layers = inspect_engine(built)
    convolutions = [layer for layer in layers if "Conv" in layer["operations"].split("+")]
    assert {layer["precision"] for layer in convolutions} == {precision}


@pytest.mark.slow
def test_the_bundled_model_at_any_size(bundled: BottomUpNetwork, tmp_path: Path) -> None:
    built = export_tensorrt(bundled, tmp_path / "model.engine", options=ADA)
    asked = bundled.settings.preprocessing.resolutions
    assert built.description.resolutions == (asked or engines.ANY_SIZE)
    assert len(built.engine) > 3_000_000


@pytest.mark.slow
def test_the_network_of_the_paper(tmp_path: Path) -> None:
    network = create_model("bottomup_convnext_base").eval()
    network.settings = ModelSettings.model_validate(
        {
            "name": "paper",
            "architecture": {"name": "bottomup_convnext_base", "feature_dim": 128},
            "preprocessing": {"resolutions": [256, 512]},
        }
    )
    options = EngineOptions(compute_capability="8.9", library="tensorrt_rtx", verbose=True)
    built = export_tensorrt(network, tmp_path / "paper.engine", options=options)
    assert built.description.resolutions == (256, 512)
    assert 150e6 < len(built.engine) < 400e6
    layers = inspect_engine(built)
    assert sum("float16" in layer["precision"] for layer in layers) > 0.9 * len(layers)


# Refusals, before anything is built


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (EngineOptions((96, 64), library="tensorrt_rtx"), "resolutions must be ascending"),
        (EngineOptions((9000,), library="tensorrt_rtx"), "multiples of 32 up to 8192"),
        (EngineOptions(max_batch=0, library="tensorrt_rtx"), "max_batch must be 1 to 64, got 0"),
        (
            EngineOptions(timing_cache=Path("cache"), library="tensorrt_rtx"),
            "timing_cache: tensorrt_rtx measures nothing",
        ),
        (
            EngineOptions(compute_capability="3.5", library="tensorrt_rtx"),
            r"compute_capability: 3\.5 is none of .*8\.9",
        ),
    ],
)
def test_impossible_options(
    network: BottomUpNetwork, tmp_path: Path, options: EngineOptions, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        export_tensorrt(network, tmp_path / "m.engine", options=options)
    assert not list(tmp_path.iterdir())


def test_what_the_parser_refuses(network: BottomUpNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "onnx_bytes", lambda *arguments: b"not a network")
    with pytest.raises(InputError, match="tensorrt_rtx: cannot parse the network: ") as error:
        engines.build(network, "float16", ADA)
    assert "\n" not in str(error.value)


def test_what_the_builder_refuses(
    network: BottomUpNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        engines, "_profile", lambda builder, *_: builder.create_optimization_profile()
    )
    with pytest.raises(InputError, match="tensorrt_rtx: the engine was not built: ERROR"):
        engines.build(network, "float32", ADA)


class Cache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"measured"


class Config:
    """The part of a builder's configuration that keeps what building measured."""

    def create_timing_cache(self, content: bytes) -> Cache:
        return Cache(content)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return not ignore_mismatch and not cache.content.startswith(b"foreign")

    def get_timing_cache(self) -> Cache:
        return self.cache


def test_a_timing_cache_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "timing.cache"
    for builds in (1, 2):
        with engines.timing_cache(Config(), path):
            pass
        assert path.read_bytes() == builds * b"measured"
    with engines.timing_cache(Config(), None):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_foreign_timing_cache_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "timing.cache"
    path.write_bytes(b"foreign")
    with (
        pytest.raises(InputError, match=r"timing\.cache: not a timing cache of this"),
        engines.timing_cache(Config(), path),
    ):
        raise AssertionError("built with it")
    assert path.read_bytes() == b"foreign"


def test_missing_libraries_are_one_line(
    network: BottomUpNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ImportError, match=r"^tensorrt is missing: pip install") as error:
        export_tensorrt(network, tmp_path / "m", options=EngineOptions(library="tensorrt"))
    assert "\n" not in str(error.value)
    assert engines.import_tensorrt()[1] == "tensorrt_rtx"
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(ImportError, match=r"^tensorrt or tensorrt_rtx is missing"):
        engines.import_tensorrt()


def test_the_server_library_builds_for_its_own_gpu(
    monkeypatch: pytest.MonkeyPatch, network: BottomUpNetwork
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_rtx)
    options = EngineOptions(compute_capability="8.9", library="tensorrt")
    with pytest.raises(
        InputError, match=r"^compute_capability: tensorrt builds for the GPU of this"
    ):
        engines.build(network, "float16", options)


def test_loading_needs_a_gpu(
    engine: tuple[Path, engines.Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"tiny\.engine: a TensorRT engine needs a GPU"):
        load_tensorrt(engine[0])


def test_an_unknown_library_is_not_imported(
    engine: tuple[Path, engines.Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = replace(engine[1].description, runtime="antigravity 1.0")
    monkeypatch.setattr(tensorrt_network, "read_engine", lambda path: (foreign, b""))
    with pytest.raises(InputError, match=r"tiny\.engine: metadata: unknown runtime 'antigravity'"):
        load_tensorrt(engine[0])
    assert "antigravity" not in sys.modules


def test_another_version_is_refused(
    engine: tuple[Path, engines.Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_rtx, "__version__", "9.9")
    with pytest.raises(InputError, match=r"tiny\.engine: built by tensorrt_rtx .*, this is 9\.9"):
        load_tensorrt(engine[0])
