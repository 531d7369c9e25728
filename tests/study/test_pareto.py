from rungs.study.pareto import Point, dominates, front


def test_the_front_is_what_nothing_beats() -> None:
    points = [Point(1, 0.5), Point(2, 0.4), Point(2, 0.7), Point(3, 0.7)]
    assert front(points) == (Point(1, 0.5), Point(2, 0.7))
    assert front(points[::-1]) == front(points)
    assert front([]) == ()


def test_of_equals_none_dominates_and_the_front_has_them_once() -> None:
    assert not dominates(Point(1, 0.5), Point(1, 0.5))
    assert dominates(Point(1, 0.5), Point(1, 0.4))
    assert dominates(Point(1, 0.5), Point(2, 0.5))
    assert not dominates(Point(1, 0.5), Point(0.5, 0.4))
    assert front([Point(1, 0.5), Point(1, 0.5)]) == (Point(1, 0.5),)
