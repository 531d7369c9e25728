from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rungs.recipe.spec import StoppingSpec
from rungs.run.record import EpochRow
from rungs.training.stopping import best_epoch, should_stop


def rows(losses: list[float]) -> list[EpochRow]:
    return [
        EpochRow(
            epoch=i,
            step=i,
            learning_rate=0.1,
            train_loss=1.0,
            train_accuracy=0.5,
            validation_loss=loss,
            validation_accuracy=1 / (1 + loss),
            train_s=1.0,
            validation_s=0.1,
            images_per_s=1.0,
        )
        for i, loss in enumerate(losses, 1)
    ]


def test_the_first_of_equals_is_the_best() -> None:
    assert best_epoch(rows([3.0, 1.0, 2.0, 1.0]), StoppingSpec()) == 2
    assert best_epoch(rows([3.0, 1.0, 2.0, 1.0]), StoppingSpec("validation_accuracy")) == 2
    assert best_epoch([], StoppingSpec()) is None


def test_the_last_epoch_is_kept_where_the_recipe_says_so() -> None:
    assert best_epoch(rows([3.0, 1.0, 2.0]), StoppingSpec(keep="last")) == 3
    assert best_epoch([], StoppingSpec(keep="last")) is None


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(1, 5))
def test_it_stops_exactly_when_patience_is_spent(losses: list[float], patience: int) -> None:
    spec = StoppingSpec(patience=patience)
    history = rows(losses)
    first = next((n for n in range(1, len(losses) + 1) if should_stop(history[:n], spec)), None)
    waited = [len(losses[:n]) - best_epoch(history[:n], StoppingSpec()) for n in range(1, len(losses) + 1)]  # type: ignore[operator]
    assert first == next((n for n, w in enumerate(waited, 1) if w >= patience), None)
    assert not should_stop(history, StoppingSpec())
