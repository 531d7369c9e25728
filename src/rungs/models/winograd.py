"""3x3 convolution with a third of the multiplications: Winograd's F(m x m, 3 x 3), for float32 on a CPU.

A map is cut into tiles of m x m outputs; each reads (m+2) x (m+2) inputs. In one dimension, m outputs of a filter of
three taps are the transpose of the product of two polynomials, of m and of 3 coefficients. That product is known from
its values at m+2 points, one multiplication each (Toom and Cook), instead of 3m:

    y = A'[(G w) * (B'x)]      A, G: evaluate at the points;  B': the inverse of evaluation, transposed

In two dimensions each matrix acts on rows and columns: its Kronecker square acts on the flattened tile. Between these
transforms `*` also sums over channels, which makes it a matrix product for each of the q = (m+2)^2 points of a tile.
The gradients are the adjoints of the same steps. So all the work is matrix products and copying tiles.

Sources: Winograd 1980, "Arithmetic Complexity of Computations"; Lavin & Gray 2015, arXiv:1509.09308 (tiles, products
over channels); Barabasz et al. 2018, arXiv:1803.10986 (points that come with -x and 1/x round well).
As the transforms are dense products here, all points cost the same, and ours are chosen only for small rounding errors.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

POINTS: dict[int, tuple[float, ...]] = {
    2: (0, 1, -1),
    3: (0, -1, 3 / 5, 5 / 3),
    4: (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2),
    5: (0, 1, -1, 1 / 2, -1 / 2, 3),
    6: (0, 1, -1, 1 / 2, -1 / 2, 2, -2),
    7: (0, 2 / 5, -2 / 5, 3 / 4, -3 / 4, 3 / 2, -3 / 2, -3),
}
"""m -> m+1 points; one more is infinity. Relative error in float32, by norm: 1e-6 up to m = 4, 5e-6 to 6, 2e-5 at 7."""
TILES_AT_ONCE = 256
"""Tiles per chunk of the batch: enough for fast products, few enough for the buffers to fit the cache (AMD Zen 3)."""


class Transforms(NamedTuple):
    """Kronecker squares: `a` (q, m*m), `b` (q, q), `g` (q, 9), with q = (m+2)^2 points of a tile."""

    a: Tensor
    b: Tensor
    g: Tensor


@lru_cache
def transforms(m: int, dtype: torch.dtype) -> Transforms:
    """Return the matrices of F(m x m, 3 x 3)."""
    points = torch.tensor(POINTS[m], dtype=torch.float64)

    def evaluate(k: int) -> Tensor:
        """Return (m+2, k): from a polynomial's k coefficients to its values; at infinity that is the highest one."""
        return torch.cat([points[:, None] ** torch.arange(k), torch.eye(k, dtype=torch.float64)[-1:]])

    flat = evaluate(m), evaluate(m + 2).inverse().T, evaluate(3)
    return Transforms(*(torch.kron(t, t).to(dtype) for t in flat))


