"""The record of a comparison, as JSON: candidates, each against the first, and what can be said of the difference.

Units are those of `rungs.run.record`. A candidate is one recipe, trained once or with several seeds. Differences are
second minus first; of accuracies more is better, of losses less.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from rungs.run.folder import StudyDir
from rungs.run.record import Difference, Estimate, Record

Part: TypeAlias = Literal["test", "validation"]
Verdict: TypeAlias = Literal["better", "worse", "not to be told apart", "not comparable"]
Interval: TypeAlias = tuple[float, float]


class ComparedRun(Record, frozen=True, kw_only=True):
    """One run of a candidate, without its weights and pictures."""

    folder: str
    seed: int
    status: Literal["finished", "interrupted", "diverged"]
    ending: str
    best_epoch: int | None
    planned_epochs: int
    values: dict[str, float]  # each of `rungs.study.measures.CELL_VALUES` that was measured
    curves: dict[str, tuple[float, ...]]  # each of `rungs.study.measures.CURVES` that was measured, a value an epoch
    openings: int  # how often its log says that the test set was opened
    compared: int  # how often it was set beside others before this comparison


class Calibration(Record, frozen=True, kw_only=True):
    """How far the probabilities can be trusted, over the images of all runs of a candidate."""

    error: float  # expected calibration error, 15 bins
    interval: Interval | None  # 95 %, bootstrap over images
    bins: tuple[tuple[float, float, int], ...]  # mean confidence, accuracy, count


class Candidate(Record, frozen=True, kw_only=True):
    """One recipe, with all of its runs that were given."""

    name: str
    recipe: str  # the recipe's name
    model: str
    runs: tuple[ComparedRun, ...]
    parameters: int
    flops: int  # forward, one image
    estimates: dict[str, Estimate]  # of `rungs.study.measures.CELL_VALUES`, over the finished runs
    calibration: Calibration | None  # on the part that is judged
    dominated: dict[str, str]  # a price ("train_flops", "train_s", "flops") -> who is as good for less, or better


class Row(Record, frozen=True, kw_only=True):
    """Something in which the candidates differ, in words."""

    name: str  # a dotted field of the recipe, or what it is
    values: tuple[str, ...]  # one a candidate


class Table(Record, frozen=True, kw_only=True):
    """Two nets on the same images: McNemar's four counts. Of several seeds, all pairs of runs together."""

    both: int  # right
    first: int  # right by the first alone
    second: int
    neither: int
    p: float  # two-sided, exact, over images
    p_mid: float  # the same, mid-p


class ClassChange(Record, frozen=True, kw_only=True):
    """What happened to the images of one class."""

    name: str
    images: int
    gained: int  # images that the second gets right more often than the first
    lost: int
    p: float  # two-sided, exact, over images
    p_holm: float  # corrected for all classes


class Needed(Record, frozen=True, kw_only=True):
    """What would decide it with a power of 80 %, were the difference as large as it looks; None: no such number."""

    images: int | None  # for these very nets, whatever their seeds
    images_for_recipes: int | None  # with seeds allowed for, and as many runs as now
    seeds: int | None  # of each, on as many images as now


class PartResult(Record, frozen=True, kw_only=True):
    """Two candidates on one part of the data."""

    part: Part
    images: int  # that a run was scored on
    pairs: int  # pairs of runs that were compared image by image; 0: as independent samples
    seeds: tuple[int, ...]  # of these pairs; of pairs of different seeds the first candidate's
    first: float  # accuracy, the mean over these runs
    second: float
    difference: float
    images_interval: Interval  # 95 %, of the difference, over images alone (bootstrap, BCa)
    interval: Interval  # 95 %, with seeds allowed for
    images_se: float  # standard error that the choice of images gives the difference
    seeds_se: float  # that the choice of seeds gives it
    seed_sd: float  # sd of the accuracy over seeds that was reckoned with
    seed_df: float  # degrees of freedom behind it
    p: float  # two-sided, of the difference with seeds allowed for
    p_holm: float  # corrected for all pairs of this comparison
    first_loss: float
    second_loss: float
    loss_difference: float
    loss_interval: Interval | None  # 95 %, over images alone (bootstrap, BCa); None: not the same images
    table: Table | None  # None: not the same images
    classes: tuple[ClassChange, ...] = ()
    by_seed: Difference | None = None  # the paired t test over seeds, where there are two or more pairs
    needed: Needed


class Flip(Record, frozen=True, kw_only=True):
    """An image that one of two nets gets right and the other wrong."""

    index: int  # position in the scored part
    path: str | None
    truth: int
    first: int  # what the first said
    second: int
    first_sure: float
    second_sure: float
    picture: str  # base64 of a PNG; "" where the images could not be read


class Flips(Record, frozen=True, kw_only=True):
    """The images that flipped between two runs, the surest of the second first."""

    part: Part
    seeds: tuple[int, int]  # of the two runs
    gained: int  # of all, that the second alone gets right
    lost: int
    newly_right: tuple[Flip, ...]
    newly_wrong: tuple[Flip, ...]
    why_no_pictures: str = ""


class Pair(Record, frozen=True, kw_only=True):
    """One candidate against the first of the comparison."""

    first: str
    second: str
    same_recipe: bool  # they differ in the seed, the code or the machine alone
    verdict: Verdict
    words: str  # the verdict in a plain sentence
    more: tuple[str, ...]  # sentences: what it rests on, what would decide it
    judged_on: Part | None
    parts: tuple[PartResult, ...]  # those that can be compared, test first
    not_comparable: tuple[str, ...]  # what cannot be compared, why, and the cure
    notes: tuple[str, ...]  # what to know when reading it
    flips: Flips | None


class CompareRecord(Record, frozen=True, kw_only=True):
    """Runs, compared."""

    schema: int = 1
    command: str
    made: str  # UTC, ISO 8601
    source: str
    classes: tuple[str, ...]
    image_size: int
    candidates: tuple[Candidate, ...]  # the first is what the others are held against
    fields: tuple[Row, ...]  # of the recipes, where they differ
    others: tuple[Row, ...]  # code, machine, number of images, where they differ
    pairs: tuple[Pair, ...]
    uses_test: bool  # scores on the test set are shown
    warnings: tuple[str, ...] = ()


class CompareDir(StudyDir[CompareRecord]):
    """A comparison of runs."""

    name, what, kind, rewritten = "comparison.json", "a comparison", CompareRecord, True
