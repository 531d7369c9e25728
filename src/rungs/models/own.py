"""The user's own nets: from a file that the user named, or given in Python. No other code is ever imported.

A file's content is checked against the hash in the recipe, and the same bytes are executed. The file should be
self-contained: modules that it imports must be on Python's path and are not covered by the hash.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import NoReturn, TypeAlias

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from rungs.errors import UserError, did_you_mean
from rungs.recipe.own import OURS, Own, called, read_source

OwnNet: TypeAlias = nn.Module | Callable[..., nn.Module]
"""A net, or a class or function that makes one from the keyword arguments `image_size` and `classes`."""


class Checked(SourceLoader):
    """Imports exactly the bytes whose hash was checked, without rereading the file or using `__pycache__`."""

    def __init__(self, file: str, content: bytes) -> None:
        self.file, self.content = file, content

    def get_filename(self, fullname: str) -> str:  # noqa: D102
        return self.file

    def get_data(self, path: str | bytes) -> bytes:  # noqa: D102
        return self.content


def build_own(spec: Own, given: OwnNet | None = None, *, image_size: int, classes: int) -> nn.Module:
    """Build a user's own net and check on two blank images that it returns logits.

    Args:
        spec: The file and class, or the description of a net given in Python.
        given: The net itself (it is copied), its class or a function, if given in Python.
        image_size: Height and width of the images in pixels.
        classes: K, the number of logits.

    Raises:
        UserError: No such file, a file with another hash than in the recipe, or an error in its code.
    """
    if isinstance(given, nn.Module):
        net: object = copy.deepcopy(given).cpu()
    else:
        make = _from_file(spec) if given is None else given
        _require_arguments(make, spec)
        try:
            net = make(**spec.arguments, image_size=image_size, classes=classes)
        except UserError:
            raise
        except Exception as error:
            _raise_for(error, spec, "cannot be built")
    if not isinstance(net, nn.Module):
        what = f"{called(spec)} returned a {type(net).__name__}, not a torch.nn.Module"
        raise UserError(what, where="model.name", do="return the net")
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UserError(f"{called(spec)} has no trainable weights", where="model.name", do="add a layer")
    _require_logits(net, spec, image_size, classes)
    return net


def source_of(spec: Own) -> bytes:
    """Return the content of a net's file, checked against the recipe's hash.

    Raises:
        UserError: It cannot be read, or its hash differs.
    """
    if not spec.file:
        do = "give it again: rungs.train(recipe, model=…) or rungs.load(run, model=…)"
        raise UserError(f"the net {spec.attribute} was given in Python, not as a file", where="model.name", do=do)
    if not Path(spec.file).is_absolute():
        do = "train RUN/recipe.toml, or your own recipe that names the file"
        raise UserError(
            f"code is not loaded from a record alone: you did not name {spec.file}", where="model.name", do=do
        )
    content = read_source(spec.file, "model.name")
    if spec.sha256 != hashlib.sha256(content).hexdigest():
        what = f"{called(spec)}: this file has changed since the recipe was written (its SHA-256 differs)"
        do = (
            "restore the original file (a run's folder has a copy); to train the new one, remove sha256 from the recipe"
        )
        raise UserError(what, where=spec.file, do=do)
    return content


def spec_of(given: OwnNet) -> Own:
    """Describe a net given in Python by its name and the hash of its source, if readable.

    A net that is already built is described by the source of its class and by its layers. Its initial weights, and the
    arguments that `functools.partial` binds, are part of the run's identity. A function's closure is not covered.
    """
    made: object = given
    bound = ""
    arguments: dict[str, str] = {}
    if isinstance(given, functools.partial):
        made, bound = given.func, repr((given.args, sorted(given.keywords.items())))
    if isinstance(given, nn.Module):
        made, bound = type(given), repr(given)
        weights = hashlib.sha256()
        for name, tensor in given.state_dict().items():
            content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            weights.update(name.encode() + content.numpy().tobytes())
        arguments = {"first_weights": weights.hexdigest()[:16]}
    try:
        source = inspect.getsource(made)  # type: ignore[arg-type]
    except (OSError, TypeError):  # typed into an interpreter, or not Python
        source = ""
    sha256 = hashlib.sha256(f"{source}\n{bound}".encode()).hexdigest() if source else ""
    name = getattr(made, "__name__", type(made).__name__)
    return Own(attribute=name if name.isidentifier() else "function", sha256=sha256, arguments=arguments)


def build_named(
    spec: Own, named: str | Path | OwnNet | None, where: str, *, image_size: int, classes: int
) -> nn.Module:
    """Build the net of a run from the code that the user named; code in a run's folder is never loaded by itself.

    Args:
        spec: From the run's weights.
        named: The file, or the net given in Python; None if the user named nothing.
        where: Names the run in errors.
        image_size: Height and width of the images in pixels.
        classes: K, the number of logits.

    Raises:
        UserError: Nothing is named, or not the net that the run was trained with.
    """
    if named is None:
        what = f"its net is {called(spec)}, not one of rungs', and code is only loaded if you name it"
        flag = f"--model {spec.file and Path(spec.file).name}" if spec.file else "in Python: rungs.load(run, model=…)"
        copied = f"; look at the copy in the run's folder first, {Path(spec.file).name}" if spec.file else ""
        raise UserError(what, where=where, do=f"name it: {flag}{copied}")
    if isinstance(named, str | Path):
        if not spec.file:
            do = f"in Python: rungs.load(run, model={spec.attribute})"
            raise UserError(f"the net {spec.attribute} was given in Python, not as a file", where=where, do=do)
        found = replace(spec, file=str(Path(named).absolute()))
        return build_own(found, image_size=image_size, classes=classes)
    if spec.sha256 and _hash_of(named, spec) != spec.sha256:
        what = f"this is not the net that the run was trained with, {called(spec)}: its source differs"
        raise UserError(what, where=where, do="give the original net")
    free = replace(spec, arguments={}) if not spec.file else spec
    return build_own(free, named, image_size=image_size, classes=classes)


def _hash_of(given: OwnNet, spec: Own) -> str:
    """Return the hash to compare with a run's: of the source, or of the whole file if the run's net has one."""
    if not spec.file:
        return spec_of(given).sha256
    made = type(given) if isinstance(given, nn.Module) else given
    try:
        return hashlib.sha256(Path(inspect.getsourcefile(made) or "").read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""


def _from_file(spec: Own) -> Callable[..., object]:
    content = source_of(spec)
    name = f"rungs_own_{hashlib.sha256(f'{spec.file} {spec.sha256}'.encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        checked = Checked(spec.file, content)
        module = module_from_spec(ModuleSpec(name, checked, origin=spec.file))
        module.__file__ = spec.file
        sys.modules[name] = module  # dataclasses and inspect look there
        try:
            checked.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            _raise_for(error, spec, "cannot be imported")
    module = sys.modules[name]
    made: Callable[..., object] | None = getattr(module, spec.attribute, None)
    if not callable(made):
        there = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
        what = f"this file has no class or function {spec.attribute!r}"
        raise UserError(what, where=spec.file, do=did_you_mean(spec.attribute, there))
    return made


def _require_arguments(make: Callable[..., object], spec: Own) -> None:
    """Reject unknown and missing arguments of the net, by name."""
    try:
        parameters = inspect.signature(make).parameters
    except (ValueError, TypeError):  # written in C
        return
    kinds = inspect.Parameter
    taken = [n for n, p in parameters.items() if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)]
    takes_all = any(p.kind is kinds.VAR_KEYWORD for p in parameters.values())
    for name in () if takes_all else OURS:
        if name not in taken:
            do = "add image_size and classes to its keyword arguments: rungs passes both, from the data"
            raise UserError(f"{called(spec)} takes no argument {name!r}", where="model.name", do=do)
    for name in () if takes_all else spec.arguments:
        if name not in taken:
            do = did_you_mean(name, [other for other in taken if other not in OURS])
            raise UserError(f"{called(spec)} takes no argument {name!r}", where=f"model.{name}", do=do)
    for name in taken:
        if parameters[name].default is kinds.empty and name not in (*OURS, *spec.arguments):
            raise UserError(f"{called(spec)} needs an argument {name!r}", where=f"model.{name}", do="add it")


def _require_logits(net: nn.Module, spec: Own, image_size: int, classes: int) -> None:
    """Reject a net that does not map two blank images to two rows of logits."""
    blank = torch.zeros(2, 3, image_size, image_size).to(memory_format=torch.channels_last)  # as in training
    was_training = net.training
    try:
        with torch.no_grad():
            logits = net.eval()(blank)
    except Exception as error:
        _raise_for(error, spec, f"cannot take images of shape {tuple(blank.shape)}")
    finally:
        net.train(was_training)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (2, classes):
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        what = f"{called(spec)} returns {found} for 2 images and {classes} classes"
        raise UserError(what, where="model.name", do=f"return logits of shape (B, classes), here (2, {classes})")


def _raise_for(error: BaseException, spec: Own, what: str) -> NoReturn:
    """Raise a UserError for an exception in the user's code, with the last line of their file in the traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == spec.file]
    line = lines[-1] if lines else None
    if isinstance(error, SyntaxError) and error.filename == spec.file:
        line = error.lineno
    where = f"{spec.file}, line {line}" if line else spec.file or "model"
    message = str(error).splitlines()[0] if str(error) else ""
    reason = f"{type(error).__name__}: {message}" if message else type(error).__name__
    raise UserError(f"{called(spec)} {what}: {reason}", where=where, do="fix that line") from error
