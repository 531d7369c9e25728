"""`rungs` in a process of its own that draws no figures, for tests of processes: python undrawn_rungs.py WORDS."""

from __future__ import annotations

from pathlib import Path


def save(figure: object, stem: Path) -> bytes:
    """Save an empty figure."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    for kind in ("svg", "png"):
        stem.with_name(f"{stem.name}.{kind}").write_bytes(b"<svg/>")
    return b"<svg/>"


if __name__ == "__main__":
    from rungs.report import style

    style.save = save
    from rungs.cli.main import main

    main()
