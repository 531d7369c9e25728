"""Muon: momentum with orthogonalised update matrices (K. Jordan et al. 2024, kellerjordan.github.io/posts/muon)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of ax + bx^3 + cx^5: steepest at 0, so that three steps bring all singular values near 1."""


def orthogonalised(matrices: Tensor, steps: int, *, in_bf16: bool = False) -> Tensor:
    """Return the nearest (semi-)orthogonal matrices, roughly: U S V^T with all of S in about [0.5, 1.5].

    A Newton-Schulz iteration, which needs only matrix products; bf16 is precise enough for it.

    Args:
        matrices: Float (M, rows, columns).
        steps: Number of iterations.
        in_bf16: Compute in bf16, for a CPU where that is fast; a GPU always does.
    """
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if matrices.is_cuda or in_bf16 else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value above 1
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    orthogonal: Tensor = x if wide else x.mT
    return orthogonal.to(matrices.dtype)


class Muon(Optimizer):
    """Muon for the parameter groups marked `orthogonal`, SGD with Nesterov momentum for the others.

    A convolution's kernel (out, in, h, w) is treated as a matrix (out, h * w * in). Its norm is set to the square root
    of its number of rows before each step, as in airbench, instead of weight decay. Kernels of equal shape are
    orthogonalised together.

    Args:
        groups: Parameter groups as in `torch.optim`, each with `lr`, `momentum`, `weight_decay` and `orthogonal`.
        ns_steps: Newton-Schulz steps.
        in_bf16: Whether they are computed in bf16 on a CPU.
    """

    def __init__(self, groups: list[dict[str, Any]], ns_steps: int = 3, *, in_bf16: bool = False) -> None:
        super().__init__(groups, {"ns_steps": ns_steps})
        self.defaults["in_bf16"] = in_bf16  # of this machine, so not of the groups, which a checkpoint holds

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with the parameters' gradients."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            gradients, momenta = [p.grad for p in parameters], [self._momentum(p) for p in parameters]
            if group["weight_decay"]:
                torch._foreach_add_(gradients, parameters, alpha=group["weight_decay"])
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_add_(momenta, gradients)
            directions = list(torch._foreach_add(gradients, momenta, alpha=group["momentum"]))  # Nesterov's look ahead
            if group["orthogonal"]:
                norms = torch._foreach_norm(parameters)
                torch._foreach_mul_(
                    parameters, [len(p) ** 0.5 / norm for p, norm in zip(parameters, norms, strict=True)]
                )
                directions = _all_orthogonalised(directions, group["ns_steps"], self.defaults["in_bf16"])
            torch._foreach_mul_(directions, group["lr"])
            torch._foreach_sub_(parameters, directions)
        return loss

    def _momentum(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _all_orthogonalised(tensors: list[Tensor], steps: int, in_bf16: bool) -> list[Tensor]:
    """Orthogonalise each tensor as a matrix, tensors of equal shape in one batch.

    The order of the columns does not matter: channels come last, as in memory.
    """
    same_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, tensor in enumerate(tensors):
        same_shape[tuple(tensor.shape)].append(number)
    done = list(tensors)
    for shape, numbers in same_shape.items():
        out, inputs, *window = shape
        stacked = torch.stack([tensors[number].movedim(1, -1).flatten(1) for number in numbers])
        for number, matrix in zip(numbers, orthogonalised(stacked, steps, in_bf16=in_bf16), strict=True):
            done[number] = matrix.view(out, *window, inputs).movedim(-1, 1)
    return done
