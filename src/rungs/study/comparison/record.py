"""The record of a comparison, as JSON: candidates, each against the first, and the verdict on their difference.

Units are those of `rungs.run.record`. A candidate is one recipe, trained once or with several seeds. Differences are
second minus first; of accuracies higher is better, of losses lower.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import field

from rungs.run.folder import StudyDir
from rungs.run.record import Difference, Estimate, Record

Part: TypeAlias = Literal["test", "validation"]
Verdict: TypeAlias = Literal["better", "worse", "not to be told apart", "not comparable"]
Interval: TypeAlias = tuple[float, float]


class ComparedRun(Record, frozen=True, kw_only=True):
    """One run of a candidate, without its weights and pictures."""

    folder: str
    seed: int  # of a cross-validation the fold, counted from 0
    status: Literal["finished", "interrupted", "diverged"]
    ending: str
    best_epoch: int | None
    planned_epochs: int
    values: dict[str, float]  # each of `rungs.study.measures.CELL_VALUES` that was measured
    curves: dict[str, tuple[float, ...]]  # each of `rungs.study.measures.CURVES` that was measured, one value per epoch
    openings: int  # how often its log says that the test set was opened
    compared: int  # how often it was compared before this comparison


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
    dominated: dict[str, str]  # a price ("train_flops", "train_s", "flops") -> the candidate that dominates it


class Row(Record, frozen=True, kw_only=True):
    """Something in which the candidates differ, in words."""

    name: str  # a dotted field of the recipe, or what it is
    values: tuple[str, ...]  # one per candidate


class Table(Record, frozen=True, kw_only=True):
    """Two nets on the same images: McNemar's four counts. Of several seeds, all pairs of runs together."""

    both: int  # correct
    first: int  # correct in the first only
    second: int
    neither: int
    p: float  # two-sided, exact, over images
    p_mid: float  # the same, mid-p


class ClassChange(Record, frozen=True, kw_only=True):
    """What happened to the images of one class."""

    name: str
    images: int
    gained: int  # images that the second classifies correctly more often than the first
    lost: int
    p: float  # two-sided, exact, over images
    p_holm: float  # corrected for all classes


class Needed(Record, frozen=True, kw_only=True):
    """What it takes to decide with 80 % power if the true difference is as large as the measured; None: no number."""

    images: int | None  # for these two nets, ignoring seeds
    images_for_recipes: int | None  # accounting for seeds, with as many runs as now
    seeds: int | None  # of each, on as many images as now


class PartResult(Record, frozen=True, kw_only=True):
    """Two candidates on one part of the data."""

    part: Part
    images: int  # that a run was scored on
    pairs: int  # pairs of runs that were compared image by image; 0: as independent samples
    seeds: tuple[int, ...]  # of these pairs; of pairs of different seeds the first candidate's
    folds: int = 0  # if not 0, the pairs are folds of one set, of which there are so many
    first: float  # accuracy, the mean over these runs
    second: float
    difference: float
    images_interval: Interval  # 95 %, of the difference, over images alone (bootstrap, BCa)
    interval: Interval  # 95 %, over images and seeds
    images_se: float  # standard error of the difference from the choice of images
    seeds_se: float  # from the choice of seeds
    seed_sd: float  # sd of the accuracy over seeds, as used for it
    seed_df: float  # degrees of freedom behind it
    seed_from: Literal["", "ladder"] = ""  # "ladder": both are rungs of one climb, whose rungs share their variation
    p: float  # two-sided, of the difference, over images and seeds
    p_holm: float  # corrected for all pairs of this comparison
    first_loss: float
    second_loss: float
    loss_difference: float
    loss_interval: Interval | None  # 95 %, over images alone (bootstrap, BCa); None: not the same images
    table: Table | None  # None: not the same images
    classes: tuple[ClassChange, ...] = ()
    by_seed: Difference | None = None  # the paired t test over seeds, where there are two or more pairs
    diverged: tuple[str, ...] = ()  # a sentence for each candidate with runs that diverged, which count as guessing
    needed: Needed


class Flip(Record, frozen=True, kw_only=True):
    """An image that only one of two nets classifies correctly."""

    index: int  # position in the scored part
    path: str | None
    truth: int
    first: int  # predicted by the first
    second: int
    first_confidence: float = field(name="first_sure")
    second_confidence: float = field(name="second_sure")
    picture: str  # base64 of a PNG; "" where the images could not be read


class Flips(Record, frozen=True, kw_only=True):
    """The images that flipped between two runs, by decreasing confidence of the second."""

    part: Part
    seeds: tuple[int, int]  # of the two runs
    gained: int  # of all, correct in the second only
    lost: int
    newly_correct: tuple[Flip, ...] = field(name="newly_right")
    newly_wrong: tuple[Flip, ...]
    why_no_pictures: str = ""


class Pair(Record, frozen=True, kw_only=True):
    """One candidate against the first of the comparison."""

    first: str
    second: str
    same_recipe: bool  # they differ in the seed, the code or the machine alone
    verdict: Verdict
    words: str  # the verdict in a plain sentence
    more: tuple[str, ...]  # sentences: what it rests on, what would decide
    judged_on: Part | None
    parts: tuple[PartResult, ...]  # those that can be compared, test first
    not_comparable: tuple[str, ...]  # what cannot be compared, why, and what to do
    notes: tuple[str, ...]  # caveats
    flips: Flips | None

    @property
    def shown(self) -> str:
        """The verdict as people read it; records on disk keep the longer literal."""
        return "indistinguishable" if self.verdict == "not to be told apart" else self.verdict


class CompareRecord(Record, frozen=True, kw_only=True):
    """The results of a comparison."""

    schema: int = 1
    command: str
    made: str  # UTC, ISO 8601
    source: str
    classes: tuple[str, ...]
    image_size: int
    candidates: tuple[Candidate, ...]  # the others are compared with the first
    fields: tuple[Row, ...]  # of the recipes, where they differ
    others: tuple[Row, ...]  # code, machine, number of images, where they differ
    pairs: tuple[Pair, ...]
    uses_test: bool  # scores on the test set are shown
    warnings: tuple[str, ...] = ()


class CompareDir(StudyDir[CompareRecord]):
    """A comparison of runs."""

    name, what, kind, rewritten = "comparison.json", "a comparison", CompareRecord, True
