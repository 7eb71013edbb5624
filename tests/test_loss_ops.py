"""The compiled losses against plain torch in float64, and their invariances."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loss_cases import Case, blocks, fused_losses, near_kinks, near_thresholds, plain_losses
from torch import Tensor

from bottomup_fast import BottomUpLoss, ops, target_lines
from bottomup_fast.losses import LossTerms
from bottomup_fast.reference.lines import target_lines as reference_lines


def loss_of(case: Case, **arguments: object) -> tuple[LossTerms, Tensor]:
    features, labels = case
    features = features.detach().requires_grad_()
    arguments = {"contrast_queries": 20, "contrast_negatives": 30, **arguments}
    terms = BottomUpLoss(**arguments)(features, labels, seed=3)  # type: ignore[arg-type]
    return terms, torch.autograd.grad(terms.total, features)[0]


def check(case: Case, tolerance: float = 1e-5, **arguments: object) -> None:
    terms, gradient = loss_of(case, **arguments)
    expected, exact = loss_of((case[0].double(), case[1]), backend="reference", **arguments)
    for name, value in expected._asdict().items():
        actual = getattr(terms, name)
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual.double(), value, atol=1e-6, rtol=1e-5, msg=name)
    assert gradient.dtype == case[0].dtype
    assert (gradient - exact).norm() <= tolerance * exact.norm() + 1e-12


def same(first: tuple[LossTerms, Tensor], second: tuple[LossTerms, Tensor]) -> bool:
    terms = zip(first[0], second[0], strict=True)
    return all(torch.equal(a, b) for a, b in terms) and torch.equal(first[1], second[1])


@pytest.mark.parametrize("dim", [8, 15, 16, 17, 128])
@pytest.mark.parametrize("shape", [(40, 72), (64, 64), (65, 63), (131, 70), (9, 200)])
def test_agrees_with_plain_torch_in_float64(dim: int, shape: tuple[int, int]) -> None:
    check(blocks(0, 1 if dim == 128 else 2, dim, shape))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 3),
    dim=st.integers(2, 24),
    height=st.integers(4, 70),
    width=st.integers(4, 70),
    entities=st.integers(0, 9),
)
def test_agrees_at_any_size(
    seed: int, batch: int, dim: int, height: int, width: int, entities: int
) -> None:
    features, labels = blocks(seed, batch, dim, (height, width), entities)
    targets = ops.target_lines(features, labels, entities)
    assume(not near_thresholds(targets))
    terms, gradient = fused_losses(features, labels, targets)
    expected, exact = plain_losses(features.double(), labels, targets)
    torch.testing.assert_close(terms.double(), expected, atol=1e-6, rtol=1e-5)
    smooth = ~near_kinks(features.double(), labels, targets.double()).unsqueeze(1)
    assert ((gradient - exact) * smooth).norm() <= 1e-5 * exact.norm() + 1e-12


@pytest.mark.parametrize(
    "arguments",
    [
        {"repulsion_normaliser": "pairs"},
        {"repulsion_normaliser": "sqrt-pairs"},
        {"contrast_weight": 0.0},
        {"contrast_weight": 3.0, "norm_weight": 0.0, "segment_gradient_weight": 2.0},
        {"max_entities": 6},
    ],
)
def test_every_setting_counts(arguments: dict[str, object]) -> None:
    check(blocks(1), **arguments)


def test_more_entities_than_dimensions_leave_out_the_segment_space() -> None:
    case = blocks(2, dim=4, entities=9)
    assert loss_of(case)[0].segment_mse == 0
    check(case)


@pytest.mark.parametrize(
    "labels",
    [
        torch.full((2, 40, 72), -1),
        torch.zeros(2, 40, 72),
        torch.ones(2, 40, 72),
        torch.tensor([[-1.0, 3.0], [0.0, 1.0]]).repeat(2, 20, 36),
    ],
)
def test_maps_without_pairs(labels: Tensor) -> None:
    check((blocks(3)[0], labels.int()))


@pytest.mark.parametrize("shape", [(0, 16, 4, 5), (2, 16, 0, 5), (2, 16, 4, 0)])
def test_nothing_gives_zeros(shape: tuple[int, int, int, int]) -> None:
    features = torch.zeros(shape)
    terms, gradient = loss_of((features, torch.zeros(shape[0], *shape[2:], dtype=torch.int32)))
    assert all(term == 0 for term in terms)
    assert gradient.shape == features.shape


def test_zero_and_tiny_features() -> None:
    features, labels = blocks(4)
    features[:, :, :5] = 0
    features[:, :, 5:10] *= 1e-9
    check((features, labels), contrast_weight=0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_gradient_only(dtype: torch.dtype) -> None:
    features, labels = blocks(5)
    features = features.to(dtype)
    arguments = {"contrast_weight": 0.0, "precision": "highest"}
    terms, gradient = loss_of((features, labels), **arguments)
    expected, exact = loss_of((features.float(), labels), **arguments)
    assert all(torch.equal(a, b) for a, b in zip(terms, expected, strict=True))
    assert torch.equal(gradient, exact.to(dtype))


LAYOUTS = {
    "channels-last": lambda f: f.contiguous(memory_format=torch.channels_last),
    "channels of a wider map": lambda f: torch.cat([f, f], dim=1)[:, : f.shape[1]],
    "channels of a wider channels-last map": lambda f: torch.cat([f, f], dim=1).contiguous(
        memory_format=torch.channels_last
    )[:, : f.shape[1]],
    "a crop": lambda f: torch.nn.functional.pad(f, (3, 4, 5, 6))[..., 5:-6, 3:-4],
    "rows and columns swapped": lambda f: f.mT.contiguous().mT,
    "every other image": lambda f: f.repeat_interleave(2, 0)[::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(layout: str) -> None:
    features, labels = blocks(6)
    other = LAYOUTS[layout](features)
    assert torch.equal(other, features)
    assert same(loss_of((other, labels)), loss_of((features, labels)))
    assert torch.equal(ops.target_lines(other, labels, 6), ops.target_lines(features, labels, 6))


def test_the_sign_of_a_feature_turns_its_gradient() -> None:
    features, labels = blocks(7)
    signs = torch.randn(2, 1, 40, 72).sign()
    terms, gradient = loss_of((features, labels))
    flipped, turned = loss_of((features * signs, labels))
    for a, b in zip(terms, flipped, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(turned * signs, gradient, atol=1e-7, rtol=1e-3)


def test_numbers_of_entities_do_not_matter() -> None:
    features, labels = blocks(8)
    renumbered = torch.tensor([-1, 0, 40, 5, 17, 2, 3, 60], dtype=torch.int32)[labels.long() + 1]
    terms, gradient = loss_of((features, labels), contrast_weight=0.0)
    others, other = loss_of((features, renumbered), contrast_weight=0.0)
    for a, b in zip(terms, others, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradient, other, atol=1e-7, rtol=1e-3)


def test_a_batch_is_the_mean_of_its_images() -> None:
    features, labels = blocks(9, batch=3)
    terms, gradient = loss_of((features, labels), contrast_weight=0.0)
    alone = [
        loss_of((features[i : i + 1], labels[i : i + 1]), contrast_weight=0.0) for i in range(3)
    ]
    for name in terms._fields:
        mean = torch.stack([getattr(one, name) for one, _ in alone]).mean()
        torch.testing.assert_close(getattr(terms, name), mean, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(gradient, torch.cat([g for _, g in alone]) / 3, atol=1e-9, rtol=1e-4)
    lines = ops.target_lines(features, labels, 6)
    for i in range(3):
        assert torch.equal(
            lines[i : i + 1], ops.target_lines(features[i : i + 1], labels[i : i + 1], 6)
        )


def test_threads_change_no_bit() -> None:
    case = blocks(10, shape=(150, 130))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            results += [loss_of(case), loss_of(case)]
    finally:
        torch.set_num_threads(threads)
    assert all(same(result, results[0]) for result in results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_gradients_are_written_past_the_caches(dtype: torch.dtype) -> None:
    # Rows that begin on cache lines and rows that do not.
    features, labels = blocks(12, dim=128, shape=(190, 200))
    features = features.to(dtype)
    assert features.numel() >= 2**23 > features[0].numel()
    _, gradient = loss_of((features, labels), contrast_weight=0.0)
    alone = [
        loss_of((features[i : i + 1], labels[i : i + 1]), contrast_weight=0.0)[1] for i in range(2)
    ]
    assert torch.equal(gradient, torch.cat(alone) / 2)


@pytest.mark.parametrize("path", ["portable", "avx2", "avx512", "avx512-bf16", "avx512-amx"])
def test_every_instruction_set(path: str) -> None:
    if path not in ops.build_info()["cpu"]["available"]:
        pytest.skip(f"this processor has no {path}")
    code = f"""
