"""Made-up but plausible records for the tests of the reading room; no torch, no training."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from msgspec.structs import replace
from PIL import Image

from rungs.recipe import toml as recipes
from rungs.run.record import (
    DataRecord,
    Environment,
    EpochRow,
    EvalResult,
    LayerRow,
    Mistake,
    ModelRecord,
    Problem,
    RunRecord,
)

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ODD_NAMES = (
    "<script>alert(1)</script>",
    "Großer Brachvogel (Numenius arquata), juvenile, in flight & at dusk",
    "plain",
)


def wilson(p: float, n: int) -> tuple[float, float]:
    z = 1.959964
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def history(epochs: int, *, overfit: float = 0.0, validation: bool = True, classes: int = 10) -> tuple[EpochRow, ...]:
    """Smooth curves with a little noise; `overfit` lets the validation loss rise after 40 % of the epochs."""
    noise = np.random.default_rng(epochs).normal(0, 0.006, (epochs, 4)).tolist()
    rows = []
    for i in range(epochs):
        t = (i + 1) / epochs
        progress = 1 - math.exp(-5 * t)
        train_loss = math.log(classes) * (1 - 0.78 * progress) * (1 - 0.6 * overfit * t)
        gap = 0.03 + overfit * max(0.0, t - 0.4) * 1.4
        value = train_loss + gap + noise[i][0] if not overfit else math.log(classes) * (1 - 0.7 * progress) + gap
        rows.append(
            EpochRow(
                epoch=i + 1,
                step=(i + 1) * 766,
                learning_rate=0.1 * (1 + math.cos(math.pi * t)) / 2 + 1e-5,
                train_loss=train_loss,
                train_accuracy=min(0.999, (0.86 + 0.13 * overfit * t) * progress + noise[i][1]),
                validation_loss=value if validation else None,
                validation_accuracy=max(0.01, 0.84 * progress - 0.02 * overfit * t + noise[i][2])
                if validation
                else None,
                train_s=131.0,
                validation_s=1.9,
                images_per_s=374.0,
            )
        )
    return tuple(rows)


def picture(seed: int, size: int = 32) -> str:
    """A base64 PNG: a disc before a gradient."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    image = np.stack([x * draw.uniform(80, 255), y * draw.uniform(80, 255), (1 - x) * draw.uniform(80, 255)], -1)
    image[(x - draw.uniform(0.3, 0.7)) ** 2 + (y - 0.5) ** 2 < 0.06] = draw.uniform(0, 255, 3)
    buffer = io.BytesIO()
    Image.fromarray(image.astype("uint8")).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def calibration_bins(accuracy: float, n: int, sure: float) -> tuple[tuple[float, float, int], ...]:
    """Fifteen bins whose mean confidence is `accuracy + sure`, each too sure by `sure`."""
    centres = (np.arange(15) + 0.5) / 15

    def shares(growth: float) -> np.ndarray:
        weights = np.where(centres < 0.15, 0.0, growth ** np.arange(15))
        return weights / weights.sum()

    best = min(np.linspace(0.8, 4, 300), key=lambda growth: abs(shares(growth) @ centres - accuracy - sure))
    counts = np.round(shares(best) * n).astype(int)
    return tuple(
        (c, min(1.0, max(0.0, c - sure)), int(k)) if k else (0.0, 0.0, 0)
        for c, k in zip(centres.tolist(), counts, strict=True)
    )


def result(
    classes: int, n: int, accuracy: float, *, sure: float = 0.02, mistakes: int = 0, size: int = 32, rare: int = 0
) -> EvalResult:
    """An evaluation; classes 3 and 5 are confused most; `rare` classes at the end have a tenth of the images."""
    draw = np.random.default_rng(classes)
    weights = np.ones(classes)
    if rare:
        weights[-rare:] = 0.1
    per_class = np.maximum(1, np.round(n * weights / weights.sum())).astype(int)
    table = np.zeros((classes, classes), dtype=int)
    for k in range(classes):
        spread = draw.dirichlet(np.full(classes, 0.6))
        if classes > 5 and k in (3, 5):
            spread[8 - k] += 0.6
        spread[k] = 0
        right = float(np.clip(accuracy + draw.normal(0, 0.03), 0, 1))
        shares = spread / spread.sum() * (1 - right)
        shares[k] = right
        table[k] = draw.multinomial(per_class[k], shares / shares.sum())
    hits, total = table.diagonal(), int(table.sum())
    recall, precision = hits / np.maximum(1, table.sum(1)), hits / np.maximum(1, table.sum(0))
    share = float(hits.sum() / total)
    bins = calibration_bins(share, total, sure)
    return EvalResult(
        n=total,
        loss=0.55,
        accuracy=share,
        accuracy_interval=wilson(share, total),
        confusion=tuple(tuple(map(int, row)) for row in table),
        precision=tuple(map(float, precision)),
        recall=tuple(map(float, recall)),
        f1=tuple(map(float, 2 * hits / np.maximum(1, table.sum(0) + table.sum(1)))),
        calibration_error=sure,
        calibration=bins,
        mistakes=tuple(
            Mistake(
                index=17 * i,
                path=f"photos/class {i % classes}/IMG_{4000 + i}.jpg" if size > 32 else None,
                truth=i % classes,
                predicted=(i + 1) % classes,
                probability=0.995 - 0.01 * i,
                loss=6.0 - 0.1 * i,
                picture=picture(i, size),
            )
            for i in range(mistakes)
        ),
    )


