"""The compiled ops: each with its Python signature, fake kernel and autograd in a file of its own.

So `torch.compile(fullgraph=True)`, export and meta tensors work with all of them.
"""

from bottomup_fast.ops.assign import assign
from bottomup_fast.ops.library import build_info

__all__ = ["assign", "build_info"]
