"""The verdict of a comparison, in plain sentences with their numbers."""

from __future__ import annotations

from rungs.report import format as fmt
from rungs.report import metric
from rungs.report.run_tables import FOLDS_CITED
from rungs.report.seeds import PRIOR_DF, SEED_SD
from rungs.study.comparison.record import Pair, PartResult, Verdict
from rungs.study.statistics import LEVEL


def words(pair: Pair) -> tuple[Verdict, str, tuple[str, ...]]:
    """Return the verdict on the second of a pair, its sentence, and further sentences on what it rests on."""
    if not pair.parts:
        return "not comparable", f"{pair.second} cannot be compared with {pair.first}.", pair.not_comparable
    part = pair.parts[0]
    if pair.same_recipe:
        return "not to be told apart", " ".join((_of_one_recipe(pair, part), *part.diverged)), _seed_remarks(part)
    if part.p_holm < LEVEL:
        better = part.difference > 0
        what = f"{pair.second} is {'better' if better else 'worse'} than {pair.first}: {_scores(part)}"
        said = " ".join((f"{what}, {_difference(part)}; {p_words(part.p_holm)}.", *part.diverged))
        return ("better" if better else "worse"), said, (_seeds(part),)
    what = f"{pair.second} and {pair.first} are indistinguishable with this much data:"
    more = (_seeds(part), *_as_nets(part), would_decide(part))
    return "not to be told apart", " ".join((f"{what} {_scores(part)}, {_difference(part)}.", *part.diverged)), more


def _as_nets(part: PartResult) -> tuple[str, ...]:
    """Return the result of McNemar's test of single nets, where it differs from the verdict on recipes."""
    if part.table is None or part.table.p >= LEVEL or part.by_seed:
        return ()
    nets = f"These two nets do differ on these images ({p_words(part.table.p)}, McNemar)"
    return (f"{nets}, but one run of each cannot show whether the recipe or the seed caused it.",)


def _of_one_recipe(pair: Pair, part: PartResult) -> str:
    said = f"{pair.first} and {pair.second} are runs of one recipe: indistinguishable."
    if part.table and not part.table.first + part.table.second:
        return f"{said} They classify the same {part.part} images correctly, {fmt.percent(part.second)}."
    size = "exceeds" if part.p < LEVEL else "is within"
    return f"{said} {_scores(part)}: {fmt.points(part.difference)} {size} seed-to-seed variation."


def _seed_remarks(part: PartResult) -> tuple[str, ...]:
    said = []
    if part.table and part.table.p < LEVEL:
        nets = f"The two nets do differ on these images ({p_words(part.table.p)}, McNemar)"
        said.append(f"{nets}: that test ignores seeds, so it does not decide here.")
    if part.p < LEVEL:
        more = f"Seed sd is taken as {100 * part.seed_sd:.2f} points"
        said.append(f"{more}: look for another cause, such as the code or the machine, or run more seeds.")
    return tuple(said)


def _scores(part: PartResult) -> str:
    """Return "84.10 % against 80.20 % of 10,000 test images correct"."""
    if part.folds:
        images = fmt.many(part.images, "image")
        return f"{fmt.percent(part.second)} against {fmt.percent(part.first)} of {images} correct ({part.pairs} folds)"
    images = f"{fmt.count(part.images)} {part.part} images"
    mean = f" (mean of {part.pairs} runs)" if part.pairs > 1 else ""
    return f"{fmt.percent(part.second)} against {fmt.percent(part.first)} of {images} correct{mean}"


def _difference(part: PartResult) -> str:
    interval = metric.difference_bounds(f"{part.part}_accuracy", *part.interval)
    own = "" if part.table else "; each on its own images"
    over = "images and folds" if part.folds else "images and seeds"
    if not part.folds and part.seed_df <= PRIOR_DF and part.seed_from != "ladder":
        over = f"images, and seeds with an allowance of {100 * part.seed_sd:.2f} points sd"
    return f"{fmt.points(part.difference)} (95 % interval {interval}, over {over}{own})"


def _seeds(part: PartResult) -> str:
    """Return where the variation over seeds was taken from."""
    sd = f"{100 * part.seed_sd:.2f} points"
    if part.folds:
        shared = f"folds share training images, which the interval allows for ({FOLDS_CITED})"
        return f"Sd over folds {sd}, measured here and shrunk towards what other recipes vary; {shared}."
    if part.seed_from == "ladder":
        return f"Seed sd {sd}: measured on the rungs of the climb, and shrunk towards what they share."
    usual = f"{SEED_SD:g} sqrt(p (1 - p)), as other recipes vary"
    if part.seed_df <= PRIOR_DF:
        allowance = f"an allowance, {usual}, with {PRIOR_DF:g} degrees of freedom"
        return f"Seed sd {sd}: there is one run of each, so it is {allowance}."
    return f"Seed sd {sd}: measured here, and shrunk towards {usual}."


def would_decide(part: PartResult) -> str:
    """Return how many images or seeds would decide it."""
    needed = part.needed
    if part.difference == 0:
        return "Their accuracies are equal: there is no difference for more data to decide."
    if part.folds:
        return "More images would decide it; other folds of the same images add little."
    ways = []
    if needed.images_for_recipes:
        ways.append(f"about {fmt.count(rounded(needed.images_for_recipes))} images with as many runs")
    if needed.seeds:
        ways.append(f"about {needed.seeds} seeds of each with these images")
    if ways:
        return f"If the true difference is this large, {' or '.join(ways)} would decide it (power 80 %)."
    return "Neither more images alone nor more seeds alone would decide so small a difference: it takes both."


def rounded(number: int) -> int:
    """Return a number with two digits, which is all that such an estimate is worth."""
    return int(float(f"{number:.2g}"))


def p_words(p: float) -> str:
    """Return "p = 0.013" or "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
