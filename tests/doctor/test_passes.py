"""From when tokens came to what passes took: on an engine whose passes are known."""

from __future__ import annotations

from itertools import islice

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmodel.pods import GPU, pods
from trimtab.core.clock import NS_PER_MS
from trimtab.foundations.podmodel import Pod
from trimtab.surfaces.doctor.engines import ALWAYS, ANSWER_TOKENS, Step, decodes, schedule
from trimtab.surfaces.doctor.fitted import fitted, learned, words
from trimtab.surfaces.doctor.passes import SPAN, Answered, Seen, passes


class Engine:
    """Works as llama.cpp does: each pass takes in whole prompts that have come, and gives all others a token."""

    def __init__(self, pod: Pod, jitter_ns: int = 0) -> None:
        self.pod, self.now_ns, self.jitter_ns = pod, 10**12, jitter_ns

    def serve(self, *asked: tuple[int, int, int], late: int = 0) -> list[Answered]:
        """Prompt, cached and answer tokens of each, sent at once. `late`: one more prompt, just before
        three tokens have come."""
        start_ns = self.now_ns
        answers = [
            Answered(sent_ns=start_ns, prompt=prompt, cached=cached, read_ms=1.0, came_ns=[])
            for prompt, cached, _ in asked
        ]
        wanted = [tokens for _, _, tokens in asked]
        while any(len(one.came_ns) < most for one, most in zip(answers, wanted, strict=True)):
            if late and len(answers[0].came_ns) == 3:
                sent_ns = self.now_ns - 3 * NS_PER_MS  # in the pass before, whose end it waits for
                answers.append(Answered(sent_ns=sent_ns, prompt=late, cached=0, read_ms=1.0, came_ns=[]))
                wanted.append(1)
                late = 0
            due = [one for one, most in zip(answers, wanted, strict=True) if len(one.came_ns) < most]
            new, old = [one for one in due if not one.came_ns], [one for one in due if one.came_ns]
            prompt = sum(one.prompt for one in new)
            attended = sum(one.prompt * (one.cached + one.prompt / 2) for one in new) / prompt if prompt else 0.0
            held = sum(one.cached + one.prompt + len(one.came_ns) for one in old)
            self.now_ns += int(self.pod.pass_ms(len(old), held, prompt, attended) * NS_PER_MS)
            for at, one in enumerate(due):
                one.came_ns.append(self.now_ns + at * self.jitter_ns)
        return answers

    def take(self, step: Step) -> list[list[Answered]]:
        if step.again:
            return [
                self.serve((step.words, 0, ANSWER_TOKENS)),
                self.serve((1, step.words - 1, ANSWER_TOKENS)),
                self.serve((30, step.words, ANSWER_TOKENS)),
            ]
        return [self.serve(*[(step.words, 0, ANSWER_TOKENS + 3)] * step.streams, late=step.late)]


def seen_of(pod: Pod, slots: int = 4, steps: int = 13) -> list[Seen]:
    engine, found = Engine(pod), list[Seen]()
    for step in islice(schedule(slots, 2048), steps):
        for answers in engine.take(step):
            found += passes(answers, held_out=step.held_out)
    return found


@settings(max_examples=40, deadline=None)
@given(pods(), st.integers(1, 6), st.integers(4, 700), st.integers(0, 300), st.integers(0, 2))
def test_each_pass_is_told_as_it_was(pod: Pod, streams: int, prompt: int, late: int, cached: int) -> None:
    """Those that take prompts in, alone and beside answers, and spans of those that don't."""
    seen = passes(Engine(pod).serve(*[(prompt, 100 * cached, 20)] * streams, late=late))
    assert sum(one.is_first_token for one in seen) == 1 + (late > 0)
    assert sum(not one.is_first_token for one in seen) >= 16 // SPAN
    for one in seen:
        assert one.error(pod) < 0.001
        assert one.is_first_token or one.sample.running == streams
    assert seen[0].sample.prompt == streams * prompt
    assert seen[0].sample.attended == pytest.approx(100 * cached + prompt / 2)
    if late:
        assert (seen[1].sample.prompt, seen[1].sample.running) == (late, streams)


