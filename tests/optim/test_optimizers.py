from __future__ import annotations

import copy
from typing import get_args

import pytest
import torch
from torch import nn

from rungs.errors import UserError
from rungs.optim import OPTIMIZERS, build_optimizer
from rungs.recipe import optimizers

EACH = [
    optimizers.SGD(lr=0.05),
    optimizers.SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    optimizers.Adam(lr=0.01, weight_decay=0.01),
    optimizers.AdamW(lr=0.01, weight_decay=0.1, betas=(0.8, 0.99)),
    optimizers.RMSprop(lr=0.01, momentum=0.5, weight_decay=0.01),
]


def net() -> nn.Module:
    """A net whose gradients are all well above rounding: no bias stands before the BatchNorm, which would cancel it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Flatten(),
        nn.Linear(8 * 16, 5),
    )
    return model.to(memory_format=torch.channels_last)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.rand(4, 3, 8, 8, generator=generator).to(memory_format=torch.channels_last)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def test_each_spec_has_its_optimizer() -> None:
    assert set(OPTIMIZERS) == {spec.__struct_config__.tag for spec in get_args(optimizers.AnyOptimizer)}


@pytest.mark.parametrize("spec", EACH, ids=repr)
def test_the_fields_of_the_spec_arrive(spec: optimizers.AnyOptimizer) -> None:
    optimizer = build_optimizer(spec, net())
    assert type(optimizer) is OPTIMIZERS[str(spec.__struct_config__.tag)]
    for name in set(spec.__struct_fields__) - {"weight_decay", "decay_all"}:
        assert {group[name] for group in optimizer.param_groups} == {getattr(spec, name)}, name


def test_weight_decay_spares_biases_and_norms() -> None:
    model = net()
    decayed, spared = build_optimizer(optimizers.AdamW(lr=0.1, weight_decay=0.3), model).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["0.weight", "3.weight", "5.weight"]
    assert [names[id(p)] for p in spared["params"]] == ["1.weight", "1.bias", "3.bias", "5.bias"]


def test_decay_all_decays_all() -> None:
    model = net()
    (group,) = build_optimizer(optimizers.SGD(lr=0.1, weight_decay=0.3, decay_all=True), model).param_groups
    assert group["weight_decay"] == 0.3
    assert len(group["params"]) == len(list(model.parameters()))


def test_frozen_parameters_are_left_alone() -> None:
    model = net()
    model[0].requires_grad_(False)
    trained = [p for group in build_optimizer(optimizers.SGD(lr=0.1), model).param_groups for p in group["params"]]
    assert len(trained) == len(list(model.parameters())) - 1
    before = copy.deepcopy(model[0].state_dict())
    train(model, build_optimizer(optimizers.SGD(lr=0.1), model), 2)
    assert all(torch.equal(before[name], value) for name, value in model[0].state_dict().items())


@pytest.mark.parametrize("spec", EACH, ids=repr)
def test_the_fast_kernel_gives_what_the_plain_loop_gives(spec: optimizers.AnyOptimizer) -> None:
    fast, plain = net(), net()
    optimizer = build_optimizer(spec, fast)
    assert optimizer.defaults.get("fused") or optimizer.defaults["foreach"]
    reference = build_optimizer(spec, plain)
    for group in reference.param_groups:
        group.update({"foreach": False} if "fused" not in group else {"foreach": False, "fused": False})
    train(fast, optimizer, 10)
    train(plain, reference, 10)
    for one, two in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("spec", EACH, ids=repr)
def test_going_on_from_a_state_dict_is_exact(spec: optimizers.AnyOptimizer, tmp_path) -> None:
    straight = net()
    optimizer = build_optimizer(spec, straight)
    train(straight, optimizer, 3, seed=1)
    torch.save({"model": straight.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    train(straight, optimizer, 3, seed=2)
    resumed = net()
    again = build_optimizer(spec, resumed)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(state["model"])
    again.load_state_dict(state["optimizer"])
    train(resumed, again, 3, seed=2)
    assert all(torch.equal(one, two) for one, two in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_nesterov_without_momentum_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"optim\.momentum"):
        build_optimizer(optimizers.SGD(lr=0.1, nesterov=True), net())