import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
from bottomup_fast import ops
from test_loss_ops import check
from loss_cases import blocks
assert ops.build_info()["cpu"]["path"] == {path!r}
check(blocks(0, 1, 19, (66, 70)))
check(blocks(1, 2, 5, (13, 5), entities=2), contrast_weight=0.0)
"""
    environment = {**os.environ, "BOTTOMUP_CPU": path}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    dim=st.integers(1, 40),
    pixels=st.integers(1, 1500),
    spread=st.sampled_from([0.0, 0.1, 1.0, 10.0]),
)
def test_lines_are_within_their_bound(seed: int, dim: int, pixels: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, dim, 1, 1, generator=generator) + spread * torch.randn(
        1, dim, 1, pixels, generator=generator
    )
    line = ops.target_lines(features, torch.ones(1, 1, pixels, dtype=torch.int32), 1)[0, 1].double()
    x = torch.nn.functional.normalize(features[0, :, 0].double(), dim=0)
    values, vectors = torch.linalg.eigh(x @ x.T)
    torch.testing.assert_close(line.norm(), torch.ones((), dtype=torch.float64), atol=1e-6, rtol=0)
    assert line[line.abs().argmax()] > 0
    gap = values[-1] - values[-2] if dim > 1 else values[-1]
    beside = line - (line @ vectors[:, -1]) * vectors[:, -1]
    assert beside.norm() <= 1e-6 * values[-1] / gap.clamp_min(1e-12) + 1e-7


def test_lines_of_structured_matrices() -> None:
    # Every pixel along an axis: a start that is itself such a line would find nothing else.
    labels = torch.ones(1, 1, 7, dtype=torch.int32)
    features = torch.eye(5)[[0, 1, 1, 1, 2, 3, 4]].T.reshape(1, 5, 1, 7).contiguous()
    line = target_lines(features, labels, 1)[0, 1]
    torch.testing.assert_close(line, torch.eye(5)[1], atol=1e-6, rtol=0)


def test_lines_agree_in_double_and_on_the_reference() -> None:
    features, labels = blocks(11)
    expected = reference_lines(features.double(), labels.long(), 6)
    torch.testing.assert_close(
        ops.target_lines(features, labels, 6).double(), expected, atol=2e-6, rtol=0
    )
    torch.testing.assert_close(target_lines(features.double(), labels, 6), expected)
