"""The types of the command line's flags: what tyro needs to know of them beyond Python's types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

Override = Annotated[tuple[str, ...], arg(name="set", metavar="FIELD=VALUE", help_behavior_hint="")]
Data = Annotated[str | None, arg(metavar="SOURCE", help_behavior_hint="")]
Where = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
Number = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
Seconds = Annotated[float, arg(metavar="SECONDS")]
Rate = Annotated[float, arg(metavar="RATE")]
Share = Annotated[float | None, arg(metavar="SHARE", help_behavior_hint="")]
Try = Annotated[bool, arg(name="try")]
Rules = Annotated[tuple[str, ...], arg(metavar="RULE", help_behavior_hint="")]
Rungs = Annotated[tuple[str, ...], arg(metavar="RUNG", help_behavior_hint="")]
Part = Annotated[
    Literal["train", "validation", "test", "all"] | None,
    arg(metavar="{train,validation,test,all}", help_behavior_hint=""),
]
Space = Annotated[str, arg(metavar="SPACE")]
Word = Annotated[str, arg(metavar="NAME")]
Address = Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="")]
HowMany = Annotated[int, arg(metavar="N")]
Files = Positional[Annotated[tuple[Path, ...], arg(help_behavior_hint="")]]
Runs = Positional[Annotated[tuple[str, ...], arg(metavar="RUN", help_behavior_hint="")]]
Family = Literal["all", "recipes", "ladders", "spaces", "models", "data", "augments"]
