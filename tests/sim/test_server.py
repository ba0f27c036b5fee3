"""The simulation's server is a real one, as far as the scripts can tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random

import hiredis
import pytest

from sim.valkey import SimValkey, _encoded
from support.valkey import ValkeyServer
from trimtab.dataplane.spend.adapters.valkey import _source

PREFIX = "tt:{shop}:"
BOOKS = [f"{PREFIX}book:{name}|day|UTC|2027-01-15" for name in ("shop", "shop/web", "key_1")]
RATES = [f"{PREFIX}rate:{name}" for name in ("tenant shop requests", "key k tokens")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as made:
        yield made


def drawn(random: Random, now: int, number: int) -> tuple[str, list[str], list[str]]:
    """A script with keys and arguments such as the gateways send, late, repeated and unknown ones too."""
    lease = f"rec.{random.randrange(number + 1)}"
    until = now + random.choice((-5, 1, 40)) * 1_000_000
    name = random.choice(
        ("charge", "reserve", "reserve", "reserve", "extend", "extend", "settle", "settle", "levels", "lost")
    )
    books = random.sample(BOOKS, random.randint(1, 3))
    match name:
        case "charge":
            numbers = [random.choice((-9_000_000, 0, 7_000_000, 90_000_000)) for _ in RATES]
            rest = [now, random.randint(0, 1), *(one for cost in numbers for one in (cost, 200_000_000))]
            return name, RATES, [str(one) for one in rest]
        case "reserve":
            old = random.choice(("", "", f"rec.{random.randrange(number + 1)}"))
            rest = [f"rec.{number}", now, until, random.randint(1, 400), random.randint(0, 100), old]
            for _ in books:
                rest += [random.randint(500, 900), random.choice((-1, -1, 0, 120)), 86_400_000]
            return name, books, [str(one) for one in rest]
        case "extend":
            return name, books, [lease, str(now), str(until), "60", *(str(random.randint(500, 900)) for _ in books)]
        case "settle":
            return name, [], [lease, str(random.choice((0, 70, 2**53 - 1)) if number % 17 else 3)]
        case "levels":
            return name, books, [str(now)]
    return name, [], [str(now)]


@pytest.mark.parametrize("seed", range(4))
def test_scripts_do_the_same_on_a_real_server(server: ValkeyServer, seed: int) -> None:
    """Any order of steps is answered alike, byte by byte, and leaves the same in every key."""
    random = Random(seed)
    server.ask("FLUSHALL")
    sim = SimValkey(lambda: time.time_ns() // 1000, lambda *step: None)
    now = time.time_ns() // 1000
    for number in range(250):
        now += random.choice((0, 1, 2_000_000))
        name, keys, arguments = drawn(random, now, number)
        text = _source("common") + _source(name)
        real = server.ask("EVAL", text, str(len(keys)), *keys, PREFIX, *arguments)
        assert _encoded(sim.script(text, keys, [PREFIX, *arguments])) == real, (number, name, keys, arguments)
    kept = {**sim.data.strings, **sim.data.hashes, **sim.data.sets, **sim.data.lists}
    assert sorted(said(server, "KEYS", "*")) == sorted(kept)
    for key, found in sim.data.hashes.items():
        told = said(server, "HGETALL", key)
        assert dict(zip(told[::2], told[1::2], strict=True)) == found
    for key, rows in sim.data.sets.items():
        assert said(server, "ZRANGE", key, "0", "-1") == [member for _, member in rows]
    for key, value in sim.data.strings.items():
        assert said(server, "GET", key) == value
    for key, values in sim.data.lists.items():
        assert said(server, "LRANGE", key, "0", "-1") == values


def said(server: ValkeyServer, *words: str) -> list[str]:
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(server.ask(*words))
    found: list[str] = reader.gets()
    return found
