"""TensorBoard: scalars of each epoch, the confusion matrix, the recipe as hyper-parameters."""

from __future__ import annotations

import msgspec
import numpy as np

from rungs.errors import UserError
from rungs.recipe.identity import flat
from rungs.recipe.roles import has_role
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow, RunRecord


class Tracker:
    """Writes nothing; the base class."""

    def row(self, row: EpochRow) -> None:
        """Log an epoch."""

    def finish(self, record: RunRecord) -> None:
        """Log the result."""

    def close(self) -> None:
        """Flush and close."""


class TensorBoard(Tracker):
    """Writes events into the run's folder.

    Raises:
        UserError: tensorboard is not installed.
    """

    def __init__(self, folder: RunDir, done_epochs: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            do = "install the extra, in the folder of rungs: pip install -e '.[track]'"
            raise UserError("tensorboard is not installed", where="--tensorboard", do=do) from error
        self.writer = SummaryWriter(str(folder.events), purge_step=done_epochs + 1 if done_epochs else None)

    def row(self, row: EpochRow) -> None:  # noqa: D102
        scalars = {
            "loss/train": row.train_loss,
            "loss/validation": row.validation_loss,
            "accuracy/train": row.train_accuracy,
            "accuracy/validation": row.validation_accuracy,
            "loss/test": row.test_loss,
            "accuracy/test": row.test_accuracy,
            "learning_rate": row.learning_rate,
            "images_per_s": row.images_per_s,
        }
        for name, value in scalars.items():
            if value is not None:
                self.writer.add_scalar(name, value, row.epoch)

    def finish(self, record: RunRecord) -> None:  # noqa: D102
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        from rungs.report.run_figures import confusion

        if record.test is not None:
            canvas = FigureCanvasAgg(confusion(record.test, record.data.classes, normalised=True))
            canvas.draw()  # type: ignore[no-untyped-call]
            picture = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
            self.writer.add_image("confusion/test", picture, record.best_epoch, dataformats="HWC")
            leaves = flat(msgspec.to_builtins(record.recipe))
            parameters = {key: value for key, value in leaves.items() if not has_role(key, "about")}
            parameters = {k: v if isinstance(v, str | int | float | bool) else str(v) for k, v in parameters.items()}
            results = {"test/accuracy": record.test.accuracy, "test/loss": record.test.loss}
            self.writer.add_hparams(parameters, results, run_name=".")

    def close(self) -> None:  # noqa: D102
        self.writer.close()
