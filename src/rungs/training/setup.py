"""Build the objects of a run from its recipe."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

from rungs.data.batches import spans, to_float
from rungs.data.imageset import ImageSet
from rungs.data.split import Parts
from rungs.errors import UserError
from rungs.models import build_model
from rungs.models.backbone import BackboneNet
from rungs.models.describe import describe
from rungs.models.init_weights import draw_weights
from rungs.models.normalized import Normalized
from rungs.models.own import OwnNet
from rungs.models.pretrained import load_pretrained
from rungs.models.stages import stages
from rungs.optim import build_optimizer
from rungs.optim.ema import average
from rungs.recipe.models import Backbone
from rungs.recipe.own import Own, called
from rungs.recipe.seeds import derive
from rungs.recipe.spec import Recipe
from rungs.run.record import Environment, ModelRecord
from rungs.training.class_weights import class_weights
from rungs.training.convolutions import fast_convolutions, use_fast
from rungs.training.dataset import Dataset
from rungs.training.device import World, environment, is_out_of_memory
from rungs.training.freezing import freeze, keeps_features, require_stages
from rungs.training.precision import precision_of

SEEN = 5000
"""Training images that a net may use to initialise its weights, where it has no number of its own, `sees`."""


def image_size(recipe: Recipe, epoch: int) -> int:
    """Return the image size in pixels that a resolved recipe trains on in an epoch, counted from 0."""
    full, scales = recipe.data.image_size or 0, recipe.training.image_scales
    part = -(-(epoch + 1) * len(scales) // recipe.training.epochs) - 1  # the last epoch has the last scale
    return round(full * scales[part]) if scales else full


@dataclass
class Setup:
    """Everything that a run trains with.

    `model` is the net with its input normalisation, a `Normalized` (of a pack a `Stacked`; or a head alone, see
    `rungs.training.features`); `trained` is the same, wrapped for several ranks;
    `scored_net` is the net that validation and test score: the moving average if there is one. `members` are the runs
    trained together: only itself, or those of a pack (`rungs.training.pack`).
    """

    recipe: Recipe
    world: World
    parts: Parts
    model: nn.Module
    trained: nn.Module
    ema: AveragedModel | None
    optimizer: torch.optim.Optimizer
    autocast: Callable[[], AbstractContextManager[object]]
    environment: Environment
    description: ModelRecord
    steps_per_epoch: int
    forward_flops: dict[int, int]  # per image, by its size
    class_weights: Tensor | None  # float32 (K,), of a pack (S, K), on the device; None: all images count alike

    def image_size(self, epoch: int) -> int:
        """Return the image size in pixels that the net trains on in an epoch, counted from 0."""
        return image_size(self.recipe, epoch)

    @property
    def scored_net(self) -> nn.Module:
        """The net whose weights are scored and kept."""
        return self.model if self.ema is None else self.ema.module

    @property
    def members(self) -> tuple[Setup, ...]:
        """The runs that are trained together."""
        return (self,)

    @property
    def records(self) -> bool:
        """Whether steps are recorded as CUDA graphs; communication between ranks cannot be."""
        return self.recipe.training.cuda_graphs and self.world.device.type == "cuda" and self.world.size == 1

    @property
    def flops_before(self) -> int:
        """Operations before the first epoch: of features that are computed once."""
        if not self.recipe.training.head_epochs:
            return 0
        images = sum(len(part) for name, part in self.parts.present().items() if name != "test")
        return images * self.forward_flops[self.recipe.data.image_size or 0]

    def whole_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of the whole net, from those of `scored_net`: they differ where only a head is trained."""
        return state

    def as_whole(self) -> Setup:
        """Return the setup of the whole net, with the pictures, as it is scored now."""
        return self

    def in_step(self, is_last: bool) -> AbstractContextManager[object]:
        """Return the context of a forward pass: ranks share gradients once per step, with the last micro-batch.

        Their shares of a batch may differ by an image, and so in the number of micro-batches.
        """
        waits = isinstance(self.trained, DistributedDataParallel) and not is_last
        return self.trained.no_sync() if waits else nullcontext()  # type: ignore[operator]

    def begin_epoch(self, epoch: int) -> bool:
        """Put the net into training mode, but for what is frozen in an epoch, counted from 0.

        Returns:
            Whether other weights are trained than before.
        """
        self.trained.train()
        return freeze(self.model, self.optimizer, self.recipe.training, epoch)

    def seed_dropout(self, seeds: Sequence[int]) -> None:
        """Reseed dropout, each member's with its own seed."""
        torch.manual_seed(seeds[0])

    def clip_gradients(self, most: float) -> None:
        """Clip the gradient of each member to a norm of at most `most`."""
        clip_grad_norm_(self.model.parameters(), most)

    def copy_to_members(self) -> None:
        """Copy the trained state to each member; a single one has it already."""


