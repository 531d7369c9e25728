"""The stages of nets: of ours, of any net with children, and of one that says what they are."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from rungs.models.normalized import Normalized
from rungs.models.resnet import resnet18
from rungs.models.stages import Stages, parameters_of, stages


def kinds(found: Stages) -> list[list[str]]:
    return [[type(module).__name__ for module in stage] for stage in found]


def resnet() -> nn.Module:
    return resnet18(stem="cifar", width=8, image_size=8, classes=3)


def test_the_head_of_a_resnet_is_its_last_layer_and_its_stem_has_its_norm() -> None:
    net = resnet()
    found = stages(Normalized(net, (0, 0, 0), (1, 1, 1)))
    assert kinds(found) == [["Conv2d", "BatchNorm2d"], *[["Sequential"]] * 4, ["Linear"]]
    assert found[-1] == [net.fc]


def test_children_with_weights_are_stages_and_norms_join_the_layer_before() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(8, 2),
    )
    assert kinds(stages(net)) == [["Conv2d", "BatchNorm2d"], ["Conv2d"], ["Linear"]]


def test_the_last_child_is_taken_apart_to_its_last_layer() -> None:
    head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    net = nn.Sequential(OrderedDict(features=body, classifier=head))
    assert kinds(stages(net)) == [["Sequential"], ["Linear"], ["Linear"]]
    assert stages(net)[-1] == [head[2]]
    assert stages(nn.Sequential(net)) == stages(net)  # of a net in a wrapper, too


def test_a_net_says_what_its_stages_are_by_a_method() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(8, 2), nn.Linear(4, 8)

        def stages(self) -> list[list[nn.Module]]:
            return [[self.first], [self.last]]

    net = Own()
    assert stages(net) == [[net.first], [net.last]]


def test_a_layer_that_is_named_stages_is_a_layer() -> None:
    net = nn.Sequential(OrderedDict(stages=nn.Sequential(nn.Conv2d(3, 8, 3)), fc=nn.Linear(8, 2)))
    assert kinds(stages(net)) == [["Sequential"], ["Linear"]]


def test_all_weights_of_a_net_of_ours_are_in_its_stages_once() -> None:
    net = resnet()
    found = [parameter for stage in stages(net) for parameter in parameters_of(stage)]
    assert len(found) == len(set(found)) == len(list(net.parameters()))
