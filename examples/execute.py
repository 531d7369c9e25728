"""Execute the notebooks of this folder and keep what they show: `python examples/execute.py`.

A notebook runs in an empty folder, from where `../results` is that of the repository: what it writes is not kept.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))
LONGEST_S = 600


def execute(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with the outputs of all its cells.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "results").symlink_to(HERE.parent / "results")
        place = Path(folder) / "examples"
        place.mkdir()
        client = NotebookClient(notebook, timeout=LONGEST_S, resources={"metadata": {"path": str(place)}})
        client.execute(env={**os.environ, "COLUMNS": "120"})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    return notebook


def main() -> None:
    """Execute every notebook and write it back."""
    for path in NOTEBOOKS:
        nbformat.write(execute(path), path)


if __name__ == "__main__":
    main()
