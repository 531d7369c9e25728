from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from rungs.errors import UserError
from rungs.optim import build_optimizer
from rungs.optim.muon import Muon, orthogonalised
from rungs.recipe.optimizers import Muon as MuonSpec


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 3)
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head((self.a(x) + self.b(x).relu()).mean((2, 3)))
        return out


def spec(**fields: Any) -> MuonSpec:
    return MuonSpec(**{"lr": 0.1, "head_lr": 2.0, "bias_lr": 0.5, "momentum": 0.0, "sgd_momentum": 0.0, **fields})


@pytest.mark.parametrize("shape", [(2, 6, 40), (1, 40, 6), (3, 9, 9)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    out = orthogonalised(matrices, steps=5)
    inside = u.mT @ out @ vh.mT  # diagonal, if the vectors are the same
    diagonal = inside.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(inside, torch.diag_embed(diagonal), atol=1e-3, rtol=0)
    large = s > s.amax(1, keepdim=True) / 20
    assert ((diagonal[large] > 0.5) & (diagonal[large] < 1.5)).all()


def test_a_step_moves_kernels_by_an_orthogonal_matrix_and_the_rest_as_sgd_does() -> None:
    net = Net()
    optimizer = build_optimizer(spec(), net)
    net(torch.randn(16, 4, 6, 6)).square().mean().backward()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer.step()
    for name, p in net.named_parameters():
        assert p.grad is not None
        if p.ndim == 4:
            start = before[name] * 8**0.5 / before[name].norm()
            step = orthogonalised(p.grad.flatten(1)[None], 3)[0].view_as(p)
            torch.testing.assert_close(p, start - 0.1 * step)
        else:
            torch.testing.assert_close(p, before[name] - (2.0 if name == "head.weight" else 0.5) * p.grad)


def test_in_bf16_a_step_is_the_same_to_the_rounding_of_bf16() -> None:
    steps = []
    for in_bf16 in (False, True):
        net = Net()
        optimizer = build_optimizer(spec(), net, in_bf16=in_bf16)
        torch.manual_seed(1)
        net(torch.randn(16, 4, 6, 6)).square().mean().backward()
        before = net.a.weight.detach() * 8**0.5 / net.a.weight.detach().norm()
        copy.deepcopy(optimizer)  # keeps its settings
        optimizer.step()
        steps.append(before - net.a.weight.detach())
    difference = ((steps[1] - steps[0]).norm() / steps[0].norm()).item()
    assert 1e-5 < difference < 0.1


def test_momentum_and_weight_decay_follow_torch_where_torch_has_them() -> None:
    mine, theirs = Net(), Net()
    optimizer = build_optimizer(spec(sgd_momentum=0.8, weight_decay=0.01, decay_all=True), mine)
    groups = [
        {"params": [theirs.head.weight], "lr": 2.0, "weight_decay": 0.01 / 2.0},
        {"params": [theirs.a.bias, theirs.b.bias], "lr": 0.5, "weight_decay": 0.01 / 0.5},
    ]
    sgd = torch.optim.SGD(groups, momentum=0.8, nesterov=True)
    for seed in range(4):
        torch.manual_seed(seed)
        gradients = [torch.randn_like(p) for p in mine.parameters()]
        for net in (mine, theirs):
            for p, gradient in zip(net.parameters(), gradients, strict=True):
                p.grad = gradient.clone()
        optimizer.step()
        sgd.step()
    for name in ("head.weight", "a.bias", "b.bias"):
        torch.testing.assert_close(mine.get_parameter(name), theirs.get_parameter(name))


def test_kernels_of_one_shape_are_stepped_as_if_each_were_alone() -> None:
    together, apart = Net(), Net()
    groups = [
        {"params": [p], "lr": 0.1, "momentum": 0.6, "weight_decay": 0.0, "orthogonal": True}
        for p in (apart.a.weight, apart.b.weight)
    ]
    both = [{**groups[0], "params": [together.a.weight, together.b.weight]}]
    optimizers = Muon(groups), Muon(both)
    for seed in range(3):
        for net, optimizer in zip((apart, together), optimizers, strict=True):
            torch.manual_seed(seed)
            optimizer.zero_grad()
            net(torch.randn(8, 4, 6, 6)).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(together.a.weight, apart.a.weight)
    torch.testing.assert_close(together.b.weight, apart.b.weight)


def test_a_net_without_convolutions_is_refused() -> None:
    with pytest.raises(UserError, match="muon is for convolutions"):
        build_optimizer(spec(), nn.Linear(3, 2))
