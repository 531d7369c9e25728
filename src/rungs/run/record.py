"""Records: the plain results of training, as JSON. Reports, plots and comparisons read these and nothing else.

Accuracies are fractions of 1, losses are mean natural-log cross-entropies, times are seconds (`_s`),
`flops` count a multiplication and an addition as two operations. The records of scores and the base of all records
have files of their own, and can be imported from here, too.
"""

from __future__ import annotations

from typing import Literal

from rungs.recipe.spec import Recipe
from rungs.run.base import Record as Record
from rungs.run.base import from_json as from_json
from rungs.run.base import to_json as to_json
from rungs.run.score import EvalResult as EvalResult
from rungs.run.score import Mistake as Mistake
from rungs.run.score import PerImage as PerImage
from rungs.run.score import Scaled as Scaled
from rungs.run.score import WithoutTwins as WithoutTwins
from rungs.run.score import mean_share as mean_share


class EpochRow(Record, frozen=True, kw_only=True):
    """One finished epoch. Training values are means over the epoch during training (augmented, dropout on).

    The training loss is what is minimised: with label smoothing and class weights. The others are without.
    """

    epoch: int  # 1 is the first
    step: int  # optimiser steps since the start
    learning_rate: float  # of the last step
    train_loss: float
    train_accuracy: float
    validation_loss: float | None  # None: the recipe has no validation set
    validation_accuracy: float | None
    train_s: float  # in a pack: the run's share of its time
    validation_s: float
    images_per_s: float  # training images, all ranks together
    test_loss: float | None = None  # None, the normal case: the test set is not watched
    test_accuracy: float | None = None
    warm_up_s: float = 0.0  # part of train_s: steps that compile the net or precede a CUDA graph, and its recording
    packed: int = 1  # runs trained together in one process, itself included
    tenths: tuple[float, ...] = ()  # mean training loss of each tenth of the epoch; of each step if there are fewer
    class_share: float | None = None  # of the most frequent class in a batch, mean over the last batch of each tenth


class Problem(Record, frozen=True, kw_only=True):
    """A faulty or doubtful file of a data source."""

    path: str
    kind: Literal["unreadable", "empty", "duplicate", "near duplicate", "doubtful"]
    reason: str


class NearPair(Record, frozen=True, kw_only=True):
    """Two images that look alike: in a run, of different parts and not identical."""

    part: str  # the later one, "test"
    image: str  # its path, or "test image 12"
    other_part: str  # "train"
    other: str
    similarity: float | None = None  # a correlation, see `rungs.data.near`; None: by an earlier version
    mirrored: bool = False  # one of them looks like the mirror image of the other
    suspect: bool = False  # below the similarity from which two images count as near duplicates
    pictures: tuple[str, str] | None = None  # base64 of PNGs of at most 64 pixels: the image, the other


class GroupsRecord(Record, frozen=True, kw_only=True):
    """The groups of a source's training images, each of which stayed in one part."""

    by: str  # the name of a grouping in `rungs.recipe.groups`
    n: int  # groups of at least two images
    images: int  # in them
    largest: int  # images of the largest one
    undated: int = 0  # photos that do not say when they were taken, of a grouping by time


class DataRecord(Record, frozen=True, kw_only=True):
    """What was trained on. `counts` are images per class for each part."""

    source: str
    origin: str  # where it was found
    hash: str  # SHA-256 over the parts: their source's content and which of its images they hold
    hashes: dict[str, str] = {}  # of each part
    members: dict[str, str] = {}  # of each part, of its files or rows and labels: the same however they are decoded
    canonical: bool | None  # True: the published data set, to the byte; None: there is no published one
    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]  # "train", "validation", "test" -> (K,)
    image_size: int  # pixels
    mean: tuple[float, float, float]  # of the training part, pixels in [0, 1]
    std: tuple[float, float, float]
    skipped: tuple[Problem, ...] = ()  # left out by --skip-unreadable
    leaks: dict[str, int] = {}  # part -> number of images identical to one of an earlier part
    near: dict[str, int] = {}  # part -> number of images that look like one of an earlier part: see `data.near`
    near_pairs: tuple[NearPair, ...] = ()  # the likeliest of them, and suspects
    near_compared: int | None = None  # images compared by their looks; 0: only identical ones searched; None: older
    suspects: dict[str, int] = {}  # part -> number of images that look a little less like one of an earlier part
    groups: GroupsRecord | None = None  # None: each image stood alone
    notes: tuple[str, ...] = ()  # how the source's files were read


class LayerRow(Record, frozen=True, kw_only=True):
    """One layer of a net, for a single image. Shapes are without the batch."""

    name: str
    kind: str  # the class name, Conv2d
    detail: str  # "3->32, 3x3, stride 1, pad 1"
    output: tuple[int, ...]
    parameters: int
    flops: int  # forward


class ModelRecord(Record, frozen=True, kw_only=True):
    """A net as built."""

    name: str
    parameters: int
    flops: int  # forward, one image
    layers: tuple[LayerRow, ...]


class ActivationRow(Record, frozen=True, kw_only=True):
    """The outputs of one activation on some training images, with the best weights."""

    name: str  # of the layer
    kind: Literal["relu", "sigmoid"]
    idle: float  # ReLU: share of channels (units) that were zero for all images, everywhere
    saturated: float  # sigmoid: share of values below 0.05 or above 0.95


