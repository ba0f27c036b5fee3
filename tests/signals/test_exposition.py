"""What engines tell at /metrics, as one value."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from support.engines import exposition, sglang, vllm
from trimtab.controlplane.registry.checks import models
from trimtab.dataplane.inference import TELLING, Signals, signals_of
from trimtab.dataplane.inference.signals import MOST_BYTES, Board

NONE: dict[str, str] = {}
CORE = [{"model_name": "m", "engine": "0"}, {"model_name": "m", "engine": "1"}]
LLAMACPP = b"""\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 1200
llamacpp:prompt_tokens_cached_total 800
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 3
llamacpp:requests_deferred 2
llamacpp:n_busy_slots_per_decode 1.5
llamacpp:spec_decode_num_drafts_total 40
llamacpp:spec_decode_num_draft_tokens_total 120
llamacpp:spec_decode_num_accepted_tokens_total 60
"""

TABLE = {
    "vllm, all engine cores together, of the fullest the memory": (
        "vllm",
        vllm([3, 4], [1, 0], [0.25, 0.5]),
        Signals(running=7, waiting=1, kv_used=0.5),
    ),
    "vllm, with counters": (
        "vllm",
        vllm([1], [0], [0])
        + exposition(
            counters={
                "vllm:prefix_cache_queries": [(CORE[0], 1000), (CORE[1], 500)],
                "vllm:prefix_cache_hits": [(CORE[0], 250), (CORE[1], 150)],
                "vllm:spec_decode_num_drafts": [(CORE[0], 10)],
                "vllm:spec_decode_num_draft_tokens": [(CORE[0], 30)],
                "vllm:spec_decode_num_accepted_tokens": [(CORE[0], 20)],
                "vllm:spec_decode_num_accepted_tokens_per_pos": [({"position": "0"}, 20)],
            }
        ),
        Signals(
            running=1,
            waiting=0,
            kv_used=0,
            drafts=10,
            draft_tokens=30,
            accepted_tokens=20,
            prefix_queries=1500,
            prefix_hits=400,
        ),
    ),
    "vllm, by its old names": (
        "vllm",
        b"vllm:num_requests_running 1\nvllm:num_requests_waiting 2\nvllm:gpu_cache_usage_perc 0.75\n"
        b"vllm:gpu_prefix_cache_hits_total 4\nvllm:gpu_prefix_cache_queries_total 8\n",
        Signals(running=1, waiting=2, kv_used=0.75, prefix_hits=4, prefix_queries=8),
    ),
    "vllm, by both: the new one": (
        "vllm",
        b"vllm:gpu_cache_usage_perc 0.1\nvllm:kv_cache_usage_perc 0.2\n"
        b"vllm:num_requests_running 1\nvllm:num_requests_waiting 2\n",
        Signals(running=1, waiting=2, kv_used=0.2),
    ),
    "sglang, all ranks together, of the fullest the memory": (
        "sglang",
        sglang([2, 3], [0, 5], [0.3, 0.9]),
        Signals(running=5, waiting=5, kv_used=0.9),
    ),
    "sglang, with the rest": (
        "sglang",
        sglang([1], [0], [0])
        + exposition(
            {"sglang:spec_accept_length": [({"dp_rank": "0"}, 2.5), ({"dp_rank": "1"}, 3.5)]},
            {
                "sglang:cached_tokens": [({"cache_source": "device"}, 70), ({"cache_source": "host"}, 10)],
                "sglang:prompt_tokens": [(NONE, 100)],
            },
        ),
        Signals(running=1, waiting=0, kv_used=0, accept_length=3.0, prefix_hits=80, prefix_queries=100),
    ),
    "sglang, with classes of priority beside their sum": (
        "sglang",
        b'sglang:num_running_reqs{model_name="m",priority=""} 5\n'
        b'sglang:num_running_reqs{model_name="m",priority="1"} 2\n'
        b'sglang:num_running_reqs{priority="0"} 3\nsglang:num_queue_reqs{model_name="m",priority=""} 1\n',
        Signals(running=5, waiting=1),
    ),
    "llama.cpp, whose prompts leave out what was held": (
        "llamacpp",
        LLAMACPP,
        Signals(
            running=3,
            waiting=2,
            drafts=40,
            draft_tokens=120,
            accepted_tokens=60,
            prefix_hits=800,
            prefix_queries=2000,
        ),
    ),
    "with times behind the values": (
        "vllm",
        b'vllm:num_requests_running{a="} 9"} 2 1395066363000\r\nvllm:num_requests_waiting\t1\n',
        Signals(running=2, waiting=1),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_an_engines_text_is_read(name: str) -> None:
    dialect, text, told = TABLE[name]
    assert signals_of(dialect, text) == told


WHOLE = b"vllm:num_requests_running 1\nvllm:num_requests_waiting 2\n"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>Not here.</html>",
        b"vllm:num_requests_running 1\n",
        WHOLE.replace(b" 1", b" one"),
        WHOLE.replace(b" 1", b" 1_0"),
        WHOLE.replace(b" 1", b" -1"),
        WHOLE.replace(b" 1", b" NaN"),
        WHOLE.replace(b" 1", b" +Inf"),
        WHOLE.replace(b" 1", b" 1e300"),
        WHOLE.replace(b" 1", b" 1 2 3"),
        WHOLE.replace(b" 1", b'{engine="0" 1'),
        WHOLE.replace(b" 1", b""),
        WHOLE + b"vllm:kv_cache_usage_perc 37\n",
        WHOLE + b"vllm:prefix_cache_hits_total{} \n",
        WHOLE.replace(b"vllm", b"sglang"),
        WHOLE.replace(b"vllm", b" vllm"),
        WHOLE + b"\n" * MOST_BYTES,
        WHOLE.decode().encode("utf-16"),
    ],
)
def test_what_is_no_engines_text_tells_nothing(text: bytes) -> None:
    """Half of it is not taken for the whole, and no other number for a share."""
    assert signals_of("vllm", WHOLE) == Signals(running=1, waiting=2)
    assert signals_of("vllm", text) is None


LINES = st.lists(
    st.tuples(
        st.sampled_from(
            [b"vllm:num_requests_running", b"vllm:num_requests_waiting", b"vllm:kv_cache_usage_perc", b"#"]
        ),
        st.one_of(st.binary(max_size=30), st.sampled_from([b" 1", b'{a="b"} 0.5', b"{} 3", b"{{}}}}", b'{"'])),
    ).map(b"".join),
    max_size=6,
).map(b"\n".join)


@given(st.sampled_from([*sorted(TELLING), "openai", ""]), st.one_of(LINES, st.binary(max_size=200)))
@example("vllm", WHOLE + b"vllm:kv_cache_usage_perc 1e999")
def test_no_text_raises(dialect: str, text: bytes) -> None:
    """And what is told is what it says it is."""
    told = signals_of(dialect, text)
    if told is not None:
        assert min(told.running, told.waiting) >= 0
        assert told.kv_used is None or 0 <= told.kv_used <= 1


COUNTS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 1)), min_size=1, max_size=4)
LABELS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=10)


@given(COUNTS, LABELS)
def test_it_is_read_as_the_formats_own_parser_reads_it(told: list[tuple[int, int, float]], model: str) -> None:
    """Whatever labels there are."""
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
    labels = [{"engine": str(core), "model_name": model} for core in range(len(told))]
    columns = list(zip(*told, strict=True))
    text = exposition({name: list(zip(labels, each, strict=True)) for name, each in zip(names, columns, strict=True)})
    series = {
        family.name: [one.value for one in family.samples] for family in text_string_to_metric_families(text.decode())
    }
    ours = signals_of("vllm", text)
    assert ours is not None
    assert (ours.running, ours.waiting) == (sum(series[names[0]]), sum(series[names[1]]))
    assert ours.kv_used == max(series[names[2]])


def test_old_signals_count_as_none() -> None:
    """After three periods; when they came is still told."""
    board, told = Board(), Signals(running=1, waiting=0)
    board.put("m/0", told, 1_000, period_s=5)
    assert board.fresh("m/0", 1_000 + 15 * 10**9 - 1) == told
    assert board.fresh("m/0", 1_000 + 15 * 10**9) is None
    last = board.last("m/0")
    assert last is not None
    assert last.at_ns == 1_000
    board.keep({"m/1"})
    assert board.last("m/0") is None


def test_documents_may_name_metrics_of_the_dialects_that_are_read() -> None:
    """The check has its own list, since the readers would double the start of `trimtab check`."""
    assert models.TELLING == TELLING
