"""The quantities that studies keep of each run; the memory of this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from rungs.run.record import DataRecord, EvalResult, RunRecord

CONVERGED = 1.02
"""Training has converged in the first epoch whose validation loss is within 2 % of the smallest."""

SCORED = ("train", "validation", "test", "validation_tta", "test_tta")
"""Fields of a record that hold a net's scores."""

CELL_VALUES = (
    "train_accuracy", "train_loss", "validation_accuracy", "validation_loss", "test_accuracy", "test_loss",
    "validation_balanced_accuracy",  # the mean recall of the classes
    "highest_train_accuracy",  # over the epochs, as it trained
    "highest_test_accuracy",  # over the epochs, of a watched test set
    "validation_tta_accuracy", "validation_tta_loss", "test_tta_accuracy", "test_tta_loss",
    "steps", "convergence_steps", "epochs", "train_flops",
    "step_s", "train_s",  # a step, and all epochs, at the pace of the fastest, least disturbed epoch
    "packed",  # the size of the pack that it was trained in, if any: its times are shares
    "wall_s", "peak_memory_bytes",
)  # fmt: skip
CURVES = (
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy",
    "learning_rate",
)  # fmt: skip


def is_score(metric: str) -> bool:
    """Return whether one of `CELL_VALUES` depends on which images are scored."""
    return metric.endswith(("accuracy", "loss"))


def system(platform: str) -> str:
    """Shorten "Linux-6.1.0-x86_64-with-glibc2.36": kernel builds, like paths, are private."""
    system, _, rest = platform.partition("-")
    machine = next((part for part in ("x86_64", "arm64", "aarch64", "AMD64") if part in rest), "")
    return f"{system} {machine}".strip()


def measured(record: RunRecord) -> dict[str, float]:
    """Return each of `CELL_VALUES` that was measured."""
    rows = record.history
    values: dict[str, float] = {"wall_s": record.wall_s, "peak_memory_bytes": record.peak_memory_bytes}
    for part in SCORED:
        result: EvalResult | None = getattr(record, part)
        if result is not None:
            values |= {f"{part}_accuracy": result.accuracy, f"{part}_loss": result.loss}
    if record.validation is not None:
        values["validation_balanced_accuracy"] = record.validation.balanced_accuracy
    if rows:
        fastest_s = min(row.train_s for row in rows)  # the epoch least disturbed by other load
        losses = [row.train_loss if row.validation_loss is None else row.validation_loss for row in rows]
        arrived = next(row for row, loss in zip(rows, losses, strict=True) if loss <= CONVERGED * min(losses))
        values |= {"epochs": len(rows), "steps": rows[-1].step, "convergence_steps": arrived.step}
        values |= {"train_s": fastest_s * len(rows), "step_s": fastest_s / rows[0].step}
        if record.recipe.training.image_scales:  # epochs differ in length
            train_s = sum(row.train_s for row in rows)
            values |= {"train_s": train_s, "step_s": train_s / rows[-1].step}
        values |= {"train_flops": record.train_flops} if record.train_flops else {}
        values |= {"packed": most} if (most := max(row.packed for row in rows)) > 1 else {}
        values["highest_train_accuracy"] = max(row.train_accuracy for row in rows)
        watched = [row.test_accuracy for row in rows if row.test_accuracy is not None]
        values |= {"highest_test_accuracy": max(watched)} if watched else {}
    return values


def fold_ratio(record: RunRecord) -> float:
    """Return n_test / n_train of a fold of a cross-validation; 0 of any other run. Validation images are in neither."""
    counts = record.data.counts
    if record.recipe.data.fold is None or "test" not in counts:
        return 0.0
    return sum(counts["test"]) / sum(counts["train"])


def guessing_accuracy(data: DataRecord, part: str) -> float:
    """Return the accuracy of always predicting the most frequent class of a part: what a run that diverged counts."""
    counts = data.counts.get(part) or (1,) * len(data.classes)
    return max(counts) / max(1, sum(counts))


def available_bytes() -> float:
    """Return the memory that this machine and its container leave free, on Linux; elsewhere infinity."""
    free = [float("inf")]
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024)
    with suppress(OSError, ValueError):  # "max" is no limit
        most, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current"))
        free.append(max(0, int(most) - int(used)))
    return min(free)
