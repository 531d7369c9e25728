"""EfficientNet-Lite (Google 2020): EfficientNet (Tan and Le 2019, arXiv:1905.11946) for small devices.

It has ReLU6 in place of swish and no squeeze-and-excitation; stem and head keep their widths, first and last stage
their depths. Parameters are named and ordered as in timm, and ordered as in the published files, so that weights can be
exchanged. These come from TensorFlow: hence its padding, and BatchNorms with an epsilon of 0.001. With others the nets
are worse: on 122 photos of ants and bees, the negative log likelihood of Lite0 is 0.86 with both, 1.00 with symmetric
padding, 0.96 with an epsilon of 0.00001; of Lite2 0.89, 0.92 and 1.06 (2026-11-30).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Stage:
    """A stage of EfficientNet-B0: blocks of equal shape, the first with a stride."""

    channels: int
    blocks: int
    kernel_size: int
    stride: int
    expansion: int


STAGES = (
    Stage(16, 1, 3, 1, 1),
    Stage(24, 2, 3, 2, 6),
    Stage(40, 2, 5, 2, 6),
    Stage(80, 3, 3, 2, 6),
    Stage(112, 3, 5, 1, 6),
    Stage(192, 4, 5, 2, 6),
    Stage(320, 1, 3, 1, 6),
)
STEM = 32
FEATURES = 1280


class EfficientNetLite(nn.Module):
    """The net without its classifier.

    Args:
        width: Factor of the stages' channels, rounded to multiples of 8: 1 for Lite0 and Lite1, 1.1 for Lite2.
        depth: Factor of the stages' blocks, rounded up: 1, 1.1 and 1.2.
    """

    num_features = FEATURES

    def __init__(self, *, width: float, depth: float) -> None:
        super().__init__()
        self.conv_stem = _conv(3, STEM, 3, stride=2)
        self.bn1 = _norm(STEM)
        self.act1 = nn.ReLU6(inplace=True)
        stages, inputs = [], STEM
        for i, stage in enumerate(STAGES):
            outputs = rounded(stage.channels * width)
            blocks = stage.blocks if i in (0, len(STAGES) - 1) else ceil(stage.blocks * depth)
            rows: list[nn.Module] = []
            for j in range(blocks):
                stride = stage.stride if j == 0 else 1
                if stage.expansion == 1:
                    rows.append(Separable(inputs, outputs, stage.kernel_size, stride))
                else:
                    rows.append(Inverted(inputs, outputs, stage.kernel_size, stride, stage.expansion))
                inputs = outputs
            stages.append(nn.Sequential(*rows))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _conv(inputs, FEATURES, 1)
        self.bn2 = _norm(FEATURES)
        self.act2 = nn.ReLU6(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to pooled features (B, 1280)."""
        x = self.act1(self.bn1(self.conv_stem(_padded(x, self.conv_stem))))
        x = self.blocks(x)  # (B, 320 width, H / 32, W / 32)
        x = self.act2(self.bn2(self.conv_head(x)))
        return self.pool(x).flatten(1)  # type: ignore[no-any-return]

    def draw_layer(self, layer: nn.Conv2d) -> None:
        """He initialisation over the outputs of a group (arXiv:1502.01852), as EfficientNet has it."""
        outputs = layer.out_channels // layer.groups * layer.kernel_size[0] ** 2
        nn.init.normal_(layer.weight, 0, (2 / outputs) ** 0.5)

    def stages(self) -> list[list[nn.Module]]:
        """Return the layers in nine groups, from the input: the stem, the seven stages, the last convolution."""
        blocks = [[stage] for stage in self.blocks]
        return [[self.conv_stem, self.bn1], *blocks, [self.conv_head, self.bn2]]


class Separable(nn.Module):
    """A depthwise convolution, then one of 1x1; a shortcut if the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _conv(inputs, inputs, kernel_size, stride, groups=inputs)
        self.bn1 = _norm(inputs)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_pw = _conv(inputs, outputs, 1)
        self.bn2 = _norm(outputs)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out = self.act1(self.bn1(self.conv_dw(_padded(x, self.conv_dw))))
        out = self.bn2(self.conv_pw(out))
        return out + x if self.has_shortcut else out  # type: ignore[no-any-return]


class Inverted(nn.Module):
    """More channels by 1x1, a depthwise convolution, fewer channels by 1x1; a shortcut if the shape stays.

    The inverted residual of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381).
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.conv_pw = _conv(inputs, inside, 1)
        self.bn1 = _norm(inside)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_dw = _conv(inside, inside, kernel_size, stride, groups=inside)
        self.bn2 = _norm(inside)
        self.act2 = nn.ReLU6(inplace=True)
        self.conv_pwl = _conv(inside, outputs, 1)
        self.bn3 = _norm(outputs)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out = self.act1(self.bn1(self.conv_pw(x)))  # (B, inside, H, W)
        out = self.act2(self.bn2(self.conv_dw(_padded(out, self.conv_dw))))  # (B, inside, H / stride, W / stride)
        out = self.bn3(self.conv_pwl(out))
        return out + x if self.has_shortcut else out  # type: ignore[no-any-return]


def rounded(channels: float) -> int:
    """Round channels to a multiple of 8, never down by more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def _conv(inputs: int, outputs: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    padding = kernel_size // 2 if stride == 1 else 0  # `_padded` does the others
    return nn.Conv2d(inputs, outputs, kernel_size, stride, padding, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _padded(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Pad the input of a convolution with a stride as TensorFlow's "same" does: an odd pixel right and below."""
    stride, kernel_size = conv.stride[0], conv.kernel_size[0]
    if stride == 1:
        return x
    height, width = (max((ceil(n / stride) - 1) * stride + kernel_size - n, 0) for n in x.shape[-2:])
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
