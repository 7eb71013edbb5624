from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from bottomup_fast.clustering import assign_pixels
from bottomup_fast.errors import InputError
from bottomup_fast.export import export_onnx_assign


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path = tmp_path_factory.mktemp("assign") / "assign.onnx"
    export_onnx_assign(path, 7)
    return onnxruntime.InferenceSession(path)


@pytest.mark.parametrize("modes", [1, 2, 40])
def test_it_assigns_as_the_package_does(session: onnxruntime.InferenceSession, modes: int) -> None:
    generator = torch.Generator().manual_seed(modes)
    features = torch.randn(2, 7, 9, 14, generator=generator)
    lines = torch.nn.functional.normalize(torch.randn(modes, 7, generator=generator))
    feed = {"features": features.numpy(), "modes": 3 * lines.numpy()}
    labels, cosine = session.run(None, feed)
    assert labels.dtype == np.int32
    mask = torch.ones(9, 14, dtype=torch.bool)
    for image in range(2):
        index, expected = assign_pixels(features[image], lines, mask)
        np.testing.assert_array_equal(labels[image], index + 1)
        np.testing.assert_allclose(cosine[image], expected, atol=1e-6)


def test_sign_length_and_zero(session: onnxruntime.InferenceSession) -> None:
    modes = np.eye(2, 7, dtype=np.float32)
    features = np.zeros((1, 7, 1, 4), np.float32)
    features[0, 1, 0, 0] = -1e-6
    features[0, 0, 0, 1] = 1e6
    features[0, :2, 0, 2] = 1  # as near to one as to the other
    labels, cosine = session.run(None, {"features": features, "modes": modes})
    assert labels.tolist() == [[[2, 1, 1, 1]]]
    np.testing.assert_allclose(cosine, [[[1, 1, 0.5**0.5, 0]]], atol=1e-6)


def test_impossible_dimension(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="feature_dim must be at least 1, got 0"):
        export_onnx_assign(tmp_path / "a.onnx", 0)
