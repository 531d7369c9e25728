"""What the folders of a tree stand for: a class each, or parts (train, validation, test) above or below the classes.

Where the names leave it open, nothing is guessed: the error shows the readings and how to choose one.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rungs.data.sources.names import PARTS, class_name, parts_among, printable, says_nothing
from rungs.data.sources.tree import Steps, Tree
from rungs.errors import UserError
from rungs.recipe.spec import Layout
from rungs.run.record import Problem

ADVICE = "put the pictures into a folder per class, PATH/cat/1.jpg, or under parts, PATH/train/cat/1.jpg"

LISTED = 3
"""Unused files of one folder that are listed by name; more are counted."""


@dataclass(frozen=True)
class Arrangement:
    """A reading of a tree.

    Attributes:
        layout: Which one.
        base: The folder that holds the parts or classes: not the root, where a folder wraps everything.
        parts: "train", "validation", "test" -> the folders of its classes -> the name of the class.
        problems: Pictures and folders that are not used.
        notes: How it was read, for people.
    """

    layout: Layout
    base: Steps
    parts: dict[str, dict[Steps, str]]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def arrange(tree: Tree, layout: Layout, root: str) -> Arrangement:
    """Read the folders of a tree as parts and classes.

    Args:
        tree: The files.
        layout: What the folders stand for; "auto" finds it out.
        root: For messages.

    Raises:
        UserError: No class folders, folders that fit no layout or not the one that was asked for, or more than one.
    """
    base, beside = _unwrapped(tree)
    if not tree.inside(base):
        raise UserError("files, but no class folders" if tree.files else "an empty folder", where=root, do=ADVICE)
    chosen = _found_out(tree, base, root) if layout == "auto" else layout
    found = READERS[chosen](tree, base, root)
    wrapped = [f"read from {_shown(base)}, the only folder with folders of pictures"] if base else []
    ignored = [f"{many:,} file{'s' * (many > 1)} in {name}" for name, many in tree.ignored.items() if many]
    ignored += [f"{tree.hidden:,} hidden file{'s' * (tree.hidden > 1)}"] if tree.hidden else []
    notes = [*wrapped, *found.notes, *([f"ignored: {', '.join(ignored)}"] if ignored else [])]
    return Arrangement(found.layout, base, found.parts, [*beside, *found.problems], notes)


def _unwrapped(tree: Tree) -> tuple[Steps, list[Problem]]:
    """Return the folder below which the classes are, and what lies beside it."""
    base: Steps = ()
    beside: list[Problem] = []
    while True:
        inside = tree.inside(base)
        filled = [folder for folder in inside if tree.images[folder]]
        others = [folder for folder in inside if folder not in filled]
        if len(filled) != 1 or not tree.inside(filled[0]) or filled[0] in tree.direct:
            return base, beside
        files = tree.below(others)
        if parts_among([filled[0][-1]]) or not all(files.values()):  # an empty folder may be meant as a class
            return base, beside
        beside += [_unused(_shown(folder), "no pictures in it") for folder in others]
        beside += _loose(tree, [base])
        base = filled[0]


def _found_out(tree: Tree, base: Steps, root: str) -> Layout:
    """Return the layout that the names of the folders say.

    Raises:
        UserError: They fit more than one.
    """
    tops = _filled(tree, tree.inside(base)) or tree.inside(base)
    named = parts_among(folder[-1] for folder in tree.inside(base))
    inner = {top: _inner_parts(tree, top) for top in tops}
    above = any(named.get(top[-1]) == "train" and tree.inside(top) and top not in tree.direct for top in tops)
    if len(named) == len(tree.inside(base)) or (above and not _all_hold_parts(tree, inner)):
        _require_one_level(tree, tops, named, root)
        return "part/class"
    if _all_hold_parts(tree, inner):
        return "class/part"
    if halves := [top for top, parts in inner.items() if len(parts) > 1]:
        what = f"{_shown(halves[0])} holds folders of parts, but not every folder here holds only such"
        raise _ambiguous(tree, base, root, what)
    if shared := _shared(tree, tops):
        what = f"{len(tops)} folders hold subfolders of the same names ({_some(shared)}): which level is the class?"
        raise _ambiguous(tree, base, root, what)
    return "class"


def _all_hold_parts(tree: Tree, inner: dict[Steps, dict[Steps, str]]) -> bool:
    """Return whether each of several folders holds folders of parts and no others."""
    whole = all(parts and len(parts) == len(tree.inside(top)) for top, parts in inner.items())
    return len(inner) > 1 and whole and any("train" in parts.values() for parts in inner.values())


def _require_one_level(tree: Tree, tops: list[Steps], named: dict[str, str], root: str) -> None:
    """Refuse training images with a folder of each class in several folders: train/{day,night}/{cat,dog}.

    Raises:
        UserError: Either level may be that of the classes.
    """
    for top in tops:
        if named.get(top[-1]) == "train" and (shared := _shared(tree, tree.inside(_descended(tree, top)))):
            folders = ", ".join(_shown(folder) for folder in tree.inside(_descended(tree, top))[:5])
            what = f"{folders} hold subfolders of the same names ({_some(shared)}): which level is the class?"
            do = f"if it is the upper one: --layout part/class; else move the others up, right into {_shown(top)}"
            raise UserError(what, where=root, do=do)


def _inner_parts(tree: Tree, folder: Steps) -> dict[Steps, str]:
    """Return the folders directly in a folder that stand for parts."""
    named = parts_among(inner[-1] for inner in tree.inside(folder))
    return {inner: named[inner[-1]] for inner in tree.inside(folder) if inner[-1] in named}


def _shared(tree: Tree, tops: list[Steps]) -> list[str]:
    """Return the names of subfolders that all of several folders hold: two or more, else one reading has no classes."""
    if len(tops) < 2 or sum(len(tree.direct.get(top, [])) for top in tops) * 2 > sum(tree.images[top] for top in tops):
        return []
    names = [{class_name(inner[-1]).casefold() for inner in _filled(tree, tree.inside(top))} for top in tops]
    shared = sorted(set.intersection(*names))
    return shared if len(shared) > 1 else []


def _ambiguous(tree: Tree, base: Steps, root: str, what: str) -> UserError:
    lines = [f"  --layout {layout}: {_described(tree, found)}" for layout, found in _readings(tree, base, root)]
    do = "choose one: rungs data … --layout LAYOUT, and rungs train … --layout LAYOUT"
    return UserError("\n".join([what, *lines]), where=root, do=do)


def _readings(tree: Tree, base: Steps, root: str) -> list[tuple[Layout, Arrangement]]:
    """Return the layouts that fit."""
    found: list[tuple[Layout, Arrangement]] = []
    for layout, read in READERS.items():
        try:
            found.append((layout, read(tree, base, root)))
        except UserError:
            continue
    return found


def _described(tree: Tree, found: Arrangement) -> str:
    """Return the classes of a reading with their numbers of images, and those of its parts."""
    classes: dict[str, int] = {}
    parts: dict[str, int] = {}
    for part, folders in found.parts.items():
        for folder, name in folders.items():
            classes[name] = classes.get(name, 0) + tree.images[folder]
            parts[part] = parts.get(part, 0) + tree.images[folder]
    counted = [f"{name} ({many:,} image{'s' * (many != 1)})" for name, many in classes.items()]
    words = f"{len(classes)} class{'es' * (len(classes) != 1)}, {_some(counted)}"
    return words + (f"; {', '.join(f'{part} {many:,}' for part, many in parts.items())}" if len(parts) > 1 else "")


def _by_class(tree: Tree, base: Steps, root: str) -> Arrangement:
    folders = {folder: class_name(folder[-1]) for folder in tree.inside(base)}
    note = "read as a folder per class"
    return Arrangement("class", base, {"train": folders}, _loose(tree, [base]), [note])


def _by_part(tree: Tree, base: Steps, root: str) -> Arrangement:
    """Read parts above classes; where no folder has the name of a part, all hold training images."""
    tops = tree.inside(base)
    known = parts_among(folder[-1] for folder in tops)
    named = known or {folder[-1]: "train" for folder in tops}
    bases: dict[str, list[Steps]] = {}
    flat: list[Steps] = []
    for folder in tops:
        part, inner = named.get(folder[-1]), _descended(tree, folder)
        if part is None:
            continue
        if not tree.inside(inner) or _only_says_nothing(tree, inner):
            flat.append(folder)
        elif part in bases and known:
            both = f"{_shown(bases[part][0])} and {_shown(folder)}"
            raise UserError(f"{both} both name the {part} part", where=root, do="keep one of them")
        else:
            bases.setdefault(part, []).append(inner)
    problems = _without_labels(tree, flat, named, root, labelled="train" in bases)
    problems += _loose(tree, [base, *(inner for found in bases.values() for inner in found)])
    beside = [_unused(_shown(top), "not the name of a part (train, val, test)") for top in tops if top[-1] not in named]
    parts = {
        part: {folder: class_name(folder[-1]) for inner in bases[part] for folder in tree.inside(inner)}
        for part in PARTS
        if part in bases
    }
    where = "; ".join(f"{part} from {', '.join(map(_shown, bases[part]))}" for part in parts)
    note = f"read as parts with a folder per class in each: {where}"
    if not known:
        note = f"no folder has the name of a part: all images of {_some([*map(_shown, tops)])} are training images"
    return Arrangement("part/class", base, parts, [*problems, *beside], [note])


def _descended(tree: Tree, folder: Steps) -> Steps:
    """Return where the classes of a part are: in itself, or further below as in seg_train/seg_train/forest."""
    while True:
        inside = tree.inside(folder)
        if len(inside) != 1 or folder in tree.direct or not tree.inside(inside[0]):
            return folder
        inner = inside[0][-1]
        again = parts_among([inner]) or inner.casefold() == folder[-1].casefold() or says_nothing(inner)
        if not again or inside[0] in tree.direct:
            return folder
        folder = inside[0]


def _only_says_nothing(tree: Tree, folder: Steps) -> bool:
    """Return whether all pictures of a part are in one folder whose name is no class: test/images/1.jpg."""
    inside = tree.inside(folder)
    if len(inside) != 1 or tree.inside(inside[0]):
        return False
    name = inside[0][-1]
    return bool(says_nothing(name) or parts_among([name]) or name.casefold() == folder[-1].casefold())


def _without_labels(
    tree: Tree, folders: list[Steps], named: dict[str, str], root: str, *, labelled: bool
) -> list[Problem]:
    """Report parts whose pictures are in no class folder.

    Raises:
        UserError: The training images are, or no other part has labels.
    """
    problems = []
    for folder in folders:
        part = named[folder[-1]]
        if labelled and not tree.images[folder]:
            problems.append(_unused(_shown(folder), "no pictures in it"))
            continue
        if part == "train" or not labelled:
            raise UserError("no class folders here", where=f"{root}/{_shown(folder)}", do=ADVICE)
        what = f"{tree.images[folder]:,} picture{'s' * (tree.images[folder] != 1)} without labels"
        them = "it" if tree.images[folder] == 1 else "these"
        command = f"rungs predict RUN {shlex.quote(f'{root}/{_shown(folder)}')}"
        reason = f"{what}: the {part} set is cut from the training images; label {them}: {command}"
        problems.append(_unused(_shown(folder), reason))
    return problems


def _by_class_and_part(tree: Tree, base: Steps, root: str) -> Arrangement:
    """Read classes above parts; a folder without pictures is an empty class."""
    parts: dict[str, dict[Steps, str]] = {}
    tops = tree.inside(base)
    for top in tops:
        inner = _inner_parts(tree, top)
        others = [folder for folder in tree.inside(top) if folder not in inner]
        if tree.images[top] and (others or not inner):
            where = others[0] if others else top
            what = f"{_shown(where)} {'is not the name of a part' if others else 'holds no folder of a part'}"
            do = "train, val and test are; give another layout, or none: --layout auto"
            raise UserError(f"{what}, as the layout class/part needs", where=root, do=do)
        for folder, part in (inner or {top: "train"}).items():
            parts.setdefault(part, {})[folder] = class_name(top[-1])
    ordered = {part: parts[part] for part in PARTS if part in parts}
    note = f"read as a folder per class with parts in each: {', '.join(ordered)}"
    return Arrangement("class/part", base, ordered, _loose(tree, [base, *tops]), [note])


READERS: dict[Layout, Callable[[Tree, Steps, str], Arrangement]] = {
    "class": _by_class,
    "part/class": _by_part,
    "class/part": _by_class_and_part,
}


def _filled(tree: Tree, folders: Iterable[Steps]) -> list[Steps]:
    return [folder for folder in folders if tree.images[folder]]


def _loose(tree: Tree, folders: list[Steps]) -> list[Problem]:
    """Report the pictures that lie beside class folders, in none."""
    problems = []
    for folder in dict.fromkeys(folders):
        files = tree.direct.get(folder, [])
        if len(files) > LISTED:
            problems.append(_unused(_shown(folder) or ".", f"{len(files):,} pictures here are not in a class folder"))
        else:
            problems += [_unused(file.name, "not in a class folder") for file in files]
    return problems


def _unused(name: str, reason: str) -> Problem:
    return Problem(path=name, kind="doubtful", reason=f"not used: {reason}")


def _shown(folder: Steps) -> str:
    return printable("/".join(folder))


def _some(words: list[str], most: int = 5) -> str:
    """Return words as a list that is not too long."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