def assemble(
    recipe: Recipe,
    dataset: Dataset,
    world: World,
    moved: dict[int, Tensor] | None = None,
    given: OwnNet | None = None,
    *,
    resumed: bool = False,
) -> Setup:
    """Build the net, its optimiser and its precision, and move the data to the device if it fits.

    Args:
        recipe: With its image size resolved.
        dataset: Its data.
        world: Where it is trained.
        moved: Pixels already on the device, by their original address; this call adds those it moves.
        given: The user's own net, if it was passed in Python.
        resumed: Whether the recipe holds what its run chose when it began, perhaps on another machine.

    Returns:
        The setup, its recipe resolved: every "auto" replaced by what was chosen.
    """
    train, size, classes = dataset.parts.train, dataset.record.image_size, len(dataset.record.classes)
    _require_ranks_fit(recipe, len(train), world)
    net = _initialised_net(recipe, size, classes, given)
    model = Normalized(net, recipe.data.mean or dataset.record.mean, recipe.data.std or dataset.record.std)
    require_stages(model, recipe.training)
    description = describe(model, called(recipe.model), size)
    smaller = {image_size(recipe, epoch) for epoch in range(recipe.training.epochs)} - {size}
    flops = {size: description.flops, **_flops(model, smaller)}
    precision, reason = precision_of(model, recipe.training.precision, world, flops)
    recipe = replace(recipe, training=replace(recipe.training, precision=precision))
    if not _sees_features(recipe, net, world):
        _let_see(net, model, train)
    recipe = _with_fast_convolutions(recipe, model, world, flops, len(train), kept=resumed)
    model = model.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(recipe.optim, model, stages=stages(model), in_bf16=precision == "bf16")
    freeze(model, optimizer, recipe.training, 0)  # before DDP asks which weights have gradients
    return Setup(
        recipe=recipe,
        world=world,
        parts=_resident(dataset.parts, world.device, {} if moved is None else moved),
        model=model,
        trained=_shared(model, world),
        ema=average(model, recipe.training.ema_decay) if recipe.training.ema_decay else None,
        optimizer=optimizer,
        autocast=partial(torch.autocast, world.device.type, torch.bfloat16) if precision == "bf16" else nullcontext,
        environment=replace(environment(world, precision, reason), convolutions=fast_convolutions(model)),
        description=description,
        steps_per_epoch=len(spans(len(train), recipe.training.batch_size, world.size)),
        forward_flops=flops,
        class_weights=class_weights(recipe, train, world.device),
    )


def _initialised_net(recipe: Recipe, size: int, classes: int, given: OwnNet | None) -> nn.Module:
    """Build the net with its initial weights; a user's own net initialises itself, from the seed."""
    try:
        if isinstance(recipe.model, Own):
            torch.manual_seed(derive(recipe.seed, "weights", 0))
            return build_model(recipe.model, image_size=size, classes=classes, given=given)
        net = build_model(recipe.model, image_size=size, classes=classes)
        draw_weights(net, lambda name: derive(recipe.seed, "weights", zlib.crc32(name.encode())))
        if isinstance(recipe.model, Backbone):
            load_pretrained(net, recipe.model)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("not enough memory for this net", where="model", do="choose a smaller one") from error
    return net


