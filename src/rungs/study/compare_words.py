"""The verdict of a comparison, in plain sentences with their numbers."""

from __future__ import annotations

from rungs.compare_records import Pair, PartResult, Verdict
from rungs.report import format as fmt
from rungs.study.intervals import LEVEL
from rungs.study.verdict import ALLOWANCE_DF


def words(pair: Pair) -> tuple[Verdict, str]:
    """Return the verdict on the second of a pair, and the sentences that say it."""
    if not pair.parts:
        return "not comparable", f"{pair.second} cannot be compared with {pair.first}. {' '.join(pair.not_comparable)}"
    part = pair.parts[0]
    if pair.same_recipe:
        return "not to be told apart", _of_one_recipe(pair, part)
    if part.p_holm < LEVEL:
        better = part.difference > 0
        return ("better" if better else "worse"), _told_apart(pair, part, better=better)
    return "not to be told apart", _not_told_apart(pair, part)


def _told_apart(pair: Pair, part: PartResult, *, better: bool) -> str:
    what = f"{pair.second} is {'better' if better else 'worse'} than {pair.first}: it gets {_scores(part)}"
    return f"{what}, {_difference(part)}; {p_words(part.p_holm)}. {_seeds(part)}"


def _not_told_apart(pair: Pair, part: PartResult) -> str:
    what = f"{pair.second} and {pair.first} are not to be told apart with this much data: {pair.second} gets"
    said = f"{what} {_scores(part)}, {_difference(part)}. {_seeds(part)}"
    if part.table and part.table.p < LEVEL and not part.by_seed:
        said += (
            f" These two nets do differ on these images ({p_words(part.table.p)}, McNemar), but one run of each cannot "
            "say whether the recipe did it or the seed."
        )
    return f"{said} {would_decide(part)}"


def _of_one_recipe(pair: Pair, part: PartResult) -> str:
    said = (
        f"{pair.first} and {pair.second} are runs of one recipe: not to be told apart. {pair.second} gets "
        f"{_scores(part)}; a difference of {fmt.points(part.difference)} is what a seed does, and makes neither better."
    )
    if part.table and part.table.p < LEVEL:
        said += (
            f" The two nets do differ on these images ({p_words(part.table.p)}, McNemar): that test knows no seeds, "
            "and this is why it alone decides nothing here."
        )
    if part.p < LEVEL:
        said += (
            f" It is more than seeds were allowed ({fmt.percent(part.seed_sd)} sd): look for another cause, such as "
            "the code or the machine, or run more seeds."
        )
    return said


def _scores(part: PartResult) -> str:
    """Return "84.10 % of 10,000 test images right, against 80.20 %"."""
    images = f"{fmt.count(part.images)} {part.part} images"
    mean = f" (mean of {part.pairs} runs)" if part.pairs > 1 else ""
    return f"{fmt.percent(part.second)} of {images} right{mean}, against {fmt.percent(part.first)}"


def _difference(part: PartResult) -> str:
    low, high = (f"{100 * end:+.2f}" for end in part.interval)
    own = "" if part.table else "; each on images of its own"
    return f"{fmt.points(part.difference)} (95 % interval {low} to {high}, luck of images and of seeds{own})"


def _seeds(part: PartResult) -> str:
    """Say where the luck of seeds was taken from."""
    sd = f"{100 * part.seed_sd:.2f} points"
    runs = part.seed_df - ALLOWANCE_DF
    if runs < 1:
        return f"With one run of each, seeds are allowed an sd of {sd}, as measured elsewhere, not here."
    return f"Seeds are reckoned with an sd of {sd}: measured here, and tempered by what was measured elsewhere."


def would_decide(part: PartResult) -> str:
    """Say how many images or seeds would decide it."""
    needed = part.needed
    if part.difference == 0:
        return "They get equally many right: there is no difference that more data could be asked for."
    ways = []
    if needed.images_for_recipes:
        ways.append(f"about {fmt.count(rounded(needed.images_for_recipes))} images with as many runs")
    if needed.seeds:
        ways.append(f"about {needed.seeds} seeds of each with these images")
    if ways:
        return f"Were the difference what it looks like, {' or '.join(ways)} would decide it (power 80 %)."
    return "Neither more images alone nor more seeds alone would decide a difference so small: it takes both."


def rounded(number: int) -> int:
    """Return a number with two digits, which is all that such an estimate is worth."""
    return int(float(f"{number:.2g}"))


def p_words(p: float) -> str:
    """Return "p = 0.013" or "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
