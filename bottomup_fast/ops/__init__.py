"""The compiled ops: each with its Python signature, fake kernel and autograd in a file of its own.

So `torch.compile(fullgraph=True)`, export and meta tensors work with all of them.
"""

from bottomup_fast.ops.assign import assign
from bottomup_fast.ops.cluster import Clusters, cluster
from bottomup_fast.ops.cluster_regions import cluster_regions
from bottomup_fast.ops.library import build_info
from bottomup_fast.ops.losses import TERMS, contrast_samples, losses, target_lines
from bottomup_fast.ops.mean_shift import mean_shift
from bottomup_fast.ops.merging import join_fragments, pieces, refine, segment_scores

__all__ = [
    "TERMS",
    "Clusters",
    "assign",
    "build_info",
    "cluster",
    "cluster_regions",
    "contrast_samples",
    "join_fragments",
    "losses",
    "mean_shift",
    "pieces",
    "refine",
    "segment_scores",
    "target_lines",
]
