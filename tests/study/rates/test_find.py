"""`rungs lr-find`: it sweeps, checks its guess by short runs, reports the result, and leaves the test set alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from command import rungs
from small import SMALL, small

from rungs import lr_find
from rungs.errors import UserError
from rungs.run import looks
from rungs.run.record import from_json, to_json
from rungs.study.rates import checks as rates_checks
from rungs.study.rates import reading as rates_reading
from rungs.study.rates import sweep
from rungs.study.rates.find import prepare
from rungs.study.rates.options import RateOptions
from rungs.study.rates.record import RateCheck, RateDir, RateRecord
from rungs.training.dataset import load_dataset
from rungs.training.device import open_world

TINY = ("augment.train=[]", "model.stages=[[8]]", "training.ema_decay=none", "schedule.name=cosine")
STEPS = 40


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[RateRecord, Path]:
    folder = tmp_path_factory.mktemp("rates") / "made"
    return lr_find(small(*TINY), steps=STEPS, low=1e-4, folder=folder), folder


def test_the_suggestion_trains_better_than_rates_far_to_both_sides(found: tuple[RateRecord, Path]) -> None:
    record, _ = found
    assert record.suggestion is not None and record.best is not None and record.best.loss is not None
    with open_world() as world:
        table = rates_checks.RangeTest.load(small(*TINY), world, RateOptions(small(*TINY), seeds=2, steps=STEPS))
        for rate in (record.suggestion / 30, record.suggestion * 30):
            far = table.check(rate, ("next",), lambda text: None)
            assert far.loss is None or far.loss.mean > record.best.loss.mean + 0.3, far


def test_the_guess_lies_in_the_fall_and_the_best_between_others(found: tuple[RateRecord, Path]) -> None:
    record, _ = found
    assert record.steepest and record.lowest and record.guess and record.best
    at = [record.median[record.rates.index(rate)] for rate in (record.steepest, record.lowest)]
    assert record.median[0] > at[0] > at[1] == min(record.median)
    assert record.guess.rate == rates_reading.rounded(record.steepest)
    rates = [check.rate for check in record.checks]
    assert rates == sorted(rates) and record.own.rate == 0.05
    means = [check.loss.mean for check in record.checks if check.loss]
    assert record.best.loss is not None and record.best.loss.mean == min(means)
    assert all(check.difference for check in record.checks if check.loss and check is not record.best)
    assert record.diverged_at is None or max(rates) < record.diverged_at


def test_a_check_is_as_long_as_a_sweep_and_the_schedule_fits_into_it(found: tuple[RateRecord, Path]) -> None:
    record, _ = found
    assert (record.epochs, record.steps) == (5, 40)  # 8 steps an epoch
    assert all(len(check.losses) == 3 == len(record.seeds) for check in record.checks)
    assert [len(one.losses) for one in record.sweeps] == [len(one.smoothed) for one in record.sweeps]


def test_the_record_is_written_and_comes_back(found: tuple[RateRecord, Path]) -> None:
    record, folder = found
    assert RateDir(folder).read_record() == record == from_json(to_json(record), RateRecord, "x")
    assert record.recipe.optim.lr == 0.05 and record.recipe.evaluation.score_test


def test_the_test_set_stays_closed(found: tuple[RateRecord, Path]) -> None:
    record, folder = found
    assert {path.name for path in folder.iterdir()} == {"rates.json", "report.html", "figures", ".lock"}
    assert looks.read(folder / "looks.jsonl") == ()
    assert sum(record.data.counts["test"]) > 0  # there is one


def test_no_test_image_can_reach_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = load_dataset
    monkeypatch.setattr(rates_checks, "load_dataset", lambda *args: seen.append(real(*args)) or seen[-1])
    with open_world() as world:
        table = rates_checks.RangeTest.load(
            small("evaluation.watch_test=true"),
            world,
            RateOptions(small("evaluation.watch_test=true"), seeds=2, steps=STEPS),
        )
    assert [dataset.parts.test for _, dataset in seen] == [None, None]
    assert not table.loaded[0][0].evaluation.watch_test
    assert sweep.shortened(seen[0][1], 50, 0).parts.test is None


def test_huge_rates_diverge_in_a_sweep_and_in_a_check() -> None:
    recipe, dataset = load_dataset(small(*TINY, "training.clip_norm=none", "model.batch_norm=false"), False)
    rates = sweep.growing_rates(1e-3, 1e4, 60)
    with open_world() as world:
        swept = sweep.sweep(recipe, dataset, world, rates, {})
        assert swept.diverged_at is not None and 0.1 < swept.diverged_at <= 1e4
        assert len(swept.losses) < 60 and all(map(math.isfinite, swept.losses))
        assert sweep.sweep(recipe, dataset, world, sweep.growing_rates(1e-6, 1e-4, 20), {}).diverged_at is None
        table = rates_checks.RangeTest.load(recipe, world, RateOptions(recipe, seeds=1, steps=20))
        lost = table.check(1e4, ("next",), lambda text: None)
    assert (lost.losses, lost.loss, lost.accuracy) == ((None,), None, None)


def test_a_sweep_takes_the_steps_of_the_loop_with_its_own_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Muon's three rates rise together; the batches go on from epoch to epoch."""
    setups, rates = [], sweep.growing_rates(1e-4, 1e-2, 20)
    real, seen = sweep.Stepper, []

    def watched(setup: Any) -> Any:
        setups.append(setup)
        take = real(setup)
        return lambda *batch: (seen.append([group["lr"] for group in setup.optimizer.param_groups]), take(*batch))[1]

    monkeypatch.setattr(sweep, "Stepper", watched)
    recipe, dataset = load_dataset(
        small("optim.name=muon", "optim.lr=0.02", "optim.head_lr=0.01", "optim.bias_lr=0.1"), False
    )
    with open_world() as world:
        done = sweep.sweep(recipe, dataset, world, rates, {})
    assert len(done.losses) == 20 and setups[0].ema is None  # 8 steps an epoch
    assert seen == [pytest.approx([rate, rate / 2, rate * 5]) for rate in rates]
    assert rates_checks.assignments(recipe, 0.002) == ("optim.lr=0.002", "optim.head_lr=0.001", "optim.bias_lr=0.01")
    assert rates_checks.assignments(recipe, 0.02) == ()


