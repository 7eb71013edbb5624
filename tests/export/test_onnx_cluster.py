from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from random_models import tiny_settings

import bottomup_fast as bf
from bottomup_fast import Segmenter
from bottomup_fast.errors import InputError
from bottomup_fast.export import cluster_op, load_onnx, load_onnx_labels, register_cluster
from bottomup_fast.export import onnx_labels as onnx_labels_module
from bottomup_fast.export.check import picture
from bottomup_fast.export.onnx_cluster import (
    add_clustering,
    cluster_outputs,
    take_clustering,
)
from bottomup_fast.export.onnx_format import CHECKSUM_ENTRY, has_clustering
from bottomup_fast.export.onnx_labels import differing_labels
from bottomup_fast.export.seal import DIGEST, seal
from bottomup_fast.models.network import BottomUpNetwork


@pytest.fixture(scope="module")
def clustered_file(network: BottomUpNetwork, onnx_file: Path, tmp_path_factory: Any) -> Path:
    """The file of `onnx_file` with clustering."""
    assert network.settings is not None
    path = tmp_path_factory.mktemp("cluster") / "tiny.onnx"
    settings = network.settings.clustering.model_dump()
    path.write_bytes(clustered(onnx_file, settings))
    return path


def clustered(onnx_file: Path, settings: dict[str, Any]) -> bytes:
    """What `export_onnx` makes of the network of `onnx_file`, which takes seconds to trace."""
    plain = onnx_file.read_bytes()[: -DIGEST - len(CHECKSUM_ENTRY)]
    return seal(add_clustering(plain, settings) + CHECKSUM_ENTRY)


def node_alone(features: np.ndarray, logits: np.ndarray | None = None, **settings: Any) -> Any:
    """The operator's node in a graph of its own."""
    register_cluster()
    helper, kind = onnx.helper, onnx.TensorProto
    feeds = {"features": features} | ({} if logits is None else {"logits": logits})
    graph = helper.make_graph(
        [helper.make_node("Cluster", list(feeds), ["labels"], domain="bottomup", **settings)],
        "alone",
        [helper.make_tensor_value_info(k, kind.FLOAT, v.shape) for k, v in feeds.items()],
        [helper.make_tensor_value_info("labels", kind.INT32, [None] * 3)],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("bottomup", 1)]
    model = helper.make_model(graph, opset_imports=imports)
    onnx.checker.check_model(model, full_check=True)
    return ReferenceEvaluator(model, new_ops=[cluster_op()]).run(None, feeds)[0]


def test_the_schema_says_what_it_takes() -> None:
    register_cluster()
    register_cluster()
    schema = onnx.defs.get_schema("Cluster", 1, "bottomup")
    assert [value.name for value in schema.inputs] == ["features", "foreground_logits"]
    assert schema.min_input == 1
    assert set(schema.attributes) == set(tiny_settings().clustering.model_dump())
    defaults = tiny_settings().clustering.model_dump()
    for name, attribute in schema.attributes.items():
        default = onnx.helper.get_attribute_value(attribute.default_value)
        assert (default.decode() if isinstance(default, bytes) else default) == defaults[name]


def test_shapes_are_inferred() -> None:
    register_cluster()
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18, "bottomup" : 1]>
        g (float[batch, 8, height, 64] features) => (int32[a, b, c] out) {
            labels = bottomup.Cluster <bandwidth_deg = 30.0> (features)
            out = Identity (labels)
        }"""
    )
    (labels,) = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.value_info
    kind = labels.type.tensor_type
    assert kind.elem_type == onnx.TensorProto.INT32
    assert [size.dim_param or size.dim_value for size in kind.shape.dim] == ["batch", "height", 64]
    model.graph.input[0].type.tensor_type.shape.dim.pop()
    with pytest.raises(onnx.shape_inference.InferenceError, match=r"features must have shape"):
        onnx.shape_inference.infer_shapes(model, strict_mode=True)


@pytest.mark.parametrize("attribute", ["width = 3.0", 'bandwidth_deg = "wide"'])
def test_the_checker_knows_the_attributes(attribute: str) -> None:
    register_cluster()
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 18, "bottomup" : 1]>
        g (float[1, 8, 4, 4] features) => (int32[1, 4, 4] labels) {{
            labels = bottomup.Cluster <{attribute}> (features)
        }}"""
    )
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)


def test_the_node_clusters_as_the_package_does() -> None:
    features = torch.randn(2, 5, 20, 30, generator=torch.Generator().manual_seed(0))
    features[:, :, 4:] += 3 * torch.randn(2, 5, 1, 1, generator=torch.Generator().manual_seed(1))
    expected = bf.cluster(features, 30.0, min_support=4)
    labels = node_alone(features.numpy(), bandwidth_deg=30.0, min_support=4)
    assert labels.dtype == np.int32
    assert expected.max() > 2
    np.testing.assert_array_equal(labels, expected)


