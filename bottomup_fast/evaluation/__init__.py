"""How good a partition is: the paper's measures, average precision, F1 and Table 5's figures."""

from bottomup_fast.evaluation.average_precision import average_precision
from bottomup_fast.evaluation.f1 import f1_score
from bottomup_fast.evaluation.masks import Masks
from bottomup_fast.evaluation.panoptic import PanopticQuality, panoptic_quality
from bottomup_fast.evaluation.report import DatasetReport
from bottomup_fast.evaluation.segments import (
    SegmentMetrics,
    evaluate_segments,
    relative_improvement,
)
from bottomup_fast.evaluation.separation import Separation, separation
from bottomup_fast.evaluation.tables import format_table

__all__ = [
    "DatasetReport",
    "Masks",
    "PanopticQuality",
    "SegmentMetrics",
    "Separation",
    "average_precision",
    "evaluate_segments",
    "f1_score",
    "format_table",
    "panoptic_quality",
    "relative_improvement",
    "separation",
]
