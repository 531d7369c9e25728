"""A rule about mirror images of digits and letters."""

from __future__ import annotations

from rungs.diagnose import cures, evidence
from rungs.diagnose.findings import OURS, note, warning
from rungs.diagnose.symbols import certain, symbols
from rungs.recipe.augments import Flip, Rotate
from rungs.run.record import Finding, RunRecord

TURNED = 45.0
"""Degrees from which a 6 begins to be a 9, and an N a Z."""


def mirrored_symbols(record: RunRecord) -> Finding | None:
    """Digits or letters that are mirrored or turned: a mirrored 2 is no 2, and a turned 6 is a 9."""
    why = symbols(record)
    train, tta = record.recipe.augment.train, record.recipe.evaluation.tta
    wrong = [one for one in train if isinstance(one, Flip) or (isinstance(one, Rotate) and one.degrees > TURNED)]
    if why is None or not (wrong or tta != "none"):
        return None
    done = ["mirrored" if isinstance(one, Flip) else "turned" for one in wrong]
    what = f"Training images are {' and '.join(dict.fromkeys(done))}" if wrong else "Images are mirrored when scored"
    what += ", and mirrored when scored" if wrong and tta != "none" else ""
    text = (
        f"{what}, but {why}: most mirrored or rotated digits and letters no longer belong to their class, and some "
        "belong to another. Is a mirror image of the same class? If not, leave it out."
    )
    changes = [cures.augments([one for one in train if one not in wrong])] if wrong else []
    changes += ["--set evaluation.tta=none"] if tta != "none" else []
    held_out = record.validation or record.test
    pairs = zip(record.data.classes, held_out.recall, strict=True) if held_out is not None else ()
    seen = [(name, share) for name, share in pairs if share is not None]
    picture = seen and evidence.bars([name for name, _ in seen], "recall", [("recall", [share for _, share in seen])])
    return (warning if certain(record) else note)(
        "mirrored-symbols",
        "Mirrored digits or letters",
        text,
        " ".join(changes),
        f"the source or the names of the classes are those of digits or letters, and images are flipped or rotated by "
        f"more than {TURNED:g} degrees",
        "Shorten & Khoshgoftaar 2019, doi:10.1186/s40537-019-0197-0: flipping is not label-preserving on text such as "
        f"MNIST or SVHN; the names are {OURS}",
        picture or None,
    )