def _conv(name: str, inputs: int, outputs: int, kernel: int, side: int, stride: int = 1) -> tuple[LayerRow, LayerRow]:
    shape = (outputs, side, side)
    weights = inputs * outputs * kernel**2
    detail = f"{inputs}->{outputs}, {kernel}x{kernel}, stride {stride}, pad {kernel // 2}"
    conv = LayerRow(
        name=name, kind="Conv2d", detail=detail, output=shape, parameters=weights, flops=2 * weights * side**2
    )
    norm = LayerRow(
        name=name.replace("conv", "bn"), kind="BatchNorm2d", detail="", output=shape, parameters=2 * outputs, flops=0
    )
    return conv, norm


def _layer(name: str, kind: str, output: tuple[int, ...], parameters: int = 0, detail: str = "") -> LayerRow:
    return LayerRow(name=name, kind=kind, detail=detail, output=output, parameters=parameters, flops=2 * parameters)


def _model(name: str, rows: list[LayerRow]) -> ModelRecord:
    parameters, flops = sum(r.parameters for r in rows), sum(r.flops for r in rows)
    return ModelRecord(name=name, parameters=parameters, flops=flops, layers=tuple(rows))


def plain_model(classes: int = 10, size: int = 32) -> ModelRecord:
    rows: list[LayerRow] = []
    channels, side = 3, size
    for stage, widths in enumerate(((32, 64), (128, 128), (256, 256)), 1):
        for i, width in enumerate(widths, 1):
            conv, _ = _conv(f"features.conv{stage}_{i}", channels, width, 3, side)
            rows += [conv, _layer(f"features.relu{stage}_{i}", "ReLU", conv.output)]
            channels = width
        side //= 2
        rows.append(_layer(f"features.pool{stage}", "MaxPool2d", (channels, side, side), detail="2x2, stride 2"))
    rows.append(_layer("head.fc1", "Linear", (256,), channels * side * side * 256 + 256, "->256"))
    rows.append(_layer("head.relu1", "ReLU", (256,)))
    rows.append(_layer("head.dropout1", "Dropout", (256,), detail="p 0.5"))
    rows.append(_layer("head.fc2", "Linear", (64,), 256 * 64 + 64, "256->64"))
    rows.append(_layer("head.relu2", "ReLU", (64,)))
    rows.append(_layer("head.fc3", "Linear", (classes,), 64 * classes + classes, f"64->{classes}"))
    return _model("plain", rows)


def resnet_model(classes: int = 10, size: int = 32) -> ModelRecord:
    rows: list[LayerRow] = list(_conv("conv1", 3, 64, 3, size))
    width, inputs, side = 64, 64, size
    for stage in range(1, 5):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            side //= stride
            if stride == 2:
                rows += _conv(f"layer{stage}.0.downsample.0", inputs, width, 1, side, 2)
            rows += _conv(f"layer{stage}.{block}.conv1", inputs, width, 3, side, stride)
            rows += _conv(f"layer{stage}.{block}.conv2", width, width, 3, side)
            inputs = width
        width *= 2
    rows.append(_layer("avgpool", "AdaptiveAvgPool2d", (512, 1, 1)))
    rows.append(_layer("fc", "Linear", (classes,), 512 * classes + classes, f"512->{classes}"))
    return _model("resnet18", rows)


ENVIRONMENT = Environment(
    rungs="0.1.0",
    commit="0123abc+",
    python="3.11.9",
    torch="2.6.0+cpu",
    platform="Linux-6.1-x86_64",
    device="AMD EPYC 9B14",
    cores=2,
    ranks=1,
    precision="bf16",
    precision_reason="this processor multiplies bf16 in hardware (avx512_bf16)",
)


