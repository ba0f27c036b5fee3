"""Every string of a JSON value, whatever its depth: without recursion, so that no nesting can exhaust the stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
_Container: TypeAlias = dict[str, Any] | list[Any]


def strings(*roots: Any, keys: bool = False, numbers: bool = False) -> Iterator[str]:
    """All strings below `roots`, in no order; names of fields only if `keys`, numbers as they are written if
    `numbers`."""
    stack: list[Any] = list(roots)
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            stack.extend(value.values())
            if keys:
                stack.extend(value)
        elif isinstance(value, (list, tuple)):
            stack.extend(value)
        elif numbers and isinstance(value, (int, float)):
            yield str(value)


class _Open:
    """A container on the way down: where it hangs, what is left of it, and its copy once something in it changed."""

    __slots__ = ("changed", "items", "key", "value")

    def __init__(self, value: _Container, key: Any) -> None:
        self.value, self.key = value, key
        self.items: Iterator[tuple[Any, Any]] = iter(value.items() if isinstance(value, dict) else enumerate(value))
        self.changed: Any = None

    def put(self, key: Any, value: Any) -> None:
        if self.changed is None:
            self.changed = self.value.copy()
        self.changed[key] = value


def rewrite(root: T, change: Callable[[str], str]) -> T:
    """`root` with `change` applied to every string (not to names of fields), in the order in which they stand.

    What holds no change is handed on as the same object; what does is a copy. `change` returns its argument to say no.
    """
    top = _Open([root], None)
    stack = [top]
    while stack:
        here = stack[-1]
        for key, value in here.items:
            if isinstance(value, str):
                new = change(value)
                if new is not value:
                    here.put(key, new)
            elif isinstance(value, (dict, list)) and value:
                stack.append(_Open(value, key))
                break
        else:
            stack.pop()
            if stack and here.changed is not None:
                stack[-1].put(here.key, here.changed)
    result: T = root if top.changed is None else top.changed[0]
    return result
