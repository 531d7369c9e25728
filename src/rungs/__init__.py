"""rungs: climb from a baseline to an image classifier that you can trust, one measured change at a time.

Importing this package costs nothing: `train`, `load`, `climb` and `bench` bring in torch when they are first used.

    from rungs import train, load
    record = train("digits-quick", folder="runs/first")
    print(load("runs/first").predict(["photo.png"]))
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "bench", "climb", "load", "lr_find", "train"]


def __getattr__(name: str) -> Any:
    """Import the doors of the Python API on first use."""
    if name in ("train", "load", "climb", "bench"):
        from rungs import api

        return getattr(api, name)
    if name == "lr_find":
        from rungs import rates

        return rates.lr_find
    raise AttributeError(f"module 'rungs' has no attribute {name!r}")
