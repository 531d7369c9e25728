"""rungs: climb from a baseline to an image classifier that you can trust, one measured change at a time.

Importing this package costs nothing: each of its doors brings in torch when it is first used.

    from rungs import train, load
    record = train("digits-quick", folder="runs/first")
    print(load("runs/first").predict(["photo.png"]))
"""

from types import ModuleType
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "bench", "climb", "compare", "load", "lr_find", "train", "tune"]


def __getattr__(name: str) -> Any:
    """Import the doors of the Python API on first use."""
    doors: ModuleType
    if name in ("train", "load", "climb", "bench"):
        doors = api
    elif name == "tune":
        doors = tuning
    elif name == "compare":
        from rungs.study.comparison import compare as comparing

        doors = comparing
    elif name == "lr_find":
        doors = rates
    else:
        raise AttributeError(f"module 'rungs' has no attribute {name!r}")
    return getattr(doors, name)
