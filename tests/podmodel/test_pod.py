"""What one pass takes: never less for more work, and a prompt in pieces takes what its passes take."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmodel.pods import loads, pods
from trimtab.foundations.podmodel import Pod


@given(pods(), loads(), st.sampled_from(["running", "held", "prompt", "attended"]), st.floats(0, 1e4))
def test_more_work_never_takes_less(pod: Pod, load: dict[str, float], what: str, more: float) -> None:
    """A pass with more sequences, more held, more prompt or more attended takes at least as long."""
    grown = load | {what: load[what] + more}
    assert pod.pass_ms(**grown) >= pod.pass_ms(**load) * (1 - 1e-12)


@given(pods(), loads())
def test_a_pass_lies_between_its_longer_half_and_both(pod: Pod, load: dict[str, float]) -> None:
    """Overlap hides at most the shorter half: a GPU's roofline at serial 0, one after the other at serial 1."""
    decode = pod.decode_ms(load["running"], load["held"])
    prefill = pod.prompt_pass_ms(load["prompt"], load["attended"])
    took = pod.pass_ms(**load)
    assert max(decode, prefill) <= took <= (decode + prefill) * (1 + 1e-12)
    assert msgspec.structs.replace(pod, serial=0.0).pass_ms(**load) == max(decode, prefill)
    both = msgspec.structs.replace(pod, serial=1.0).pass_ms(**load)
    assert both == pytest.approx(decode + prefill)
    assert pod.added_ms(**load) == pytest.approx(took - decode, abs=1e-9 * took)


@given(pods(), loads(), st.integers(1, 3000), st.integers(0, 4000), st.integers(16, 700))
def test_a_prompt_in_pieces_takes_what_its_passes_take(
    pod: Pod, load: dict[str, float], prompt: int, cached: int, chunk: int
) -> None:
    """The closed form is the sum over the passes, also where the sequences take longer in the first of them only."""
    pod = msgspec.structs.replace(pod, chunk=chunk)
    running, held = load["running"], load["held"]
    total, done = 0.0, 0
    while done < prompt:
        size = min(chunk, prompt - done)
        total += pod.pass_ms(running, held, size, cached + done + size / 2)
        done += size
    assert pod.intake_ms(prompt, cached, running, held) == pytest.approx(total)


def test_a_prompt_whose_passes_change_sides_is_summed_on_each() -> None:
    """Beside sequences that take 4 ms, the four pieces of this prompt would take 2, 3.5, 5 and 6.5 ms."""
    pod = Pod(base_ms=4, sequence_ms=0, held_ms=0, prefill_ms=1, prompt_ms=0.0025, attend_ms=0.00015, chunk=100)
    assert pod.intake_ms(400, 0, running=1, held=10) == pytest.approx(4 + 4 + 5 + 6.5)
    assert pod.intake_ms(0, 50, running=1, held=10) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_ms": -1.0}, "at least 0"),
        ({"attend_ms": math.nan}, "at least 0"),
        ({"prompt_ms": math.inf}, "at least 0"),
        ({"serial": 1.1}, "serial"),
        ({"chunk": 0}, "chunk"),
    ],
)
def test_coefficients_that_cannot_be_are_refused(wrong: dict[str, float], message: str) -> None:
    """No pod gives time back."""
    right = dict.fromkeys(("base_ms", "sequence_ms", "held_ms", "prefill_ms", "prompt_ms", "attend_ms"), 1.0)
    with pytest.raises(ValueError, match=message):
        Pod(**(right | wrong))  # type: ignore[arg-type]