def test_background_has_no_label() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, 4, 12, 16)).astype(np.float32)
    logits = rng.normal(size=(1, 12, 16)).astype(np.float32)
    mask = torch.sigmoid(torch.from_numpy(logits)) > 0.7
    expected = bf.cluster(torch.from_numpy(features), mask=mask)
    labels = node_alone(features, logits, foreground_threshold=0.7)
    np.testing.assert_array_equal(labels, expected)


def test_the_file_is_checked_onnx(clustered_file: Path, onnx_file: Path) -> None:
    model = onnx.load(clustered_file)
    onnx.checker.check_model(model, full_check=True)
    assert {each.domain: each.version for each in model.opset_import} == {"": 18, "bottomup": 1}
    assert model.graph.node[-1].op_type == "Cluster"
    assert [value.name for value in model.graph.output] == [
        "features",
        "foreground_logits",
        "labels",
    ]
    content = clustered_file.read_bytes()
    assert has_clustering(content)
    assert not has_clustering(onnx_file.read_bytes())
    plain, _ = take_clustering(content)
    assert not has_clustering(plain)
    onnxruntime.InferenceSession(plain, providers=["CPUExecutionProvider"])


def test_the_whole_file_gives_the_models_labels(
    clustered_file: Path, network: BottomUpNetwork
) -> None:
    image = picture(64, 96)
    feed = {"image": image[None].numpy(), "origin": np.zeros((1, 2), np.float32)}
    evaluator = ReferenceEvaluator(onnx.load(clustered_file), new_ops=[cluster_op()])
    (labels,) = evaluator.run(["labels"], feed)
    pixels = (image * 65535).round().numpy().astype(np.uint16).transpose(1, 2, 0)
    expected = Segmenter(network, "cpu", scale=1.0, precision="highest").segment(pixels).labels
    assert expected.max() > 2
    np.testing.assert_array_equal(labels[0], expected)


@pytest.mark.parametrize("change", [{}, {"by_region": True, "split_components": True}])
def test_network_in_onnxruntime_and_labels_in_cpp(
    onnx_file: Path, network: BottomUpNetwork, tmp_path: Path, change: dict[str, Any]
) -> None:
    assert network.settings is not None
    settings = network.settings.clustering.model_copy(
        update={"foreground_threshold": 0.3, "min_area": 20, **change}
    )
    path = tmp_path / "tiny.onnx"
    path.write_bytes(clustered(onnx_file, settings.model_dump()))
    loaded = load_onnx(path)
    loaded.settings = loaded.settings.model_copy(update={"clustering": settings})
    assert differing_labels(path, loaded) == 0
    images = torch.stack([picture(64, 96), picture(64, 96).flip(1)]).numpy()
    labels = load_onnx_labels(path, threads=1)(images)
    assert labels.shape == (2, 64, 96)
    assert labels.max() > 2
    np.testing.assert_array_equal(labels[1], load_onnx_labels(path)(images[1:])[0])


def test_labels_that_differ_are_counted(
    clustered_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = np.full((1, 160, 96), -1, np.int32)
    monkeypatch.setattr(onnx_labels_module, "cluster_outputs", lambda *_, **__: wrong)
    assert differing_labels(clustered_file, load_onnx(clustered_file)) == 160 * 96


def test_a_file_without_clustering_has_no_labels(onnx_file: Path) -> None:
    with pytest.raises(InputError, match=r"tiny.onnx: has no clustering; export it --with-cluster"):
        load_onnx_labels(onnx_file)


@pytest.mark.parametrize(
    ("features", "logits", "settings", "problem"),
    [
        ((8, 8, 8), None, {}, r"^features must have shape \(B, D, H, W\)"),
        ((1, 8, 8, 8), (1, 8, 9), {}, r"^foreground_logits must have shape \(1, 8, 8\)"),
        ((1, 8, 8, 8), None, {"bandwidth_deg": 60.0}, "bandwidth_deg"),
        ((1, 8, 8, 8), None, {"min_support": 0}, "min_support"),
        ((1, 8, 8, 8), None, {"by_region": 1}, "by_region"),
    ],
)
def test_what_is_refused(features: Any, logits: Any, settings: Any, problem: str) -> None:
    given = None if logits is None else np.zeros(logits, np.float32)
    with pytest.raises(InputError, match=problem):
        cluster_outputs(np.ones(features, np.float32), given, **settings)


WITHOUT_TORCH = """
import sys
import numpy as np
import onnx
from bottomup_fast.export import load_onnx_labels

labels = load_onnx_labels(sys.argv[1])(np.random.default_rng(0).random((1, 3, 32, 64), np.float32))
assert labels.shape == (1, 32, 64)
assert "torch" not in sys.modules
"""


def test_it_needs_no_torch(clustered_file: Path) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, clustered_file], check=True)
