"""A search in the terminal: the finalists as a table, each trial as a line."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.study.ladder import words
from rungs.study.search import axes
from rungs.study.search import words as search_words
from rungs.study.search.record import Finalist, SearchRecord, TrialRecord
from rungs.study.search.space import Space

REDUCED = "  (full length, all images: expect other numbers)"
"""Appended to the command that trains the winner of shortened trials."""


def summary(record: SearchRecord, opened: int = 1) -> Table:
    """Return the result of a search: a row for each finalist, best first; below it the verdict, with the test score.

    Without finalists, the table has the five best trials, and the verdict notes that there is no winner yet.

    Args:
        record: The search.
        opened: How often its test set was opened, by its log.
    """
    table = Table(
        title=Text(record.name), caption=_caption(record, opened), title_justify="left", caption_justify="left",
        box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), min_width=78,
    )  # fmt: skip
    if not record.finalists:
        return _best_trials(record, table)
    table.add_column("finalist", overflow="fold")
    for head in ("searched", "retrained", "95 % interval", "against the recipe", "optimism"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in record.finalists:
        values = "".join(f"\n  {_short(override)}" for override in one.overrides)
        name = f"{one.name} (winner)" if one.name == record.winner else one.name
        style = "bold" if one.name == record.winner else None
        table.add_row(Text(name + values), *map(Text, _finalist_cells(record, one)), style=style)
    return table


def _finalist_cells(record: SearchRecord, one: Finalist) -> tuple[str, ...]:
    """Return a finalist's numbers; the winner's interval and optimism are those of its corrected value."""
    difference = search_words.against_recipe(record, one.name)
    corrected, optimism = search_words.corrected(record, one), search_words.optimism(record, one)
    spread = "" if one.rerun.sd is None else f" {search_words.spread(record, one.rerun)}"
    below = "" if corrected is None else f"\ncorrected {search_words.value(record, corrected.mean)}"
    sign = "" if difference is None else f"{words.SIGNS[difference.verdict]} {difference.verdict}, "
    gain = "" if difference is None else search_words.difference(record, difference.mean).removesuffix(" points")
    return (
        "" if one.searched is None else search_words.value(record, one.searched),
        f"{search_words.value(record, one.rerun.mean)}{spread}{below}",
        ("\n" if corrected else "") + search_words.estimate_bounds(record, corrected or one.rerun),
        sign + gain,
        "" if optimism is None else search_words.difference(record, optimism.mean),
    )


def _short(override: str) -> str:
    """Format the number in `field=number` to three digits."""
    field, _, value = override.partition("=")
    try:
        return f"{field}={axes.text(float(value))}"
    except ValueError:
        return override


def _best_trials(record: SearchRecord, table: Table) -> Table:
    for head in ("trial", "value", "state", "epochs", *(field.field for field in record.space.fields)):
        table.add_column(Text(head), justify="right", overflow="fold")
    scales = axes.scales(record)
    for trial in [one for one in search_words.ranked(record) if one.value is not None][:5]:
        values = [axes.text(trial.params[s.field]) if s.field in trial.params else fmt.NOTHING for s in scales]
        row = (str(trial.number), search_words.value(record, trial.value), trial.state, str(trial.epochs), *values)
        table.add_row(*map(Text, row))
    return table


def _caption(record: SearchRecord, opened: int) -> Text:
    lines = [
        search_words.verdict(record),
        f"Trials: {search_words.state_words(record) or 'none'}; {fmt.seconds(record.train_s)}.",
    ]
    if record.test is not None:
        often = "once" if opened <= 1 else f"{opened} times, so no longer fresh"
        lines.append(f"Test set: opened {often}.")
    if training := search_words.train_command(record):
        lines.append(f"Next: {training}{REDUCED if record.reduced else ''}")
    return Text("\n".join(lines), style="default")


def trial_line(trial: TrialRecord, space: Space, metric: str = "validation_accuracy") -> str:
    """Return a trial as a line: "trial 12  84.10 %  complete  20 epochs  1 min 3 s  optim.lr=0.0123".

    Args:
        trial: The trial.
        space: Its fields are printed in this order.
        metric: The metric of the trial's value.
    """
    fields = [f.field for f in space.fields if f.field in trial.params]
    values = [f"{field}={axes.text(trial.params[field])}" for field in fields]
    taken = [f"resumes trial {trial.takes_up}"] if trial.takes_up is not None else []
    why = [trial.ending] if trial.state == "failed" and trial.ending else []
    value = report_metric.value(metric, trial.value)
    done = (fmt.many(trial.epochs, "epoch"), fmt.seconds(trial.train_s))
    return "  ".join([f"trial {trial.number}", value, trial.state, *done, *values, *taken, *why])
