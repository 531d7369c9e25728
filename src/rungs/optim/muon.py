"""Muon: momentum whose matrices are orthogonalised (K. Jordan et al. 2024, kellerjordan.github.io/posts/muon)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial ax + bx^3 + cx^5: steepest at 0, so that three steps bring all singular values near 1."""


def orthogonalised(matrices: Tensor, steps: int) -> Tensor:
    """Return the nearest (semi-)orthogonal matrices, roughly: U S V^T with all of S in about [0.5, 1.5].

    A Newton-Schulz iteration in products of matrices alone. On a GPU it computes in bf16, which is enough.

    Args:
        matrices: Float (M, rows, columns).
        steps: Of the iteration.
    """
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value above 1
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal: Tensor = x if wide else x.mT
    return orthogonal.to(matrices.dtype)


class Muon(Optimizer):
    """Muon for the parameter groups marked `orthogonal`, SGD with Nesterov's momentum for the others.

    A convolution's kernel (out, in, h, w) is taken as a matrix (out, in * h * w). Its norm is set to the root of its
    rows before each step, as in airbench, in place of weight decay. Kernels of one shape are orthogonalised together.

    Args:
        groups: Of `torch.optim`, each with `lr`, `momentum`, `weight_decay` and `orthogonal`.
        ns_steps: Newton-Schulz steps.
    """

    def __init__(self, groups: list[dict[str, Any]], ns_steps: int = 3) -> None:
        super().__init__(groups, {"ns_steps": ns_steps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with the gradients that lie in the parameters."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["weight_decay"]:
                for p in parameters:
                    p.grad.add_(p, alpha=group["weight_decay"])
            directions = [self._direction(p, group["momentum"]) for p in parameters]
            if group["orthogonal"]:
                for p in parameters:
                    p.mul_(len(p) ** 0.5 / p.norm())
                directions = _all_orthogonalised(directions, group["ns_steps"])
            for p, direction in zip(parameters, directions, strict=True):
                p.sub_(direction * group["lr"])
        return loss

    def _direction(self, p: Tensor, momentum: float) -> Tensor:
        """Move the momentum and return Nesterov's look ahead of it."""
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer = state["momentum_buffer"].mul_(momentum).add_(p.grad)
        return p.grad.add(buffer, alpha=momentum)  # type: ignore[union-attr]


def _all_orthogonalised(tensors: list[Tensor], steps: int) -> list[Tensor]:
    """Orthogonalise each tensor as a matrix, those of one shape in one go."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, tensor in enumerate(tensors):
        alike[tuple(tensor.shape)].append(number)
    done = list(tensors)
    for shape, numbers in alike.items():
        stacked = torch.stack([tensors[number].flatten(1) for number in numbers])
        for number, matrix in zip(numbers, orthogonalised(stacked, steps), strict=True):
            done[number] = matrix.view(shape)
    return done
