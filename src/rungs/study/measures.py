"""The quantities that studies keep of each run."""

from __future__ import annotations

CELL_VALUES = (
    "train_accuracy", "train_loss", "validation_accuracy", "validation_loss", "test_accuracy", "test_loss",
    "highest_train_accuracy",  # over the epochs, as it trained
    "highest_test_accuracy",  # over the epochs, of a watched test set
    "validation_tta_accuracy", "validation_tta_loss", "test_tta_accuracy", "test_tta_loss",
    "steps", "convergence_steps", "epochs", "train_flops",
    "step_s", "train_s",  # a step, and all epochs, at the pace of the fastest, least disturbed epoch
    "packed",  # the most runs that were trained at once with it, where there were others: its times are shares
    "wall_s", "peak_memory_bytes",
)  # fmt: skip
CURVES = (
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy",
    "learning_rate",
)  # fmt: skip