# Reading a curve and choosing, on made-up numbers


def curve(*losses: float, rates: tuple[float, ...]) -> Any:
    from rungs.study.rates.record import SweepRecord

    ended = rates[len(losses)] if len(losses) < len(rates) else None
    return SweepRecord(seed=0, losses=losses, smoothed=losses, diverged_at=ended)


def test_the_steepest_fall_is_found_on_a_known_curve() -> None:
    rates = sweep.growing_rates(1e-6, 10, 141)
    fall = tuple(2.3 - 2 / (1 + math.exp(-4 * (math.log10(rate) + 2))) for rate in rates[:120])  # steepest at 0.01
    found = rates_reading.read([curve(*fall, rates=rates)], rates)
    assert found.steepest == pytest.approx(0.01, rel=0.1)
    assert found.lowest == rates[119] and found.diverged_at == rates[120]


def test_the_median_outvotes_a_seed_that_ended_early_and_ends_with_most() -> None:
    rates = sweep.growing_rates(1e-3, 1, 6)
    sweeps = [curve(*losses, rates=rates) for losses in ((2.0, 1.0), (2.0, 1.5, 1.2, 1.1), (2.0, 1.6, 1.3, 1.2, 1.1))]
    found = rates_reading.read(sweeps, rates)
    assert found.median == (2.0, 1.5, 1.3, 1.2) and found.diverged_at == rates[4]


def test_a_loss_that_hardly_falls_gives_no_guess() -> None:
    rates = sweep.growing_rates(1e-6, 10, 29)
    found = rates_reading.read([curve(*(2.3 - 0.001 * i for i in range(29)), rates=rates)], rates)
    assert (found.steepest, found.lowest) == (None, None)
    assert rates_reading.candidates(0.01, found) == {0.01: ("recipe",), 0.03: ("recipe x 3",), 0.0033: ("recipe / 3",)}


def test_candidates_are_few_apart_and_below_divergence() -> None:
    reading = rates_reading.Reading((2.0, 1.0), steepest=0.0201, lowest=0.3, diverged_at=0.05)
    assert rates_reading.candidates(0.1, reading) == {
        0.1: ("recipe",),
        0.02: ("steepest",),
        0.03: ("minimum / 10",),  # just 1.5 times the guess; three times would be lost
        0.0067: ("steepest / 3",),
    }
    assert rates_reading.candidates(0.02, reading)[0.02] == ("recipe", "steepest")


