"""Whether two runs were scored on the same images, from their records alone."""

from __future__ import annotations

from msgspec.structs import replace
from samples import healthy

from rungs.recipe.groups import NearDuplicates
from rungs.run.record import RunRecord
from rungs.study.same_images import same_images


def photos(digest: str, held: str | None, size: int = 32, **data: object) -> RunRecord:
    record = healthy()
    recipe = replace(record.recipe, data=replace(record.recipe.data, source="folder:photos", **data))
    members = {} if held is None else {"test": held}
    found = replace(record.data, source="folder:photos", hashes={"test": digest}, members=members, image_size=size)
    return replace(record, recipe=recipe, data=found)


def same(one: RunRecord, two: RunRecord, *, labels: bool = True) -> bool:
    return same_images(one, two, "test", same_labels=labels)


def test_the_files_decide_where_images_were_decoded_differently() -> None:
    small = photos("a", "files")
    for other in ({"size": 64}, {"crop": 0.9}, {"interpolation": "bilinear"}):
        assert same(small, photos("b", "files", **other))  # type: ignore[arg-type]
        assert not same(small, photos("b", "others", **other))  # type: ignore[arg-type]
    assert not same(small, photos("b", "files", size=64), labels=False)


def test_files_of_one_name_that_decode_differently_have_changed() -> None:
    assert same(photos("a", "files"), photos("a", "files"))
    assert not same(photos("a", "files"), photos("b", "files"))
    assert not same(photos("a", "files"), photos("b", "files", crop=1.0, interpolation="bicubic"))  # the defaults


def test_older_records_go_by_split_and_labels_unless_the_split_went_by_looks() -> None:
    assert same(photos("a", None), photos("b", None, size=64))
    assert not same(photos("a", None), photos("b", None, size=64), labels=False)
    assert not same(photos("a", None), photos("b", None, size=64, test=0.3))
    grouped = {"groups": NearDuplicates()}
    assert not same(photos("a", None, **grouped), photos("b", None, size=64, **grouped))  # type: ignore[arg-type]
