"""rungs: climb from a baseline to an image classifier that you can trust, one measured change at a time.

Importing this package is cheap: torch is imported when one of its functions is first used.

    from rungs import train, load
    record = train("digits-quick", folder="runs/first")
    print(load("runs/first").predict(["photo.png"]))
"""

from importlib import import_module
from typing import Any

FUNCTIONS = {
    "bench": "rungs.study.bench.measure",
    "climb": "rungs.study.ladder.climb",
    "compare": "rungs.study.comparison.compare",
    "html": "rungs.study.notebook",
    "load": "rungs.ship.predict",
    "lr_find": "rungs.study.rates.find",
    "merge": "rungs.study.ladder.merge",
    "train": "rungs.study.folds.train",
    "tune": "rungs.study.search.tune",
}
"""The functions of the Python API and the modules that hold them."""
__all__ = ["__version__", "bench", "climb", "compare", "html", "load", "lr_find", "merge", "train", "tune"]


def __getattr__(name: str) -> Any:
    """Import a function of the Python API on first use."""
    if name == "__version__":
        return import_module("importlib.metadata").version("rungs")
    if name not in FUNCTIONS:
        raise AttributeError(f"module 'rungs' has no attribute {name!r}")
    return getattr(import_module(FUNCTIONS[name]), name)
