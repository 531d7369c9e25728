"""Roles of fields: what each query gives, and that identities of recipes rest on them as before."""

from __future__ import annotations

import pytest

from rungs.recipe.identity import NO_RESULT, digest
from rungs.recipe.roles import fields_with, has_role
from rungs.recipe.toml import load
from rungs.study.comparison.candidates import NO_OTHER_RECIPE
from rungs.study.search import space

ABOUT = ("name", "about", "source", "assumptions", "claims")
IMAGES = ("image_size", "interpolation", "crop", "layout", "image_column", "label_column", "groups", "folds")
LUCKY = "a seed that wins is lucky, not better: the finals re-run the best trials on fresh seeds"
CHOOSES = "it decides which epoch's weights are kept; trials that choose differently cannot be compared"
OTHER_IMAGES = "trials that are scored on other images cannot be compared"


def test_each_role_names_the_fields_that_it_always_named() -> None:
    assert fields_with("about") == ABOUT
    assert fields_with("resolved") == (
        "data.image_size",
        "data.interpolation",
        "data.crop",
        "data.mean",
        "data.std",
        "data.groups",
        "model.architecture",
        "model.sha256",  # of a pretrained net's weights
        "training.precision",
        "training.compile",
        "training.convolution",
    )
    assert fields_with("speed") == ("data.cache_gb", "training.cuda_graphs")
    assert fields_with("judge") == ("data.validation", "data.test", "data.groups", "data.folds", "evaluation")
    assert fields_with("seed", "about") == (*ABOUT, "seed", "data.fold")
    assert fields_with("loss") == ("training.loss",)
    assert fields_with("newer") == (
        "data.balance",
        "data.interpolation",
        "data.crop",
        "data.mean",
        "data.std",
        "data.layout",
        "data.image_column",
        "data.label_column",
        "data.groups",
        "data.folds",
        "data.fold",
        "optim.head_lr",
        "optim.layer_decay",
        "training.class_weights",
        "training.freeze",
        "training.unfreeze_epochs",
        "training.head_epochs",
        "training.frozen_norms",
        "stopping.keep",
    )
    assert set(fields_with(*NO_OTHER_RECIPE)) == {
        *ABOUT,
        "evaluation",
        "seed",
        "data.fold",
        "data.source",
        "model.file",  # of a user's own net
        "data.cache_gb",
        "training.cuda_graphs",
        "training.compile",
        "training.convolution",
    }


def test_no_search_varies_what_it_never_might() -> None:
    assert space.refusals() == {
        "data.source": OTHER_IMAGES,
        "data.validation": OTHER_IMAGES,
        "data.test": "the test set is not for selection, and a search does not open it",
        **dict.fromkeys((f"data.{one}" for one in IMAGES), OTHER_IMAGES),
        "augment.validation": OTHER_IMAGES,
        **dict.fromkeys(("seed", "data.fold"), LUCKY),
        "evaluation": "it changes how a net is scored, not the net",
        **dict.fromkeys(("stopping.monitor", "stopping.keep"), CHOOSES),
        **dict.fromkeys(ABOUT, "it does not change the result"),
    }


def test_a_part_of_a_table_has_the_tables_roles() -> None:
    assert has_role("evaluation.tta", "scores")
    assert has_role("claims.0.value", "about")
    assert not has_role("evaluations", "scores")
    assert not has_role("data.validation", *NO_RESULT)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("deep-001", "8af50312dc21df953c08f36f66dbcc49b6204071e58d281d33029ff4ba75d72d"),
        ("digits-quick", "a28193e5113f26c176459b0cd679aef8f72fe14e793b7817506a5790091a0751"),
        ("explore-003", "06262d4d922dc4c406d36663f3035bf45dabedc4b8d4c94e9c25f9be3bc8b1bd"),
        ("first-000", "9d9d8d7bbb0b9b94c2d4c5717f89e39df30202741a5a2821dc4a395a21027949"),
        ("lab-003", "de4a1cf36fcf5f95bec8185eb16be1e8185838721c0f61fe7ae42e88f6277a6a"),
        ("mix-004", "cff4c42521865d7a15d83591ccc1093b166bbae6b7709d41773beb641b3fe104"),
        ("net1-002", "66e70f96e7830d89ee3e15182d901bdac5f6768c4292ebac1918c849b75f4055"),
        ("resnet18", "d69d24280dbb7c1815be25f9d84ea09740c216e53948740e3a5b38b0cd3612dc"),
        ("speedrun-94-gpu", "7788421c8ab41634835d52d9ac733b77b006d541c5bd16c4a992f4c6626e92e1"),
        ("speedrun-94", "95cb0a433bf94ea60a85f6b7ee59af56d0f2123a87a5e34f060eb5681c30f0ae"),
        ("speedrun-95", "f8400386e6b9260ab4b2acfb4c87632c06a15178d1ab0ef94b5430bd7271bac5"),
        ("speedrun-96", "79c14823872a60a7b953d1d019cb8bc2880de86be008378622d2fe1ebe844044"),
    ],
)
def test_a_shipped_recipe_keeps_its_digest(name: str, known: str) -> None:
    """So the folders of runs on users' disks, and what can be resumed, stay what they are."""
    assert digest(load(name)) == known
