"""What engines write at /metrics, by their own library (prometheus-client, which vLLM and SGLang write with too)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Series = Sequence[tuple[Mapping[str, str], float]]


def exposition(gauges: Mapping[str, Series] = {}, counters: Mapping[str, Series] = {}) -> bytes:
    """These metrics, counters by their names without `_total`, among others that nobody asks for."""
    registry = CollectorRegistry()
    seconds = Histogram("vllm:time_to_first_token_seconds", "From arrival on.", ["model_name"], registry=registry)
    seconds.labels(model_name="a/b").observe(0.2)
    for name, series in gauges.items():
        gauge = Gauge(name, "A gauge: {it} \\ says.", list(series[0][0]), registry=registry)
        for labels, value in series:
            (gauge.labels(**labels) if labels else gauge).set(value)
    for name, series in counters.items():
        counter = Counter(name, "A counter.", list(series[0][0]), registry=registry)
        for labels, value in series:
            (counter.labels(**labels) if labels else counter).inc(value)
    return generate_latest(registry)


def vllm(running: Sequence[float], waiting: Sequence[float], kv_used: Sequence[float]) -> bytes:
    """One of each for each engine core."""
    told = {"num_requests_running": running, "num_requests_waiting": waiting, "kv_cache_usage_perc": kv_used}
    cores = [{"model_name": 'a/"b"}', "engine": str(core)} for core in range(len(running))]
    return exposition({f"vllm:{name}": list(zip(cores, each, strict=True)) for name, each in told.items()})


def sglang(running: Sequence[float], waiting: Sequence[float], used: Sequence[float]) -> bytes:
    """One of each for each rank."""
    told = {"num_running_reqs": running, "num_queue_reqs": waiting, "token_usage": used}
    ranks = [{"model_name": "a/b", "tp_rank": "0", "dp_rank": str(rank)} for rank in range(len(running))]
    return exposition({f"sglang:{name}": list(zip(ranks, each, strict=True)) for name, each in told.items()})
