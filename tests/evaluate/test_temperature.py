"""The temperature of a net: fitted on validation, stored with the weights, used to predict."""

from __future__ import annotations

from pathlib import Path

import faults
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import minimize_scalar
from small import run, small
from torch import Tensor
from torch.nn import functional as F

from rungs.evaluate.temperature import BOUNDS, PRIOR_SD, fit
from rungs.run.folder import RunDir
from rungs.run.record import RunRecord
from rungs.ship import predict
from rungs.ship.bundle import load_weights
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.pack_run import run_pack
from rungs.training.scoring import score_parts
from rungs.training.setup import assemble

LARGE_TEST = ("data.validation=400", "data.test=600", "evaluation.mistakes=0")


def calibrated(n: int, spread: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return logits (n, 10) and labels drawn from their own probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(n, 10, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_it_undoes_a_known_factor(factor: float) -> None:
    logits, labels = calibrated(20_000, 3.0)
    assert fit(factor * logits, labels) == pytest.approx(factor, rel=0.03)


@pytest.mark.parametrize("spread", [0.5, 4.0])
def test_scipy_finds_the_same(spread: float) -> None:
    logits, labels = calibrated(300, spread)

    def loss(log_t: float) -> float:
        nll = F.cross_entropy(1.7 * logits.double() / np.exp(log_t), labels, reduction="sum")
        return float(nll) + log_t**2 / (2 * PRIOR_SD**2)

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert fit(1.7 * logits, labels) == pytest.approx(np.exp(found.x), rel=1e-5)


def test_it_stays_finite_where_nothing_is_wrong_or_nothing_was_learnt() -> None:
    labels = torch.arange(200) % 10
    assert 0.2 < fit(3 * torch.eye(10)[labels], labels) < 1
    noise = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0))
    assert 3 < fit(5 * noise, torch.arange(1000) % 10) <= BOUNDS[1]
    assert fit(torch.zeros(200, 10), labels) == pytest.approx(1)  # all probabilities are alike whatever it is


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose test set is large enough to measure calibration."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    faults.train(folder, *LARGE_TEST)
    return folder


def test_it_calibrates_a_run_on_digits(digits: Path) -> None:
    """With each of 8 seeds; on average the error on test falls from 5.1 to 1.4 points."""
    record = RunDir(digits).read_record()
    assert 0.4 < record.temperature < 0.8  # stopped while it still was underconfident
    assert record.temperature_reason == "fitted on 400 validation images"
    for result in (record.validation, record.test):
        assert result is not None and result.scaled is not None
        assert result.scaled.temperature == record.temperature
        assert result.scaled.calibration_error < result.calibration_error - 0.01
        assert result.scaled.loss < result.loss
    assert record.train is not None and record.train.scaled is None


def test_it_calibrates_an_overconfident_net(digits: Path) -> None:
    """The same net with logits four times as large needs a temperature four times as high."""
    record = RunDir(digits).read_record()
    setup = assemble(*load_dataset(record.recipe, False), World(0, 1, torch.device("cpu")))
    setup.model.load_state_dict(load_weights(digits).model.state_dict())
    with torch.no_grad():
        for parameter in list(setup.model.parameters())[-2:]:  # of the last layer
            parameter.mul_(4)
    scores = score_parts(setup, 0)
    assert scores.temperature == pytest.approx(4 * record.temperature, rel=0.1)  # the prior draws it to 1
    test = scores.results["test"]
    assert test.scaled is not None and record.test is not None
    assert (test.accuracy, test.confusion) == (record.test.accuracy, record.test.confusion)
    assert test.scaled.calibration_error < test.calibration_error and test.scaled.loss < test.loss / 1.2