@settings(max_examples=40, deadline=None)
@given(pods(), st.integers(2, 6), st.integers(4, 700), st.integers(1, 300))
def test_tokens_of_a_pass_need_not_come_at_once(pod: Pod, streams: int, prompt: int, late: int) -> None:
    """Those of seven answers come one after the other, the last one more than a third of a pass behind the first: the
    same passes are told, as long but for that."""
    late_ns = int(pod.decode_ms(1, 0) * NS_PER_MS / 18)
    asked = [(prompt, 0, 20)] * streams
    even = passes(Engine(pod).serve(*asked, late=late))
    uneven = passes(Engine(pod, late_ns).serve(*asked, late=late))
    assert [one.sample.prompt for one in uneven] == [one.sample.prompt for one in even]
    assert [one.sample.running for one in uneven] == [one.sample.running for one in even]
    for one, other in zip(uneven, even, strict=True):
        assert one.sample.ms == pytest.approx(other.sample.ms, abs=(streams + 1) * late_ns / NS_PER_MS)


@settings(max_examples=25, deadline=None)
@given(pods(serial=1.0), st.sampled_from([1, 2, 4, 8]))
def test_one_round_of_the_schedule_is_enough_to_tell_the_rest(pod: Pod, slots: int) -> None:
    """Of an engine without noise, what was held out is told to 5 % in the middle; a gateway can go on with it."""
    seen = seen_of(pod, slots)
    found = fitted(seen)
    assert [error.figure for error in found.held_out] == ["first token", "time between tokens"]
    for error in found.held_out:
        assert error.points == sum(one.held_out and one.is_first_token == (error.figure[0] == "f") for one in seen) > 3
        assert error.median <= error.p90
        assert error.median < 0.05
    assert found.enough
    assert found.passes == sum(not one.held_out for one in seen)
    assert found.pod == learned(seen).pod


def test_errors_are_those_of_what_was_held_out() -> None:
    """Held-out passes that took twice as long as the model says are told with half of what they took; what is fitted
    does not notice."""
    seen = seen_of(GPU)
    twice = [
        msgspec.structs.replace(one, sample=msgspec.structs.replace(one.sample, ms=2 * one.sample.ms))
        if one.held_out
        else one
        for one in seen
    ]
    assert fitted(twice).pod == fitted(seen).pod
    for error in fitted(twice).held_out:
        assert error.median == pytest.approx(0.5, abs=0.03)
    assert fitted([one for one in seen if not one.held_out]).held_out == []


@given(st.integers(1, 16), st.sampled_from([256, 2048, 8192]))
def test_the_schedule_fits_the_engine_and_holds_out_what_no_other_step_has(slots: int, context: int) -> None:
    """No more at once than it has slots, no prompt beyond a third of the context; held-out lengths are nobody else's
    (where the context is not too short for that); what is taken whatever the time has one answer and all at once."""
    steps = list(islice(schedule(slots, context), 40))
    for step in steps:
        assert step.streams + (step.late > 0) <= slots
        assert 0 < step.words <= context // 3
    first = [(step.streams, step.words, step.late) for step in steps[:9]]
    if context > 1000:
        assert len(set(first)) == len(first)
    assert {1, slots} <= {step.streams for step in steps[:ALWAYS]}
    assert any(step.held_out for step in steps[:6])
    assert sum(step.held_out for step in steps) < len(steps) / 2


def test_paces_are_by_the_number_of_answers_at_once() -> None:
    """Four answers on an engine that takes 25 ms a pass for four: 40 tokens a second each, 160 together."""
    pod = Pod(base_ms=21, sequence_ms=1, held_ms=0, prefill_ms=9, prompt_ms=1, attend_ms=0)
    engine = Engine(pod)
    found = decodes([*passes(engine.serve((9, 0, 17))), *passes(engine.serve(*[(9, 0, 17)] * 4))])
    assert [one.streams for one in found] == [1, 4]
    assert found[0].tokens_per_s == pytest.approx(1000 / 22)
    assert (found[1].tokens_per_s, found[1].total_tokens_per_s) == pytest.approx((40, 160))


def test_coefficients_in_words() -> None:
    """With their units, without those that are nothing."""
    pod = Pod(base_ms=9.14, sequence_ms=0, held_ms=0.0184, prefill_ms=5.6, prompt_ms=7.8, attend_ms=0, serial=0.5)
    assert words(pod) == [
        "a token for all answers under way takes 9.1 ms + 18 ms for each 1,000 tokens that they hold",
        "a prompt takes 5.6 ms + 780 ms for each 100 tokens",
        "where both come together, the longer and 50% of the shorter",
    ]
