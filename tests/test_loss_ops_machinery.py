"""The loss ops inside torch's machinery, their draws, and what bad input gets."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bottomup_fast import BottomUpLoss, ops
from bottomup_fast.errors import InputError
from bottomup_fast.reference.contrast import EASY, sample_keys, sample_queries

WEIGHTS = torch.tensor([1.0, 0.7, 0.125, 1.3, 0.05, 0.025])
SEEDS = torch.tensor([[5, 0], [5, 1]])


def case() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    labels = torch.randint(-1, 5, (2, 6, 8)).repeat_interleave(4, 1).repeat_interleave(4, 2).int()
    features = torch.randn(2, 12, 24, 32)
    return features, labels, ops.target_lines(features, labels, 4)


def gradient(loss: BottomUpLoss, features: Tensor, labels: Tensor, scale: float = 1.0) -> Tensor:
    features = features.detach().requires_grad_()
    return torch.autograd.grad(loss(features, labels).total * scale, features)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_opcheck(dtype: torch.dtype) -> None:
    features, labels, lines = case()
    features = features.to(dtype)
    library = torch.ops.bottomup_fast
    for fast in (True, False):
        arguments = (features.requires_grad_(), labels, 4, fast)
        torch.library.opcheck(library.target_lines.default, arguments)
    easy = torch.zeros_like(labels, dtype=torch.bool)
    torch.library.opcheck(library.contrast_samples.default, (labels, easy, lines, SEEDS, 7, 9))
    for with_gradient in (True, False):
        settings = (labels, lines, WEIGHTS, SEEDS, 0, 7, 9, True, with_gradient)
        wanted = features.detach().requires_grad_(with_gradient)
        torch.library.opcheck(library.losses.default, (wanted, *settings))
    gradient = features.detach()
    scaled = (gradient, torch.tensor(2.0), gradient)
    torch.library.opcheck(library.scale_gradient.default, scaled)


def test_the_upstream_gradient_scales() -> None:
    features, labels, _ = case()
    once = gradient(BottomUpLoss(), features, labels)
    torch.testing.assert_close(gradient(BottomUpLoss(), features, labels, 3.0), 3 * once)


def test_two_backward_passes_add_up() -> None:
    features, labels, _ = case()
    features.requires_grad_()
    total = BottomUpLoss()(features, labels).total
    total.backward(retain_graph=True)
    assert features.grad is not None
    once = features.grad.clone()
    total.backward()
    torch.testing.assert_close(features.grad, 2 * once)


def test_without_gradient_none_is_made() -> None:
    features, labels, lines = case()
    settings = (labels, lines, WEIGHTS, SEEDS, 0, 0, 1, False)
    assert torch.ops.bottomup_fast.losses(features, *settings, False)[2].numel() == 0
    assert not BottomUpLoss()(features, labels).total.requires_grad
    with torch.no_grad():
        assert not BottomUpLoss()(features.requires_grad_(), labels).total.requires_grad


def test_separate_terms_are_differentiable_one_by_one() -> None:
    features, labels, _ = case()
    compiled, plain = (
        BottomUpLoss(separate_terms=True, backend=backend) for backend in ("auto", "reference")
    )
    for name in ops.TERMS:
        first, second = features.clone().requires_grad_(), features.double().requires_grad_()
        getattr(compiled(first, labels), name).backward()
        getattr(plain(second, labels), name).backward()
        assert first.grad is not None
        assert second.grad is not None
        torch.testing.assert_close(first.grad.double(), second.grad, atol=1e-8, rtol=1e-3)
    features.requires_grad_()
    terms = compiled(features, labels)
    mixed = torch.autograd.grad(2 * terms.total + 3 * terms.norm, features)[0]
    one = BottomUpLoss(separate_terms=True)(features, labels)
    parts = torch.autograd.grad(one.total, features, retain_graph=True)[0] * 2
    parts = parts + 3 * torch.autograd.grad(one.norm, features)[0]
    torch.testing.assert_close(mixed, parts, atol=1e-7, rtol=1e-4)


def test_only_the_total_is_differentiable_by_default() -> None:
    features, labels, _ = case()
    terms = BottomUpLoss()(features.requires_grad_(), labels)
    differentiable = [name for name, term in terms._asdict().items() if term.requires_grad]
    assert differentiable == ["total"]


@pytest.mark.parametrize("separate", [False, True])
def test_a_second_derivative_is_refused(separate: bool) -> None:
    features, labels, _ = case()
    features.requires_grad_()
    total = BottomUpLoss(separate_terms=separate)(features, labels).total
    first = torch.autograd.grad(total, features, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        (first.square().sum() + features.sum()).backward()


def test_a_training_step_compiles_into_one_graph() -> None:
    features, labels, _ = case()
    loss = BottomUpLoss(contrast_queries=7, contrast_negatives=9)
    weight = torch.randn(12, 12, requires_grad=True)

    def step(features: Tensor, weight: Tensor) -> Tensor:
        return loss(torch.einsum("bdhw,de->behw", features, weight).tanh(), labels).total

    expected = torch.autograd.grad(step(features, weight), weight)[0]
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")(features, weight)
    torch.testing.assert_close(torch.autograd.grad(compiled, weight)[0], expected)


def test_compiled_code_still_refuses_bad_values() -> None:
    features, labels, _ = case()
    compiled = torch.compile(BottomUpLoss(max_entities=4), fullgraph=True, backend="eager")
    with pytest.raises(RuntimeError, match="labels must lie between -1"):
        compiled(features, labels + 1)
    with pytest.raises(RuntimeError, match="features contain NaN or Inf"):
        compiled(features * torch.nan, labels)


def test_exports() -> None:
    features, labels, _ = case()
    program = torch.export.export(BottomUpLoss(), (features, labels))
    expected = BottomUpLoss()(features, labels)
    for actual, wanted in zip(program.module()(features, labels), expected, strict=True):
        assert torch.equal(actual, wanted)


def test_autocast_changes_nothing() -> None:
    features, labels, _ = case()
    expected = gradient(BottomUpLoss(), features, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gradient(BottomUpLoss(), features, labels), expected)


def test_callers_in_many_threads_do_not_disturb_each_other() -> None:
    features, labels, _ = case()
    expected = gradient(BottomUpLoss(), features, labels)
    results: list[Tensor] = []
    threads = [
        threading.Thread(target=lambda: results.append(gradient(BottomUpLoss(), features, labels)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(torch.equal(result, expected) for result in results)


def test_draws_are_those_of_the_reference() -> None:
    features, labels, lines = case()
    x = functional.normalize(features.flatten(2).mT, dim=-1)
    flat = labels.flatten(1).long()
    own = lines.gather(1, flat.clamp_min(0).unsqueeze(-1).expand(-1, -1, 12))
    easy = ((x * own).sum(-1).abs() >= 0.3) & (flat > 0)
    queries, keys = ops.contrast_samples(labels, easy.view_as(labels), lines, SEEDS, 50, 40)
    for image in range(2):
        entities = flat[image][flat[image] > 0].unique()
        # The reference finds easy pixels itself: these are exactly as easy as told here.
        scaled = torch.where(easy[image].unsqueeze(1), own[image], 0) * (1 + EASY)
        drawn, mask = sample_queries(scaled, flat[image], lines[image], entities, SEEDS[image], 50)
        expected = torch.where(mask, drawn, -1)
        assert torch.equal(queries[image, entities - 1], expected)
        wanted = sample_keys(flat[image], lines[image], entities, SEEDS[image], 40)
        assert (keys[image, entities - 1] == wanted).float().mean() > 0.999
        absent = [e for e in range(1, 5) if e not in entities]
        assert (queries[image, [e - 1 for e in absent]] == -1).all()


def test_a_single_entity_has_no_draws() -> None:
    labels = torch.ones(1, 4, 5, dtype=torch.int32)
    easy = torch.zeros_like(labels, dtype=torch.bool)
    queries, keys = ops.contrast_samples(labels, easy, torch.ones(1, 3, 2), SEEDS[:1], 3, 4)
    assert (queries == -1).all()
    assert (keys == -1).all()


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, torch.zeros(2, 12, 24)),
        (1, torch.zeros(2, 24, 31, dtype=torch.int32)),
        (1, torch.zeros(2, 24, 32)),
        (1, torch.full((2, 24, 32), 5, dtype=torch.int32)),
        (2, torch.zeros(2, 5, 11)),
        (2, torch.zeros(2, 5, 12, dtype=torch.float64)),
        (3, torch.zeros(5)),
        (4, torch.zeros(2, 2)),
        (4, torch.zeros(1, 2, dtype=torch.int64)),
        (0, torch.full((2, 12, 24, 32), torch.inf)),
    ],
)
def test_the_op_is_guarded(position: int, value: Tensor) -> None:
    features, labels, lines = case()
    arguments: list[Tensor] = [features, labels, lines, WEIGHTS, SEEDS]
    arguments[position] = value
    with pytest.raises(InputError):
        ops.losses(*arguments)