def _shared(model: nn.Module, world: World) -> nn.Module:
    """Wrap a net for several ranks; BatchNorm statistics are shared before scoring, not before each step."""
    return DistributedDataParallel(model, forward_sync_buffers=False) if world.size > 1 else model


def _sees_features(recipe: Recipe, net: nn.Module, world: World) -> bool:
    """Return whether a head is standardised by the features that it is trained on alone: see `on_features`."""
    alone = recipe.training.head_epochs > 0 or keeps_features(recipe, net, world.size)
    return isinstance(net, BackboneNet) and alone


def _let_see(net: nn.Module, model: Normalized, train: ImageSet) -> None:
    """Show training images to a net that initialises weights from them."""
    see: Callable[[Tensor], None] | None = getattr(net, "see", None)
    if see is not None:
        every = -(-len(train) // getattr(net, "sees", SEEN))  # spread over all, which may be sorted by class
        see(model.normalise(to_float(train.at(torch.arange(0, len(train), every)))))


def _with_fast_convolutions(
    recipe: Recipe, model: Normalized, world: World, sizes: Iterable[int], images: int, *, kept: bool
) -> Recipe:
    """Replace convolutions of a net by faster ones, in place; return the recipe with what it uses. See `use_fast`."""
    training = recipe.training
    share = min(training.batch_size, images) // world.size
    convolution = use_fast(
        model,
        training.convolution,
        precision=training.precision,
        world=world,
        sizes=sizes,
        images=min(training.micro_batch or share, share),
        kept=kept,
    )
    return replace(recipe, training=replace(training, convolution=convolution))


def _resident(parts: Parts, device: torch.device, moved: dict[int, Tensor]) -> Parts:
    """Move the parts to a GPU, once, if their pixels take less than half of its free memory."""
    # parts of one source share their pixels
    sources = {part.pixels.data_ptr(): part.pixels for part in parts.present().values()}
    missing = {pointer: tensor for pointer, tensor in sources.items() if pointer not in moved}
    if device.type != "cuda" or sum(p.nbytes for p in missing.values()) > torch.cuda.mem_get_info(device)[0] / 2:
        return parts
    moved.update({pointer: tensor.to(device) for pointer, tensor in missing.items()})

    def move(part: ImageSet) -> ImageSet:
        rows = None if part.rows is None else part.rows.to(device)
        pixels, labels = moved[part.pixels.data_ptr()], part.labels.to(device)
        return dataclasses.replace(part, pixels=pixels, labels=labels, rows=rows)

    validation, test = (None if part is None else move(part) for part in (parts.validation, parts.test))
    return Parts(move(parts.train), validation, test)


def _flops(model: Normalized, sizes: set[int]) -> dict[int, int]:
    """Return the operations of a forward pass at each size; refuse sizes that the net cannot take, before training."""
    flops = {}
    for size in sorted(sizes):
        try:
            flops[size] = describe(model, "", size).flops
        except RuntimeError as error:
            what = f"this net cannot take images of {size} pixels: {error}"
            do = "leave image_scales out, or choose a net that ends in a global pool, such as resnet18"
            raise UserError(what, where="training.image_scales", do=do) from error
    return flops


def _require_ranks_fit(recipe: Recipe, images: int, world: World) -> None:
    if recipe.training.unfreeze_epochs and world.size > 1:
        do = "train in one process, or leave it out"
        raise UserError("several ranks cannot unfreeze stages", where="training.unfreeze_epochs", do=do)
    smallest = min(images, recipe.training.batch_size)
    if smallest < 2 * world.size:
        what = f"a batch of {smallest} images for {world.size} ranks: each needs two"
        raise UserError(what, where="training.batch_size", do="use larger batches, more images or fewer ranks")
