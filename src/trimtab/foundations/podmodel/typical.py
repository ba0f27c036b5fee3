"""What pods have in common: in what proportion the parts of a pass stand to each other before one has been measured.

From the first few passes of a pod, all with few sequences, nobody can tell what many will take. Pods resemble each
other in that: mostly their pace differs.
"""

from __future__ import annotations

from typing import Final

from trimtab.foundations.podmodel.pod import Pod

TYPICAL: Final = Pod(
    base_ms=0.577,
    spread_ms=0.0903,
    sequence_ms=4.74e-4,
    held_ms=1.68e-6,
    prefill_ms=0.662,
    prompt_ms=1.37e-4,
    attend_ms=3.21e-8,
    serial=0.305,
)
"""The mean of 29 combinations of model, GPU and engine, each scaled to 1 ms for a pass over 16 sequences of 2,000
tokens and for a prompt of 2,000. `python -m benchmarks.podmodel --shape` makes it, from timings published with NVIDIA's
aiconfigurator (Apache-2.0). Without it the first 4 points of a pod foretold the others' time between tokens with 23 %
error in place of 11 (medians; the shape without the pod's own pair of model and GPU)."""
