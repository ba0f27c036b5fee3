"""Put a bug into the running program, and take it out again.

A mutant is a text of a source file and what stands in its place. The text must be there exactly once: a mutant that the
code has left behind fails loudly. Python files are compiled anew, and every function that came out different gets the
new code, wherever it is referred to; Lua goes in where the store reads its scripts.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import msgspec

import trimtab
from trimtab.dataplane.spend.adapters import valkey

ROOT = Path(trimtab.__file__).parent
_LUA = "dataplane/spend/adapters/lua/"


class Mutant(msgspec.Struct, frozen=True):
    name: str
    """What goes wrong, in a few words."""
    file: str
    """Below src/trimtab."""
    old: str
    new: str

    def changed(self) -> str:
        """The file with the bug. Raises LookupError where the code is not as the mutant knows it."""
        text = (ROOT / self.file).read_text("utf-8")
        if text.count(self.old) != 1:
            raise LookupError(f"{self.name}: its text stands {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    text = mutant.changed()
    if mutant.file.startswith(_LUA):
        with _lua(mutant.file.removeprefix(_LUA).removesuffix(".lua"), text):
            yield
        return
    name = "trimtab." + mutant.file.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name)
    new = _codes(compile(text, module.__file__ or "", "exec", dont_inherit=True))
    was: list[tuple[FunctionType, CodeType]] = []
    for function in _functions(module):
        code = new.get(function.__qualname__)
        if code is not None and not _same(code, function.__code__):
            was.append((function, function.__code__))
            function.__code__ = code
    if not was:
        raise LookupError(f"{mutant.name}: no function came out different")
    try:
        yield
    finally:
        for function, code in was:
            function.__code__ = code


@contextmanager
def _lua(script: str, text: str) -> Iterator[None]:
    real = valkey._source
    valkey._source = lambda name: text if name == script else real(name)
    try:
        yield
    finally:
        valkey._source = real


def _codes(code: CodeType) -> dict[str, CodeType]:
    found: dict[str, CodeType] = {}
    for const in code.co_consts:
        if isinstance(const, CodeType):
            found[const.co_qualname] = const
            found.update(_codes(const))
    return found


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in vars(module).values():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            for own in vars(value).values():
                yield from _plain(own, module)
        else:
            yield from _plain(value, module)


def _plain(value: Any, module: ModuleType) -> Iterator[FunctionType]:
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, FunctionType) and value.__module__ == module.__name__:
        yield value


def _same(one: CodeType, other: CodeType) -> bool:
    """Lines aside."""
    if one.co_code != other.co_code or one.co_names != other.co_names or one.co_varnames != other.co_varnames:
        return False
    pairs = zip(one.co_consts, other.co_consts, strict=False)
    return len(one.co_consts) == len(other.co_consts) and all(
        _same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else a == b for a, b in pairs
    )
