"""ResNet-18 (He et al. 2015, arXiv:1512.03385), parameter names as in torchvision so that weights can be exchanged."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + shortcut, inplace=True)


class ResNet(nn.Module):
    """A stem, then four stages of basic blocks.

    Args:
        blocks: Basic blocks per stage.
        stem: "imagenet": 7x7 and a 3x3 max pool, each stride 2, for 224 px; "cifar": 3x3 stride 1, no pool, for 32 px.
        width: Channels of the first stage; each further stage doubles them.
        image_size: Any: the net ends in a global average pool.
        classes: Number of logits; None ends the net with the pooled features.
    """

    def __init__(
        self,
        *,
        blocks: tuple[int, int, int, int],
        stem: Literal["imagenet", "cifar"],
        width: int,
        image_size: int,
        classes: int | None,
    ) -> None:
        super().__init__()
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks[0], stride=1)
        self.layer2 = _stage(width, 2 * width, blocks[1], stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks[2], stride=2)
        self.layer4 = _stage(4 * width, 8 * width, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.num_features = 8 * width
        self.fc = nn.Identity() if classes is None else nn.Linear(self.num_features, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                self.draw_layer(module)

    def draw_layer(self, layer: nn.Conv2d | nn.Linear) -> None:
        """He initialisation over the outputs for convolutions (arXiv:1502.01852); PyTorch's default for the rest."""
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        else:
            layer.reset_parameters()

    def stages(self) -> list[list[nn.Module]]:
        """Return the layers in five groups, from the input, then the classifier if there is one."""
        body: list[list[nn.Module]] = [
            [self.conv1, self.bn1], [self.layer1], [self.layer2], [self.layer3], [self.layer4]
        ]  # fmt: skip
        return [*body, [self.fc]] if isinstance(self.fc, nn.Linear) else body

    @property
    def head(self) -> nn.Module:
        """The classifier, which torchvision calls fc."""
        return self.fc

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to logits (B, K), or to features (B, 8 width)."""
        return self.fc(self.features(x))  # type: ignore[no-any-return]

    def features(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to pooled features (B, 8 width)."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (B, 8 width, H', W')
        return self.avgpool(x).flatten(1)  # type: ignore[no-any-return]


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


def resnet18(*, stem: Literal["imagenet", "cifar"], width: int, image_size: int, classes: int | None) -> ResNet:
    """Build ResNet-18: two basic blocks per stage; 11,181,642 parameters with the ImageNet stem and 10 classes."""
    return ResNet(blocks=(2, 2, 2, 2), stem=stem, width=width, image_size=image_size, classes=classes)