def healthy() -> RunRecord:
    """Ten classes, twenty epochs, validated, tested, nothing wrong, no claims."""
    recipe = recipes.load("lab-003", ["training.epochs=20", "data.train=none", "data.validation=5000"])
    recipe = replace(recipe, name="steady", claims=(), assumptions=())
    counts = {"train": (4500,) * 10, "validation": (500,) * 10, "test": (1000,) * 10}
    return RunRecord(
        fingerprint="ab" * 32,
        status="finished",
        ending="all 20 epochs are done",
        recipe=recipe,
        data=DataRecord(
            source="cifar10",
            origin="$RUNGS_DATA/cifar-10-batches-py",
            hash="cd" * 32,
            canonical=True,
            classes=CIFAR10,
            counts=counts,
            image_size=32,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        ),
        model=plain_model(),
        environment=ENVIRONMENT,
        history=history(20),
        best_epoch=19,
        train=result(10, 45000, 0.87),
        validation=result(10, 5000, 0.835),
        test=result(10, 10000, 0.83, mistakes=24),
        started="2026-01-02T10:00:00Z",
        finished="2026-01-02T10:44:23Z",
        wall_s=2663.0,
        peak_memory_bytes=1_234_567_890,
    )


def claimed() -> RunRecord:
    """The shipped lab-003 with its claims, assumptions, and an overfitting history."""
    record, recipe = overfitting(), recipes.load("lab-003")
    return replace(record, recipe=recipe, validation=result(10, 1000, 0.835))


def overfitting() -> RunRecord:
    record = healthy()
    rows = history(20, overfit=1.0)
    best = min(rows, key=lambda row: row.validation_loss or 0.0).epoch
    train = result(10, 45000, 0.955)
    return replace(
        record, history=rows, best_epoch=best, train=train, test=result(10, 10000, 0.81, sure=0.09, mistakes=24)
    )


def diverged() -> RunRecord:
    ending = "the training loss was not finite in epoch 4 (step 2412)"
    return replace(healthy(), status="diverged", ending=ending, history=history(20)[:3], best_epoch=3, test=None)


def without_validation() -> RunRecord:
    record = healthy()
    recipe = replace(record.recipe, data=replace(record.recipe.data, validation=0.0))
    counts = {"train": (5000,) * 10, "test": (1000,) * 10}
    data = replace(record.data, counts=counts)
    rows = history(20, validation=False)
    return replace(record, recipe=recipe, data=data, history=rows, best_epoch=20, validation=None)


def interrupted() -> RunRecord:
    record = healthy()
    ending = "stopped by SIGINT after epoch 7"
    return replace(record, status="interrupted", ending=ending, history=record.history[:7], best_epoch=7, test=None)


def first_epoch() -> RunRecord:
    """Stopped before any epoch was done."""
    record = interrupted()
    return replace(record, history=(), best_epoch=None, train=None, validation=None, ending="stopped in epoch 1")


def sized(classes: int, epochs: int, *, size: int = 32, names: tuple[str, ...] | None = None) -> RunRecord:
    """A run of any number of classes, epochs and pixels; a few files were skipped."""
    record = healthy()
    names = names or tuple(f"class-{i:02d}" for i in range(classes))
    counts = {"train": (400,) * classes, "validation": (100,) * classes, "test": (100,) * classes}
    skipped = (Problem(path="photos/a <b>/x.jpg", kind="unreadable", reason="not an image & no picture"),)
    data = replace(
        record.data,
        source="folder:photos",
        origin="/home/ana/photos",
        canonical=None,
        classes=names,
        counts=counts,
        image_size=size,
        skipped=skipped,
    )
    spec = replace(record.recipe, name=f"k{classes}", training=replace(record.recipe.training, epochs=epochs))
    return replace(
        record,
        recipe=spec,
        data=data,
        model=resnet_model(classes, size),
        history=history(epochs, classes=classes),
        best_epoch=epochs,
        train=None,
        validation=result(classes, 50 * classes, 0.83),
        test=result(classes, 100 * classes, 0.80, mistakes=min(24, 3 * classes), size=min(size, 128)),
    )


def imbalanced() -> RunRecord:
    """Class 9 has a tenth of the images and is never said."""
    record = healthy()
    train = (4500,) * 9 + (450,)
    test = result(10, 9100, 0.83, rare=1)
    recall = (*test.recall[:9], 0.0)
    return replace(
        record,
        data=replace(record.data, counts={**record.data.counts, "train": train}),
        test=replace(test, recall=recall),
    )


def odd_names() -> RunRecord:
    """Three classes with HTML and long words in their names, 224 pixels."""
    return sized(3, 5, size=224, names=ODD_NAMES)
