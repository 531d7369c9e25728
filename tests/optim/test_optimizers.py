from __future__ import annotations

import copy
from typing import get_args

import msgspec
import pytest
import torch
from torch import nn

from rungs.errors import UserError
from rungs.optim import OPTIMIZERS, build_optimizer, slowed
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
    for name in set(spec.__struct_fields__) - {"weight_decay", "decay_all", "head_lr", "layer_decay"}:
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


def staged(model: nn.Module) -> list[list[nn.Module]]:
    """Three stages: a convolution with its norm, a convolution, the head."""
    return [[model[0], model[1]], [model[3]], [model[5]]]


def rates(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, tuple[float, float, float]]:
    """Return each parameter's rate, its share of the base rate, and its weight decay."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group.get("share", 1.0), group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("spec", EACH, ids=repr)
def test_each_stage_has_its_rate(spec: optimizers.AnyOptimizer) -> None:
    model = net()
    spec = msgspec.structs.replace(spec, layer_decay=0.5, head_lr=3 * spec.lr)
    found = rates(build_optimizer(spec, model, stages=staged(model)), model)
    shares = {
        "0.weight": 0.25,
        "1.weight": 0.25,
        "1.bias": 0.25,
        "3.weight": 0.5,
        "3.bias": 0.5,
        "5.weight": 3,
        "5.bias": 3,
    }
    assert {name: share for name, (_, share, _) in found.items()} == pytest.approx(shares)
    assert {name: lr for name, (lr, _, _) in found.items()} == pytest.approx(
        {k: v * spec.lr for k, v in shares.items()}
    )
    assert {name for name, (*_, decay) in found.items() if decay} <= {"0.weight", "3.weight", "5.weight"}


def test_a_head_without_a_rate_of_its_own_has_the_base_rate() -> None:
    model = net()
    found = rates(build_optimizer(optimizers.SGD(lr=0.1, layer_decay=0.5), model, stages=staged(model)), model)
    assert found["5.weight"][0] == 0.1
    assert found["3.weight"][0] == 0.05


def test_a_parameter_in_no_stage_counts_as_in_the_first() -> None:
    model = net()
    found = rates(build_optimizer(optimizers.SGD(lr=0.1, layer_decay=0.5), model, stages=staged(model)[1:]), model)
    assert found["0.weight"][1] == found["3.weight"][1] == 0.5


@pytest.mark.parametrize("spec", EACH, ids=repr)
def test_one_rate_for_all_makes_the_groups_of_before(spec: optimizers.AnyOptimizer) -> None:
    model = net()
    with_stages, without = build_optimizer(spec, model, stages=staged(model)), build_optimizer(spec, model)
    assert str(with_stages.param_groups) == str(without.param_groups)
    assert all("share" not in group for group in with_stages.param_groups)


def test_a_larger_share_moves_further() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    train(model, build_optimizer(optimizers.Adam(lr=1e-3, layer_decay=0.1), model, stages=staged(model)), 1)
    moved = {name: (value - before[name]).abs().max().item() for name, value in model.named_parameters()}
    assert moved["5.weight"] == pytest.approx(1e-3, rel=0.01)
    assert moved["3.weight"] == pytest.approx(1e-4, rel=0.01)
    assert moved["0.weight"] == pytest.approx(1e-5, rel=0.02)


def test_muon_has_no_layer_wise_decay() -> None:
    with pytest.raises(UserError, match=r"optim\.layer_decay"):
        build_optimizer(optimizers.Muon(lr=0.1, layer_decay=0.9), net())


def test_slowed_scales_the_rates_that_are_set() -> None:
    assert slowed(optimizers.SGD(lr=0.1), 0.5) == optimizers.SGD(lr=0.05)
    assert slowed(optimizers.SGD(lr=0.1, head_lr=1.0), 0.5) == optimizers.SGD(lr=0.05, head_lr=0.5)


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
