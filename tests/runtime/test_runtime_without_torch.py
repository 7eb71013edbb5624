"""What the runtime imports: numpy, and onnxruntime for models."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        allowed = ("bottomup_fast", "numpy", *sys.stdlib_module_names)
        if name.partition(".")[0] not in allowed and "editable" not in name:
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Refuse())
import numpy as np
from bottomup_fast import runtime

features = np.random.default_rng(0).standard_normal((4, 20, 30)).astype(np.float32)
labels = runtime.cluster(features)
runtime.refine(labels, [(labels[:9, :9], (0, 0, 9, 9))])
settings = '''{"name": "test", "architecture": {"name": "none", "feature_dim": 3},
               "preprocessing": {"scale": 1.0}}'''
segmenter = runtime.Segmenter(lambda image, y, x: (image, None), settings)
segmenter.segment(np.arange(300, dtype=np.uint8).reshape(10, 10, 3))
assert "torch" not in sys.modules
print("ok")
"""


def test_numpy_alone_is_enough() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.stdout == "ok\n", done.stderr
