"""The compiled ops: each with its Python signature, fake kernel and autograd in a file of its own.

So `torch.compile(fullgraph=True)`, export and meta tensors work with all of them.
"""

from bottomup_fast.ops.assign import assign
from bottomup_fast.ops.library import build_info
from bottomup_fast.ops.losses import TERMS, contrast_samples, losses, target_lines

__all__ = ["TERMS", "assign", "build_info", "contrast_samples", "losses", "target_lines"]
