"""One training step; on a GPU recorded once as a CUDA graph, then replayed without waiting for Python."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from rungs.data.batches import spans
from rungs.training.setup import Setup

WARM_UP = 3
"""Steps of each shape before recording: libraries choose kernels, the optimiser creates its state."""

Shape: TypeAlias = tuple[torch.Size, torch.Size, int]
"""Shapes of the images and of the labels of a batch, and its size over all ranks."""


def take_step(
    setup: Setup, batch: Tensor, labels: Tensor, whole: int, mark: Callable[[], None] | None = None
) -> Tensor:
    """Update the weights with one batch.

    Args:
        setup: With the learning rates of this step in its optimiser's groups.
        batch: This rank's share, float (b, 3, H, W) in [0, 1]; of a pack (b, 3 S, H, W).
        labels: int64 (b,) classes, or float (b, K) probabilities; of a pack with S behind b.
        whole: Images of the batch, over all ranks.
        mark: Called after each forward and each backward pass (of each micro-batch), for timing.

    Returns:
        The `tally` of the batch: float64 (3,), of a pack (S, 3); on the device, without waiting.
    """
    training = setup.recipe.training
    total = torch.zeros((), dtype=torch.float64, device=batch.device)
    setup.optimizer.zero_grad(set_to_none=True)
    for x, y, is_last in micro_batches(batch, labels, training.micro_batch):
        with setup.autocast(), setup.in_step(is_last):
            logits = setup.trained(x)  # (b, K); of a pack (b, S, K)
        # (); of a pack (S,)
        loss = summed_loss(training.loss, logits.float(), y, training.label_smoothing, setup.class_weights)
        total = total + tally(loss, logits, y)
        if mark is not None:
            mark()
        # ranks average gradients: this gives the batch's mean
        torch.autograd.backward(loss.sum() * (setup.world.size / whole))
        if mark is not None:
            mark()
    if training.clip_norm is not None:
        setup.clip_gradients(training.clip_norm)
    setup.optimizer.step()
    return total


@dataclass
class Recording:
    """The kernels of a step, and the memory they read (`batch`, `labels`) and write (`total`): see `take_step`."""

    graph: torch.cuda.CUDAGraph
    batch: Tensor
    labels: Tensor
    total: Tensor


class Stepper:
    """Takes steps: directly, or with each shape of batch recorded after `WARM_UP` steps, then replayed.

    With a small net the GPU waits for Python, which launches some hundred kernels a step; a recording is one launch. It
    computes the same up to rounding: the learning rates are float32 tensors that a recording reads, and RMSprop
    divides by such a rate in another order. All recordings share the memory of one step.

    Attributes:
        warm_up_s: Seconds of the steps that compile the net or precede a recording, and of recording.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup, self.warm_up_s = setup, 0.0
        self.records, self.waits = setup.records, setup.recipe.training.compile == "yes"
        self.calls, self.recordings = Counter[Shape](), dict[Shape, Recording]()
        if self.records:
            self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()  # type: ignore[no-untyped-call]
            self.rates = [torch.zeros((), device=setup.world.device) for _ in setup.optimizer.param_groups]

    def __call__(self, batch: Tensor, labels: Tensor, whole: int) -> Tensor:
        """Take a step: see `take_step`. The next step overwrites the returned tensor."""
        shape = batch.shape, labels.shape, whole
        if shape in self.recordings:
            return self._replay(self.recordings[shape], batch, labels)
        self.calls[shape] += 1
        if not (self.records or self.waits) or self.calls[shape] > WARM_UP:
            return take_step(self.setup, batch, labels, whole)
        began = _now(batch)
        total = self._warm_up(batch, labels, whole) if self.records else take_step(self.setup, batch, labels, whole)
        if self.records and self.calls[shape] == WARM_UP:
            self.recordings[shape] = self._record(batch, labels, whole)
        self.warm_up_s += _now(batch) - began
        return total

    def forget(self) -> None:
        """Forget all recordings: other weights are trained from now on."""
        self.calls.clear()
        self.recordings.clear()

    def _warm_up(self, batch: Tensor, labels: Tensor, whole: int) -> Tensor:
        """Take a step on the stream that will be recorded, with the rates in the memory that a recording reads."""
        self._set_rates()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            total = self._with_tensor_rates(batch, labels, whole)
        torch.cuda.current_stream().wait_stream(self.stream)
        return total

    def _record(self, batch: Tensor, labels: Tensor, whole: int) -> Recording:
        graph, batch, labels = torch.cuda.CUDAGraph(), batch.clone(), labels.clone()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            total = self._with_tensor_rates(batch, labels, whole)
        return Recording(graph, batch, labels, total)

    def _replay(self, recording: Recording, batch: Tensor, labels: Tensor) -> Tensor:
        self._set_rates()
        recording.batch.copy_(batch)
        recording.labels.copy_(labels)
        recording.graph.replay()
        return recording.total

    def _set_rates(self) -> None:
        for rate, group in zip(self.rates, self.setup.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])

    def _with_tensor_rates(self, batch: Tensor, labels: Tensor, whole: int) -> Tensor:
        groups = self.setup.optimizer.param_groups
        numbers = [group["lr"] for group in groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate
        try:
            return take_step(self.setup, batch, labels, whole)
        finally:
            for group, number in zip(groups, numbers, strict=True):
                group["lr"] = number


def replayable(do: Callable[[], object]) -> Callable[[], None]:
    """Run work on a GPU `WARM_UP` times, record it, and return a function that replays it."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            do()
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph, stream=stream):
        do()
    return graph.replay


def _now(tensor: Tensor) -> float:
    """Return the time when all work on a tensor's device is done."""
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def micro_batches(x: Tensor, y: Tensor, size: int | None) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Split a batch into pieces of `size` images, at least two in each (BatchNorm needs them); None: one piece.

    Yields:
        Images, labels, and whether they are the last of the batch.
    """
    for start, stop in spans(len(x), size or len(x)):
        yield x[start:stop], y[start:stop], stop == len(x)


def summed_loss(
    name: str, outputs: Tensor, y: Tensor, smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Return the loss summed over a batch.

    A weight is that of an image: it multiplies the image's whole loss. `torch.nn.CrossEntropyLoss(weight=...)` weights
    each part of a soft label by the part's own class. The two are equal for plain labels; but with smoothed or mixed
    ones torch's pulls every image towards the rare classes, whose small parts it multiplies.

    Args:
        name: The loss, from a recipe.
        outputs: The net's, float32 (b, K); of a pack (b, S, K), and the loss is (S,).
        y: int64 (b,) classes, or float (b, K) probabilities; of a pack likewise with S.
        smoothing: Share of each label that is spread over all classes.
        class_weights: float32 (K,), of a pack (S, K): how much an image counts, by its class; with probabilities, the
            mean of its classes. None: all count alike.
    """
    if outputs.ndim == 2 and class_weights is None:
        return _losses(name, outputs, y, smoothing, "sum")
    shape = outputs.shape[:-1]  # of a pack (b, S), side by side
    flat = y.flatten(0, len(shape) - 1)
    losses = _losses(name, outputs.flatten(0, -2), flat, smoothing, "none")
    if class_weights is not None:
        losses = losses * _image_weights(class_weights, y).flatten()
    return losses.view(shape).sum(0)


def _image_weights(class_weights: Tensor, y: Tensor) -> Tensor:
    """Return the weight of each image, (b,) or of a pack (b, S): see `summed_loss`."""
    if y.is_floating_point():
        return (y * class_weights).sum(-1)
    return class_weights.expand(*y.shape, -1).gather(-1, y[..., None])[..., 0]


def _losses(name: str, outputs: Tensor, y: Tensor, smoothing: float, reduction: str) -> Tensor:
    if name == "softmax-cross-entropy":  # cross-entropy treats these probabilities as logits
        outputs = outputs.softmax(1)
    if name == "nll" and y.ndim == 1 and smoothing == 0:
        return F.nll_loss(outputs.log_softmax(1), y, reduction=reduction)
    return F.cross_entropy(outputs, y, label_smoothing=smoothing, reduction=reduction)


def tally(loss: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    """Return float64 (3,): the batch's summed loss, correct predictions and images; on the device, without waiting.

    Of a pack (S, 3).
    """
    truth = y.argmax(-1) if y.is_floating_point() else y
    correct = (logits.argmax(-1) == truth).sum(0)
    return torch.stack([loss.detach().double(), correct.double(), torch.full_like(correct, len(y)).double()], -1)
