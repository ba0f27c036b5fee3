"""The gateway child with faults in it: each raises with what a caller wrote in its words, as real faults do.

Started in the real gateway's place by `support.faulty_serve`. A request asks for a fault by a word in its text.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from typing import Any

from trimtab.dataplane import pipeline
from trimtab.surfaces.processes import gateway
from trimtab.surfaces.server import openai

IN_A_STAGE, IN_A_CAUSE, IN_A_CALLBACK, IN_A_THREAD, AS_A_WARNING = (
    *("fault-in-stage", "fault-in-cause", "fault-in-callback", "fault-in-thread", "fault-as-warning"),
)


def _screened(messages: Any, *arguments: Any) -> Any:
    text = str(messages)
    if IN_A_STAGE in text:
        raise KeyError(text)
    if IN_A_CAUSE in text:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RuntimeError(f"{text}\n\x1b[31mERROR forged") from error
    if IN_A_CALLBACK in text:
        asyncio.get_running_loop().call_soon(_raise, text)
        task = asyncio.get_running_loop().create_task(_raised(text))
        del task
    if IN_A_THREAD in text:
        thread = threading.Thread(target=_raise, args=(text,))
        thread.start()
        thread.join()
    if AS_A_WARNING in text:
        warnings.warn(text, stacklevel=1)
    return _real(messages, *arguments)


def _raise(text: str) -> None:
    raise LookupError(text)


async def _raised(text: str) -> None:
    raise LookupError(text)


async def _models(http: Any, reply: Any, plane: Any) -> None:
    raise ValueError(f"{http.headers} {http.query}")


_real = pipeline.screen_in
pipeline.screen_in = _screened
openai.models = _models


if __name__ == "__main__":
    gateway.main()