def check(rate: float, *losses: float | None) -> RateCheck:
    estimate = rates_checks._estimate(losses)
    return RateCheck(
        rate=rate, roles=("next",), overrides=(), losses=losses, accuracies=losses, loss=estimate, accuracy=estimate
    )


def test_the_search_goes_on_where_the_best_lies_at_the_edge() -> None:
    falling = [check(0.01, 1.0), check(0.03, 0.5), check(0.1, 0.2)]
    assert rates_reading.next_rate(falling, None, 10) == 0.3
    assert rates_reading.next_rate(falling, 0.2, 10) is None  # it would diverge
    assert rates_reading.next_rate([*falling, check(0.3, None)], None, 10) is None
    assert rates_reading.next_rate([*falling[::-1][1:], check(0.06, 0.7)], None, 10) is None
    assert rates_reading.next_rate([check(0.01, 0.2), check(0.03, 0.5)], None, 10) == 0.0033
    assert rates_reading.next_rate([check(0.01, None), check(0.03, None)], None, 10) == 0.0033
    asleep = [check(0.01, 2.30), check(0.03, 2.302), check(0.1, 2.301)]
    assert rates_reading.next_rate(asleep, None, 10) == 0.3  # nothing learnt: larger ones may wake it
    assert rates_reading.choose(asleep, 10) is None and rates_reading.choose(falling, 10) == 0.1


def test_differences_are_from_the_suggestion_and_only_where_all_runs_ended() -> None:
    checks = [check(0.01, 1.0, 1.1, 1.2), check(0.03, 0.4, 0.51, 0.6), check(1.0, 0.5, None, 0.5)]
    first, best, lost = rates_reading.compared(checks, 0.03, (0, 1, 2))
    assert best.difference is None and lost.difference is None
    assert first.difference is not None and first.difference.verdict == "real loss"
    assert first.difference.mean == pytest.approx(0.5966667)


# The command


def test_the_command_prints_a_table_and_the_next_command(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    flags = [word for one in TINY for word in ("--set", one)]
    more = ["--steps", "20", "--seeds", "1", "--low", "1e-4"]
    printed = rungs("lr-find", "small.toml", *flags, *more, cwd=tmp_path).stdout
    folder = RateDir(tmp_path / "rates" / "small")
    record = folder.read_record()
    for part in ("the recipe's own", "suggested", f"next: {record.next_command}", "report: rates/small/report.html"):
        assert part in printed
    assert record.command.startswith("rungs lr-find small.toml --set") and "--steps 20 --low 0.0001" in record.command
    assert "--steps 80 --low 0.0001" in record.longer_command
    page = folder.report.read_bytes()
    folder.report.unlink()
    rungs("report", "rates/small", cwd=tmp_path)
    assert folder.report.read_bytes() == page


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ({"low": 1.0, "high": 0.1}, "--low --high"),
        ({"low": 1.0, "high": 1.0}, "--low --high"),
        ({"low": 0.0}, "--low"),
        ({"low": math.nan}, "--low"),
        ({"high": math.inf}, "--high"),
        ({"steps": 5}, "--steps"),
        ({"seeds": 0}, "--seeds"),
        ({"checks": 0}, "--checks"),
    ],
)
def test_a_bad_range_is_refused_before_anything_is_made(flags: dict[str, Any], where: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        lr_find(small(), folder=tmp_path / "never", **flags)
    assert str(refused.value).startswith(where) and (refused.value.do or "must be" in refused.value.what)
    assert not (tmp_path / "never").exists()


def test_other_bad_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = tmp_path / "never"
    with pytest.raises(UserError, match="no recipe 'no-such'"):
        lr_find("no-such", folder=never)
    with pytest.raises(UserError, match="validation set"):
        lr_find(small("data.validation=0"), folder=never)
    with pytest.raises(UserError, match="no data source"):
        lr_find(small(), data="nowhere", folder=never)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        lr_find(small(), folder=tmp_path / "taken")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="torchrun"):
        lr_find(small(), folder=never)
    assert not never.exists()


def test_the_command_line_refuses_with_code_2(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    said = rungs("lr-find", "small.toml", "--low", "2", "--high", "1", cwd=tmp_path, code=2).stderr
    assert "--low --high: 2 to 1 is too narrow" in said and "->" in said


def test_folders_do_not_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare(RateOptions(small())).folder.path == Path("rates/small")
    Path("rates/small").mkdir(parents=True)
    assert prepare(RateOptions(small())).folder.path == Path("rates/small-2")
