"""Where does Winograd's convolution beat the direct one? Forward and both gradients of single layers, channels last.

The two alternate in one process, and the minimum of each is taken: CPU time on one thread, else wall time.
More than 1 under "direct / ours" means that `rungs.models.winograd.conv3x3` is faster than `F.conv2d`.

    OMP_NUM_THREADS=1 python bench/winograd.py [--batch 128] [--rounds 4] [--threads 1]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from common import sentences
from torch import Tensor
from torch.nn import functional as F

from rungs.models.winograd import best_tile, conv3x3, pays, work

LAYERS = [
    (64, 256, 15),
    (256, 256, 7),
    (256, 256, 8),
    (64, 256, 16),
    (64, 64, 15),
    (512, 512, 7),
    (256, 256, 3),
    (24, 64, 31),
    (64, 64, 32),
    (128, 128, 16),
    (32, 32, 16),
]
"""Cin, Cout, side of the map."""


def seconds(conv: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, dy: Tensor, threads: int) -> float:
    """Time one step: CPU time on one thread, which a busy machine disturbs less than wall time."""
    clock = time.process_time if threads == 1 else time.perf_counter
    began = clock()
    torch.autograd.grad(conv(x, weight), (x, weight), dy)
    return clock() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 128), ("rounds", 4), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    if min(args.batch, args.rounds, args.threads) < 1:
        parser.error("batch, rounds and threads must be at least 1")
    torch.set_num_threads(args.threads)
    print(f"{'Cin Cout side':>14}   m  direct ms  GFLOP/s  fewer multiplications  direct / ours  pays")
    for cin, cout, side in LAYERS:
        shapes = (args.batch, cin, side, side), (cout, cin, 3, 3), (args.batch, cout, side, side)
        x, weight, dy = (torch.randn(s).contiguous(memory_format=torch.channels_last) for s in shapes)
        weight.div_((9 * cin) ** 0.5)
        direct, ours = [], []
        for _ in range(args.rounds + 1):  # the first warms up; the minimum is taken
            for conv, times in ((lambda x, w: F.conv2d(x, w, padding=1), direct), (conv3x3, ours)):
                times.append(seconds(conv, x.requires_grad_(), weight.requires_grad_(), dy, args.threads))
        m = best_tile(cin, cout, side, side)
        products = 27 * cin * cout * side * side
        print(
            f"{cin:4} {cout:4} {side:4}   {m}  {1e3 * min(direct):9.1f}  "
            f"{2e-9 * args.batch * products / min(direct):7.0f}  {products / work(m, cin, cout, side, side):21.2f}  "
            f"{min(direct) / min(ours):13.2f}  {'yes' if pays(cin, cout, side, side) else 'no'}",
            flush=True,
        )


if __name__ == "__main__":
    with sentences():
        main()
