"""Where engines tell of themselves, in the documents: what can't be read is found by the check."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.frontdoor import clock
from support.gateway import replaced, write_workspace
from trimtab.controlplane.registry import load
from trimtab.core.errors import ConfigError
from trimtab.core.models import Model, Setting, with_settings
from trimtab.dataplane.inference import Origin
from trimtab.foundations.addresses import host_port
from trimtab.surfaces.replicas import replicas_of
from trimtab.surfaces.twin import run_virtual

HEAD = 'small: {endpoint: "SMALL/v1", tier: S, context: 8192, slots: 4,'


def problems(folder: Path, fields: str, private: bool = True) -> list[str]:
    """What is wrong with a model that has these fields."""
    found: list[str] = []

    async def main() -> None:
        edit = replaced("models.yaml", HEAD, f"{HEAD} {fields},")
        url = "http://127.0.0.1:1" if private else "https://example.com"
        public = replaced("models.yaml", 'upstream.key", private: true}\n  medium', 'upstream.key"}\n  medium')
        try:
            load(write_workspace(folder, url, "http://127.0.0.1:2", edit, *([] if private else [public])), clock())
        except ConfigError as error:
            found.extend(error.problems)

    run_virtual(main)
    return found


@pytest.mark.parametrize(
    "fields",
    [
        "dialect: vllm, metrics: /metrics",
        "dialect: sglang, metrics: /metrics?x=1",
        "dialect: llamacpp, metrics: /metrics",
        'dialect: vllm, kv_events: "tcp://127.0.0.1:5557"',
        'dialect: vllm, kv_events: ["tcp://[::1]:5557"], kv_replay: ["tcp://gpu-7:5558"]',
    ],
)
def test_what_can_be_read_may_be_declared(tmp_path: Path, fields: str) -> None:
    assert problems(tmp_path, fields) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("metrics: /metrics", "metrics: is read of llamacpp, sglang, vllm alone, and the dialect is openai"),
        ("dialect: vllm, metrics: metrics", "metrics"),
        ("dialect: vllm, metrics: 'http://elsewhere/metrics'", "metrics"),
        ("dialect: sglang, kv_events: 'tcp://gpu-7:5557'", "kv_events: is read of vllm alone"),
        ("dialect: vllm, kv_replay: 'tcp://gpu-7:5557'", "kv_replay: is asked for lost kv_events"),
        ("dialect: vllm, kv_events: ['tcp://a:1', 'tcp://b:1']", "kv_events: names 2 for 1 endpoints"),
        ("dialect: vllm, kv_events: 'tcp://*:5557'", "kv_events: is the address of one server"),
        ("dialect: vllm, kv_events: 'http://gpu-7:5557'", "kv_events: is tcp://HOST:PORT"),
        ("dialect: vllm, kv_events: 'tcp://169.254.169.254:80'", "kv_events: 169.254.169.254 is link-local"),
    ],
)
def test_what_can_not_be_read_is_refused(tmp_path: Path, fields: str, said: str) -> None:
    found = problems(tmp_path, fields)
    assert len(found) == 1
    assert said in found[0]


def test_a_private_publisher_needs_a_private_model(tmp_path: Path) -> None:
    fields = "dialect: vllm, kv_events: 'tcp://10.0.0.7:5557'"
    assert problems(tmp_path / "private", fields) == []
    (found,) = problems(tmp_path / "public", fields, private=False)
    assert "kv_events: 10.0.0.7 is on a private network" in found


@pytest.mark.parametrize(
    "address",
    ["tcp://a", "tcp://:1", "tcp://a:b", "tcp://u@a:1", "tcp://a:1/x", "tcp://a:99999", "a:1", "tcp://a:1?b", ""],
)
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    assert host_port("tcp://[::1]:5557") == ("::1", 5557)
    with pytest.raises(ValueError, match=r"."):
        host_port(address)


def test_each_endpoint_has_its_own_publisher(tmp_path: Path) -> None:
    """In the order in which they are declared; with several keys each replica has its endpoint's."""
    (tmp_path / "one").write_text("a-key")
    (tmp_path / "two").write_text("b-key")
    model = Model(
        endpoint=["http://a/v1", "http://b/v1"],
        tier="S",
        dialect="vllm",
        private=True,
        api_key=["file:one", "file:two"],
        kv_events=["tcp://a:1", "tcp://b:2"],
        kv_replay=["tcp://a:3", "tcp://b:4"],
    )
    found = replicas_of({"m": model}, {}, tmp_path)["m"]
    a, b = (
        (Origin("tcp", "a", 1, True), Origin("tcp", "a", 3, True)),
        (Origin("tcp", "b", 2, True), Origin("tcp", "b", 4, True)),
    )
    assert [(one.kv_events, one.kv_replay) for one in found] == [a, a, b, b]
    assert [one.metrics for one in found] == [None] * 4


def test_a_settings_engines_are_read_at_the_same_path(tmp_path: Path) -> None:
    """What the model's own endpoints publish is not theirs."""
    model = Model(
        endpoint="http://a/v1",
        tier="S",
        dialect="vllm",
        private=True,
        metrics="/metrics",
        kv_events="tcp://a:1",
        kv_replay="tcp://a:2",
        settings={"ngram": Setting(endpoint=["http://b/v1", "http://c/v1"])},
    )
    found = replicas_of(with_settings({"m": model}), {}, tmp_path)
    own, *others = [*found["m"], *found["m+ngram"]]
    assert own.kv_events is not None
    assert [(one.id, one.metrics, one.kv_events, one.kv_replay) for one in others] == [
        ("m+ngram/0", "/metrics", None, None),
        ("m+ngram/1", "/metrics", None, None),
    ]
