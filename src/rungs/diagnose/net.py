"""Rules about the net: one that is made for other images."""

from __future__ import annotations

from rungs.diagnose.findings import OURS, warning
from rungs.recipe.models import ResNet18
from rungs.run.record import Evidence, Finding, RunRecord, Series

SMALL_PIXELS = 64
"""Up to this size a stem that divides the map by four leaves too little of it (He et al. 2015, section 4.2)."""
LEFT = 4
"""Pixels a side of a map on which a 3x3 kernel mostly sees padding."""


def large_stem(record: RunRecord) -> Finding | None:
    """ResNet-18's stem for 224 pixels on small images."""
    model, pixels = record.recipe.model, record.data.image_size
    if not isinstance(model, ResNet18) or model.stem != "imagenet" or pixels > SMALL_PIXELS:
        return None
    text = (
        f"The stem for 224 pixels divides the map by four before the first block: of {pixels} pixels "
        f"{pixels // 4} are left. On small images the other stem is usually many points better."
    )
    sides = [row.output[1] for row in record.model.layers if len(row.output) == 3]
    picture = Evidence(
        x_label="layer",
        y_label="pixels a side",
        x=tuple(float(i) for i in range(len(sides) + 1)),
        series=(Series(name="map", y=(float(pixels), *map(float, sides))),),
        level=float(LEFT),
        level_name="a kernel sees mostly padding",
    )
    return warning(
        "large-stem",
        "A stem for larger images",
        text,
        "--set model.stem=cifar",
        f"images of at most {SMALL_PIXELS} pixels go into ResNet-18's stem for 224",
        "He et al. 2015, arXiv:1512.03385, section 4.2: for 32 pixels the authors use a 3x3 stem; the bound is " + OURS,
        picture,
    )
