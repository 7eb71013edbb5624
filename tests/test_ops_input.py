"""What `bottomup_fast.ops` does with bad input, and inside torch's machinery."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from bottomup_fast import ops
from bottomup_fast.errors import InputError

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(2, 19, 9, 15, generator=GENERATOR)
MODES = functional.normalize(torch.randn(2, 8, 19, generator=GENERATOR), dim=-1)
COUNTS = torch.tensor([8, 8], dtype=torch.int32)


def same(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> bool:
    return torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("modes", [0, 8])
def test_non_finite_features(bad: float, dtype: torch.dtype, modes: int) -> None:
    features = FEATURES.clone().to(dtype)
    features[1, 7, 8, 14] = bad
    with pytest.raises(InputError, match=r"^features contain NaN or Inf$"):
        ops.assign(features, MODES[:, :modes])


def test_float64_features_beyond_float32() -> None:
    with pytest.raises(InputError, match=r"^features contain NaN or Inf$"):
        ops.assign(FEATURES.double() * 1e200, MODES)


def test_non_finite_modes() -> None:
    modes = MODES.clone()
    modes[1, 7, 18] = torch.inf
    with pytest.raises(InputError, match=r"^modes contain NaN or Inf$"):
        ops.assign(FEATURES, modes)


@pytest.mark.parametrize("count", [-1, 9])
def test_num_modes_out_of_range(count: int) -> None:
    with pytest.raises(InputError, match=r"^num_modes must lie between 0 and the number"):
        ops.assign(FEATURES, MODES, torch.tensor([8, count], dtype=torch.int32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((FEATURES[0], MODES), r"features must have shape \(B, D, H, W\), not \(19, 9, 15\)"),
        ((FEATURES.int(), MODES), "features must be float32, .* not torch.int32"),
        ((FEATURES.numpy(), MODES), "features must be a torch.Tensor, not ndarray"),
        ((FEATURES, MODES[0]), r"modes must have shape .* \(2, M, 19\), not \(8, 19\)"),
        ((FEATURES, MODES[:1]), r"modes must have shape .* not \(1, 8, 19\)"),
        ((FEATURES, MODES[..., 1:]), r"modes must have shape .* not \(2, 8, 18\)"),
        ((FEATURES, MODES.double()), "modes must be float32, not torch.float64"),
        ((FEATURES, MODES, COUNTS[:1]), r"num_modes must have shape \(B,\) = \(2,\), not \(1,\)"),
        ((FEATURES, MODES, COUNTS.long()), "num_modes must be int32, not torch.int64"),
        ((FEATURES, MODES.to("meta")), "modes is on meta, but features on cpu"),
        ((FEATURES, MODES, COUNTS.to("meta")), "num_modes is on meta, but features on cpu"),
    ],
)
def test_bad_arguments(arguments: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        ops.assign(*arguments)


def test_a_device_without_kernels() -> None:
    with FakeTensorMode(), pytest.raises(InputError, match="features is on mps:0, but this build"):
        ops.assign(
            torch.empty(1, 2, 3, 4, device="mps"),
            torch.empty(1, 5, 2, device="mps"),
            torch.empty(1, dtype=torch.int32, device="mps"),
        )


@pytest.mark.parametrize(
    "arguments",
    [
        (FEATURES[0], MODES, COUNTS),
        (FEATURES.int(), MODES, COUNTS),
        (FEATURES, MODES[:1], COUNTS),
        (FEATURES, MODES.double(), COUNTS),
        (FEATURES, MODES, COUNTS[:1]),
        (FEATURES, MODES, COUNTS.long()),
    ],
)
def test_the_op_itself_is_guarded(arguments: tuple[Tensor, ...]) -> None:
    with pytest.raises(RuntimeError, match=r"^assign: "):
        torch.ops.bottomup_fast.assign(*arguments)


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype: torch.dtype) -> None:
    features = FEATURES.to(dtype).requires_grad_()
    arguments = (features, MODES.clone().requires_grad_(), COUNTS)
    torch.library.opcheck(torch.ops.bottomup_fast.assign.default, arguments)


def test_outputs_have_no_gradient() -> None:
    index, score = ops.assign(FEATURES.clone().requires_grad_(), MODES)
    assert not index.requires_grad
    assert not score.requires_grad


def test_compiles_into_one_graph() -> None:
    compiled = torch.compile(ops.assign, fullgraph=True)
    assert same(compiled(FEATURES, MODES), ops.assign(FEATURES, MODES))
    assert same(compiled(FEATURES, MODES, COUNTS - 2), ops.assign(FEATURES, MODES, COUNTS - 2))
    with pytest.raises(RuntimeError, match="features contain NaN or Inf"):
        compiled(FEATURES * torch.nan, MODES)


@pytest.mark.parametrize("dtype", DTYPES)
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    features = FEATURES.to(dtype)
    expected = ops.assign(features, MODES)
    with torch.autocast("cpu", torch.bfloat16):
        assert same(ops.assign(features, MODES), expected)


def test_compiles_with_dynamic_shapes() -> None:
    compiled = torch.compile(ops.assign, fullgraph=True, dynamic=True, backend="eager")
    for size in (5, 7):
        features = FEATURES[:, :, :size, : 2 * size]
        assert same(compiled(features, MODES[:, :size]), ops.assign(features, MODES[:, :size]))


def test_meta_tensors() -> None:
    index, score = ops.assign(FEATURES.to("meta"), MODES.to("meta"))
    assert index.device.type == "meta"
    assert index.shape == score.shape == (2, 9, 15)