def test_predictions_are_divided_by_it_and_their_classes_stay(digits: Path, tmp_path: Path) -> None:
    record, net = RunDir(digits).read_record(), predict.load(digits)
    assert net.weights.temperature == record.temperature
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    with torch.inference_mode():
        logits = net.weights.model(torch.from_numpy(pixels).to(net.device).float() / 255).cpu()
    found = net.probabilities(pixels)
    assert torch.allclose(found, (logits / record.temperature).softmax(1), atol=1e-6)
    assert torch.equal(found.argmax(1), logits.argmax(1))
    assert bool((found.amax(1) > logits.softmax(1).amax(1)).all())  # sharper
    Image.fromarray(pixels[0].transpose(1, 2, 0)).save(tmp_path / "one.png")
    (prediction,) = net.predict(tmp_path / "one.png")
    assert prediction.probability == pytest.approx(float(found[0].max()), abs=1e-6)


def test_evaluating_again_gives_what_the_record_holds(digits: Path) -> None:
    record, again = RunDir(digits).read_record(), predict.load(digits).evaluate()
    assert record.test is not None and record.test.scaled is not None and again.scaled is not None
    assert again.loss == pytest.approx(record.test.loss)
    assert again.calibration_error == pytest.approx(record.test.calibration_error)
    assert again.scaled.calibration_error == pytest.approx(record.test.scaled.calibration_error)


def test_the_report_shows_the_error_before_and_after(digits: Path) -> None:
    from rungs.study.folders import rewrite_report

    page = rewrite_report(digits).read_text()
    record = RunDir(digits).read_record()
    assert record.test is not None and record.test.scaled is not None
    before, after = record.test.calibration_error, record.test.scaled.calibration_error
    assert f"test {100 * before:.1f} % before, {100 * after:.1f} % after" in page


@pytest.mark.parametrize(
    ("validation", "reason"),
    [("1", "not fitted: 1 validation image, and it takes 100"), ("50", "not fitted: 50 validation images"),
     ("0", "not fitted: there is no validation set")],
)  # fmt: skip
def test_without_enough_validation_images_there_is_none(validation: str, reason: str, tmp_path: Path) -> None:
    record = run(small(f"data.validation={validation}", "training.epochs=1", "data.train=100"), tmp_path)
    assert record.temperature == 1 and record.temperature_reason.startswith(reason)
    assert record.test is not None and record.test.scaled is None
    assert load_weights(tmp_path).temperature == 1


def test_runs_of_a_pack_and_stopped_ones_have_theirs(tmp_path: Path) -> None:
    quick = ("training.epochs=2", "data.train=150", "training.precision=fp32")
    recipes = [small(*quick, f"seed={seed}") for seed in (0, 1)]
    folders = [RunDir(tmp_path / str(seed)) for seed in (0, 1)]
    records = run_pack(recipes, folders, World(0, 1, torch.device("cpu")))
    for record, folder in zip(records, folders, strict=True):
        assert isinstance(record, RunRecord)
        assert load_weights(folder.path).temperature == record.temperature != 1
    run(recipes[0], tmp_path / "halves", stop_after=1)
    assert load_weights(tmp_path / "halves").temperature == 1  # not known before training ends
    resumed = run(recipes[0], tmp_path / "halves", resume=True)
    assert load_weights(tmp_path / "halves").temperature == resumed.temperature != 1


def test_it_is_fitted_on_one_view_whatever_the_test_time_augmentation(tmp_path: Path) -> None:
    quick = ("training.epochs=1", "data.train=100")
    plain = run(small(*quick), tmp_path / "plain")
    mirrored = run(small(*quick, "evaluation.tta=mirror"), tmp_path / "mirrored")
    assert mirrored.temperature == plain.temperature != 1
    assert mirrored.test_tta is not None and mirrored.test_tta.scaled is None


def test_weights_of_earlier_versions_have_none() -> None:
    old = Path(__file__).parents[1] / "data_of_old" / "run"
    assert load_weights(old).temperature == 1
    record = RunDir(old).read_record()
    assert (record.temperature, record.temperature_reason) == (1, "")