def work(m: int, cin: int, cout: int, height: int, width: int) -> int:
    """Return the multiplications for one image, forward and backward, with tiles of m x m."""
    q, tiles = (m + 2) ** 2, -(-height // m) * -(-width // m)
    return tiles * (3 * q * cin * cout + 2 * q * q * cin + 2 * q * m * m * cout)


def best_tile(cin: int, cout: int, height: int, width: int) -> int:
    """Return the m of fewest multiplications: 15 x 15 is three tiles of 5 each way, 7 x 7 one of 7, 8 x 8 two of 4."""
    return min(POINTS, key=lambda m: work(m, cin, cout, height, width))


def pays(cin: int, cout: int, height: int, width: int) -> bool:
    """Return whether `conv3x3` trained faster than `F.conv2d` on an AMD Zen 3, with `bench/winograd.py` on one thread.

    The direct method does three convolutions of 9 multiplications per output and channel. Copying tiles is not
    counted, so 2.3 times fewer multiplications only break even (32 to 64 channels), 2.6 times are 1.3 times faster (64
    to 64).
    """
    ours = work(best_tile(cin, cout, height, width), cin, cout, height, width)
    return 27 * height * width * cin * cout > 2.5 * ours


def cut(x: Tensor, size: int, step: int) -> Tensor:
    """Cut (N, H, W, C) into tiles (N * rows * columns, size * size, C), centred on steps; beyond the edge is zero."""
    rim = (size - step) // 2
    bottom, right = (-side % step + rim for side in x.shape[1:3])
    padded = F.pad(x, (0, 0, rim, right, rim, bottom)) if rim or right or bottom else x
    tiles = padded.unfold(1, size, step).unfold(2, size, step)  # (N, rows, columns, C, size, size)
    return tiles.permute(0, 1, 2, 4, 5, 3).reshape(-1, size * size, x.shape[3])


def paste(tiles: Tensor, out: Tensor) -> None:
    """Write tiles (N, rows, columns, m, m, C) side by side into maps (N, H, W, C); what extends beyond is dropped."""
    n, rows, columns, m, _, channels = tiles.shape
    covered = n, rows * m, columns * m, channels
    maps = out if out.shape == covered else out.new_empty(covered)
    maps.view(n, rows, m, columns, m, channels).copy_(tiles.transpose(2, 3))
    if maps is not out:
        out.copy_(maps[:, : out.shape[1], : out.shape[2]])


def fold(tiles: Tensor) -> Tensor:
    """Add rims to the neighbours they overlap, in place: (N, rows, columns, m+2, m+2, C) -> (..., m, m, C)."""
    m = tiles.shape[3] - 2
    tiles[:, 1:, :, 1] += tiles[:, :-1, :, m + 1]
    tiles[:, :-1, :, m] += tiles[:, 1:, :, 0]
    tiles = tiles[:, :, :, 1 : m + 1]
    tiles[:, :, 1:, :, 1] += tiles[:, :, :-1, :, m + 1]
    tiles[:, :, :-1, :, m] += tiles[:, :, 1:, :, 0]
    return tiles[:, :, :, :, 1 : m + 1]


def each(matrix: Tensor, tiles: Tensor) -> Tensor:
    """Multiply a matrix (p, q) with each of the tiles (T, q, C)."""
    return torch.bmm(matrix.expand(len(tiles), *matrix.shape), tiles)


class Winograd(torch.autograd.Function):
    """Forward and backward. u, v, y are filters, inputs and outputs at the points; each dz is the gradient by z."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, m: int) -> Tensor:
        """Convolve (B, Cin, H, W) with (Cout, Cin, 3, 3) -> (B, Cout, H, W), channels last; keep v, not x."""
        a, b, g = transforms(m, x.dtype)
        x = x.permute(0, 2, 3, 1)  # (B, H, W, Cin)
        (cout, cin), (batch, height, width) = weight.shape[:2], x.shape[:3]
        u = (g @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(-1, cin, cout)  # (q, Cin, Cout)
        y_shape = batch, cout, height, width
        whole = torch.empty(y_shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        out, kept = whole.permute(0, 2, 3, 1), list[Tensor]()
        grid = -(-height // m), -(-width // m)
        ctx.m, ctx.images = m, max(1, TILES_AT_ONCE // (grid[0] * grid[1]))
        for chunk, into in zip(torch.split(x, ctx.images), torch.split(out, ctx.images), strict=True):
            v = each(b, cut(chunk, m + 2, m)).transpose(0, 1)  # (q, T, Cin)
            y = torch.bmm(v, u).transpose(0, 1)  # (T, q, Cout)
            paste(each(a.T, y).view(len(chunk), *grid, m, m, cout), into)
            if ctx.needs_input_grad[1]:
                kept.append(v)
        ctx.save_for_backward(u, *kept)
        return whole  # not a view, so that a net may change it in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients by x and by weight."""
        u, *kept = ctx.saved_tensors
        m, (a, b, g) = ctx.m, transforms(ctx.m, u.dtype)
        dout = grads[0].permute(0, 2, 3, 1)  # (B, H, W, Cout)
        (_, cin, cout), (batch, height, width, _) = u.shape, dout.shape
        dx = dout.new_empty(batch, height, width, cin) if ctx.needs_input_grad[0] else None
        du = torch.zeros_like(u) if ctx.needs_input_grad[1] else None
        for i, chunk in enumerate(torch.split(dout, ctx.images)):
            dy = each(a, cut(chunk, m, m)).transpose(0, 1)  # (q, T, Cout)
            if du is not None:
                du.baddbmm_(kept[i].transpose(1, 2), dy)
            if dx is not None:
                dv = torch.bmm(dy, u.transpose(1, 2)).transpose(0, 1)  # (T, q, Cin)
                tiles = each(b.T, dv).view(len(chunk), -(-height // m), -(-width // m), m + 2, m + 2, cin)
                paste(fold(tiles), dx[i * ctx.images :][: len(chunk)])
        dweight = None if du is None else (g.T @ du.view(len(g), -1)).view(3, 3, cin, cout).permute(3, 2, 0, 1)
        return None if dx is None else dx.permute(0, 3, 1, 2), dweight, None


def conv3x3(x: Tensor, weight: Tensor, m: int | None = None) -> Tensor:
    """Return `F.conv2d(x, weight, padding=1)` up to rounding.

    Args:
        x: (B, Cin, H, W), float32 or float64, best channels last.
        weight: (Cout, Cin, 3, 3), of the same dtype.
        m: Side of a tile, a key of `POINTS`; `None` is the one that multiplies least.

    Returns:
        (B, Cout, H, W), channels last. For the way back it keeps (m+2)^2 / m^2 numbers for each one of x: about twice.
    """
    cout, cin = weight.shape[:2]
    out: Tensor = Winograd.apply(x, weight, m or best_tile(cin, cout, *x.shape[2:]))  # type: ignore[no-untyped-call]
    return out