class FastConvolution(Record, frozen=True, kw_only=True):
    """A convolution that is computed in another way than torch's on maps of one size."""

    layer: str  # its name in the net
    height: int  # of the maps, in pixels
    width: int
    way: str  # a key of `rungs.models.fast_convolution.WAYS`


class Environment(Record, frozen=True, kw_only=True):
    """The machine and the software."""

    rungs: str
    commit: str | None  # of the source tree, with "+" when it has changes; None: an installed package
    python: str
    torch: str
    platform: str
    device: str  # "NVIDIA H200", "AMD EPYC"
    cores: int
    ranks: int
    precision: str
    precision_reason: str
    compile_reason: str = ""  # why the net was compiled or not
    convolutions: tuple[FastConvolution, ...] = ()  # those that are not computed by torch


class Series(Record, frozen=True, kw_only=True):
    """Values to draw: a line over `x`, or a bar for each name in `x`; with intervals, points that are not joined."""

    name: str
    y: tuple[float | None, ...]
    low: tuple[float, ...] = ()  # 95 % intervals
    high: tuple[float, ...] = ()
    images: tuple[int, ...] = ()  # that each point rests on


class Evidence(Record, frozen=True, kw_only=True):
    """The small plot that supports a finding."""

    x_label: str
    y_label: str
    x: tuple[float | str, ...]  # numbers: lines; names: bars
    series: tuple[Series, ...]
    level: float | None = None  # a horizontal line: the threshold
    level_name: str = ""
    at: float | None = None  # a vertical line: where it happened
    at_name: str = ""


class Finding(Record, frozen=True, kw_only=True):
    """What a rule found in a record."""

    rule: str
    level: Literal["good", "note", "warning"]
    title: str
    text: str  # for a student
    cure: str | None = None
    threshold: str = ""  # when the rule fires, in words
    citation: str = ""
    evidence: Evidence | None = None


class FoldsScore(Record, frozen=True, kw_only=True):
    """What cross-validation measured of a recipe whose net was then trained on all images."""

    folds: int
    images: int  # each tested once
    accuracy: float
    interval: tuple[float, float]  # 95 %, which allows for folds sharing training images


class RunRecord(Record, frozen=True, kw_only=True):
    """One recipe trained once."""

    schema: int = 1
    fingerprint: str
    status: Literal["finished", "interrupted", "diverged"]
    ending: str  # one sentence: why training ended
    recipe: Recipe  # resolved: every "auto" and default replaced by what was used
    changed: tuple[str, ...] = ()  # fields that differ from the shipped recipe of that name, which its claims are about
    code: tuple[str, ...] = ()  # versions of rungs and torch that trained it; several if it was resumed
    data: DataRecord
    model: ModelRecord
    environment: Environment
    activations: tuple[ActivationRow, ...] = ()
    history: tuple[EpochRow, ...]
    best_epoch: int | None  # chosen on validation; the last epoch without one
    train: EvalResult | None = None  # the best weights on the unaugmented training images
    validation: EvalResult | None = None
    test: EvalResult | None = None
    validation_tta: EvalResult | None = None  # the same with the recipe's test-time augmentation
    test_tta: EvalResult | None = None
    folds: FoldsScore | None = None  # of the final net of a cross-validation: its accuracy is theirs
    temperature: float = 1.0  # fitted on validation; what `rungs predict` divides the logits by
    temperature_reason: str = ""  # on what it was fitted, or why it was not
    train_flops: int = 0  # of all epochs: three forward passes per image at its size; 0: not counted
    started: str  # UTC, ISO 8601
    finished: str
    wall_s: float  # from start to record, of all sessions together
    peak_memory_bytes: int  # of the process on a CPU, of the allocator on a GPU


class Estimate(Record, frozen=True, kw_only=True):
    """A quantity over seeds."""

    n: int  # seeds
    mean: float
    sd: float | None  # over seeds, n - 1 in the denominator; None for one seed
    low: float | None  # 95 % interval of the mean (Student's t); for one seed, of an accuracy, Wilson's over images
    high: float | None


class Difference(Record, frozen=True, kw_only=True):
    """A rung compared with the one that it builds on, paired by seed."""

    against: str
    metric: str  # "validation_accuracy" where there is a validation set
    n: int  # pairs
    mean: float
    low: float | None  # 95 % interval of the mean difference; None where nothing is known of its variance
    high: float | None
    p: float | None  # two-sided
    p_holm: float | None  # corrected for all differences of the study
    verdict: Literal["real gain", "real loss", "no difference", "undecided"]
    level: float = 0.05  # "real": p_holm below this ...
    margin: float | None = None  # ... "no difference": the interval within this of zero; None: by an earlier version
    sd: float | None = None  # of one pair's difference over seeds, as used for the interval
    sd_from: Literal["", "pairs", "ladder", "elsewhere"] = ""  # where most of what is known of it was measured
    diverged: tuple[str, ...] = ()  # runs that count as guessing: "2 of 5 runs of rate-0.3"
    folds: int = 0  # if not 0, the pairs are folds of one set, of which there are so many
    looks: tuple[int, ...] = ()  # numbers of pairs at which it was judged
    decided_at: int | None = None  # the one of these that reached the verdict; None: not decided
    next_look: int | None = None  # number of seeds of the next one
    more_seeds: int | None = None  # in records of earlier versions
    words: str  # the verdict in a sentence
