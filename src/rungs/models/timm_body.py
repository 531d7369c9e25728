"""Nets of timm (extra: models) as bodies; timm is imported where one is asked for, never before."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from rungs.errors import UserError

EXTRA = "models"


class TimmBody(nn.Module):
    """A net of timm without its classifier.

    Args:
        name: As timm knows it: "resnet50", "resnet50.a1_in1k", or "hf-hub:OWNER/NAME".
        image_size: Height and width of the images in pixels.
        pretrained: Whether to load timm's weights, from its cache on this machine or the network.

    Raises:
        UserError: No timm here, no such net, its weights cannot be had, or it takes images of another size only.
    """

    def __init__(self, name: str, *, image_size: int | None = None, pretrained: bool = False) -> None:
        super().__init__()
        self.net: Any = create(name, pretrained=pretrained)
        cfg = self.net.pretrained_cfg
        size = cfg["input_size"][-1]
        if cfg.get("fixed_input_size") and image_size not in (None, size):
            do = f"set data.image_size = {size}, or leave it out"
            raise UserError(
                f"{name} takes images of {size} pixels only, got {image_size}", where="model.weights", do=do
            )
        self.num_features: int = getattr(self.net, "head_hidden_size", self.net.num_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to features (B, num_features)."""
        return self.net(x)  # type: ignore[no-any-return]

    def stages(self) -> list[list[nn.Module]]:
        """Return the layers in timm's own coarse groups, from the input."""
        from timm.models import group_modules

        groups = group_modules(self.net, self.net.group_matcher(coarse=True), return_values=True)
        return [[layer for layer in groups[i] if layer is not self.net] for i in sorted(groups)]


def create(name: str, *, pretrained: bool) -> Any:
    """Return a net of timm that ends with its features; the arguments are those of `TimmBody`."""
    timm = _timm()
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # a dozen kinds, of timm, the Hub's library and the network
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        if pretrained:
            what = f"timm cannot load the weights of {name}: {reason}"
            do = "connect to the network once, so that they are kept on this machine; or give their file: file:PATH"
        else:
            what, do = (
                f"timm cannot build {name}: {reason}",
                "python -c 'import timm; print(timm.list_models())' lists all",
            )
        raise UserError(what, where="model.weights", do=do) from error


def _timm() -> Any:
    do = f"install the extra, in the folder of rungs: pip install -e '.[{EXTRA}]'"
    try:
        import timm
    except ImportError as error:
        raise UserError("these weights need timm, which is not installed", where="model.weights", do=do) from error
    except RuntimeError as error:  # from torchvision, whose compiled part fits one version of torch only
        what = f"timm cannot be imported: {str(error).partition(chr(10))[0]}"
        raise UserError(what, where="model.weights", do=f"{do}, with a torchvision that fits torch") from error
    return timm
