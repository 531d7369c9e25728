"""From arrays in memory to an `ImageSet`: what the sources of fixed-size images share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from rungs.data.imageset import ImageSet, content_hash


def image_set(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: Sequence[str], image_size: int | None
) -> ImageSet:
    """Make an `ImageSet`, resized where `image_size` is given and is not the images' own.

    Args:
        images: uint8 (N, 3, H, W), RGB.
        labels: int64 (N,).
        classes: K names.
        image_size: Height and width in pixels, or None.
    """
    if image_size is not None and images.shape[2:] != (image_size, image_size):
        from rungs.data.decode import resize_array

        images = resize_array(images, image_size)  # (N, 3, image_size, image_size)
    pixels, truth = torch.from_numpy(images), torch.from_numpy(labels)
    return ImageSet(pixels, truth, tuple(classes), content_hash(pixels, truth, classes))
