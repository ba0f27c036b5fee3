"""What short texts were read as, kept: questions and passages come again. A long one is read anew each time, so that
what is kept is bounded in bytes, and not only in number."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar, cast

LONGEST: Final = 2000
"""Characters: twice a passage."""
F = TypeVar("F", bound=Callable[..., Any])


def remembered(most: int, longest: int = LONGEST) -> Callable[[F], F]:
    """Keep the last `most` results of a function of a text, for texts of at most `longest` characters."""

    def wrap(fn: F) -> F:
        kept = lru_cache(maxsize=most)(fn)

        @wraps(fn)
        def read(text: str, *rest: Any) -> Any:
            return kept(text, *rest) if len(text) <= longest else fn(text, *rest)

        return cast(F, read)

    return wrap


__all__ = ["LONGEST", "remembered"]
