"""Prometheus' text format, version 0.0.4, and OpenMetrics 1.0: families in, text out. Each function gives whole lines.

By hand, and not by prometheus-client: its writer takes 80 ms for 12,000 lines in one piece, in which no request of the
gateway moves. These pieces are small, so that who writes them can let others run between them. The tests read the text
with prometheus-client's own parser.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, Literal

import msgspec

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text"
OPENMETRICS_TYPE: Final = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"


class Label(msgspec.Struct, frozen=True):
    """A label and, in words, the values that it can have: always a closed list or what the workspace declares."""

    name: str
    values: str


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. `bounds`: upper ends of a histogram's buckets, ascending, in the metric's unit, without +Inf."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    labels: tuple[Label, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def head(self) -> str:
        text = self.help.replace("\\", "\\\\").replace("\n", "\\n")
        return f"# HELP {self.name} {text}\n# TYPE {self.name} {self.kind}\n"


def sample(family: Family, values: Sequence[str], number: float | str) -> str:
    """One line of a counter or gauge; `values` in the order of the family's labels."""
    labels = _labels(family.labels, tuple(values))
    return f"{family.name}{{{labels}}} {number}\n" if labels else f"{family.name} {number}\n"


class Exemplar(msgspec.Struct, frozen=True):
    """One observation of a bucket, and the trace that shows more of it. `value` in the metric's unit."""

    trace_id: str
    value: float
    at_s: float
    """Seconds since 1970."""

    def __str__(self) -> str:
        return f' # {{trace_id="{self.trace_id}"}} {self.value} {self.at_s:.3f}'


def histogram(
    family: Family,
    values: Sequence[str],
    counts: Sequence[int],
    total: float,
    exemplars: Mapping[int, Exemplar] | None = None,
) -> str:
    """All lines of one histogram: a count for each bucket (+Inf last), made cumulative here, and the sum. `exemplars`
    by the number of their bucket: only OpenMetrics has them."""
    labels = _labels(family.labels, tuple(values))
    comma = "," if labels else ""
    seen = list(accumulate(counts))
    shown = exemplars or {}
    lines = [
        f'{family.name}_bucket{{{labels}{comma}le="{bound}"}} {count}{shown.get(number, "")}\n'
        for number, (bound, count) in enumerate(zip((*family.bounds, "+Inf"), seen, strict=True))
    ]
    braced = f"{{{labels}}}" if labels else ""
    return "".join(lines) + f"{family.name}_sum{braced} {total}\n{family.name}_count{braced} {seen[-1]}\n"


def merged(texts: Mapping[int, bytes], own: int, shared: Collection[str]) -> Iterator[str]:
    """One exposition of those of several workers: each sample with the label `worker`, but for families that are
    `shared`, which are `own`'s alone."""
    blocks = {worker: _blocks(text.decode()) for worker, text in sorted(texts.items())}
    for name in dict.fromkeys(name for found in blocks.values() for name in found):
        whose = [own] if name in shared else list(blocks)
        head = next(found[name][0] for found in blocks.values() if name in found)
        yield head
        for worker in whose:
            for line in blocks[worker].get(name, ("", []))[1]:
                yield line if name in shared else _labelled(line, worker)


def openmetrics(text: str) -> Iterator[str]:
    """The same as OpenMetrics 1.0 has it, a family a piece: a counter is called without `_total` in its head, quotes in
    a help text are escaped, and there is an end."""
    for block in text.split("# HELP ")[1:]:
        told, kind, samples = block.split("\n", 2)
        name, _, words = told.partition(" ")
        if kind.endswith(" counter"):
            name = name.removesuffix("_total")
        help_text = words.replace('"', '\\"')
        yield f"# HELP {name} {help_text}\n# TYPE {name} {kind.rpartition(' ')[2]}\n{samples}"
    yield "# EOF\n"


def _blocks(text: str) -> dict[str, tuple[str, list[str]]]:
    """By family: what stands above its samples, and these."""
    found: dict[str, tuple[str, list[str]]] = {}
    for block in text.split("# HELP ")[1:]:
        what, kind, *samples = block.splitlines(keepends=True)
        found[what.partition(" ")[0]] = (f"# HELP {what}{kind}", samples)
    return found


def _labelled(line: str, worker: int) -> str:
    name, _, rest = line.partition(" ")
    if '{worker="' in name:
        return line
    brace = name.find("{")
    if brace < 0:
        return f'{name}{{worker="{worker}"}} {rest}'
    return f'{line[:brace]}{{worker="{worker}",{line[brace + 1 :]}'


@lru_cache(maxsize=32768)
def _labels(labels: tuple[Label, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{label.name}="{_escaped(value)}"' for label, value in zip(labels, values, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


__all__ = [
    "CONTENT_TYPE",
    "OPENMETRICS",
    "OPENMETRICS_TYPE",
    "Exemplar",
    "Family",
    "Label",
    "histogram",
    "merged",
    "openmetrics",
    "sample",
]
