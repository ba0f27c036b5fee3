"""What the doctor says of a shared store: whether it answers, and whether counters are safe in it."""

from __future__ import annotations

from pathlib import Path

from support.valkey import ValkeyServer
from trimtab.controlplane.registry import Storage
from trimtab.core.clock import SystemClock
from trimtab.surfaces.doctor.finding import Finding
from trimtab.surfaces.doctor.store import store


def looked(url: str, folder: Path) -> Finding:
    (found,) = store(Storage(url=url), folder, SystemClock())
    return found


def test_a_store_that_syncs_its_file_is_well(tmp_path: Path) -> None:
    """Version, durability and eviction are told."""
    with ValkeyServer(tmp_path, durable=True) as server:
        found = looked(server.url, tmp_path)
    assert found.state == "ok"
    assert "in its append-only file, synced at each step; maxmemory-policy noeviction" in found.said


def test_a_store_that_forgets_at_a_restart_is_a_warning(tmp_path: Path) -> None:
    """Without a file every budget would be whole again; with one that is synced now and then a crash takes its end."""
    with ValkeyServer(tmp_path) as server:
        found = looked(server.url, tmp_path)
        server.ask("CONFIG", "SET", "appendonly", "yes")
        server.ask("CONFIG", "SET", "appendfsync", "no")
        lazy = looked(server.url, tmp_path)
    assert (found.state, lazy.state) == ("warning", "warning")
    assert "in memory only" in found.said
    assert "half minute" in str(lazy.cause)


def test_a_store_that_drops_keys_when_memory_is_short_is_not_well(tmp_path: Path) -> None:
    """Even with all on its disk: a counter that is dropped while it runs makes its budget whole."""
    with ValkeyServer(tmp_path, "--maxmemory-policy", "allkeys-lru", durable=True) as server:
        found = looked(server.url, tmp_path)
    assert found.state == "error"
    assert "Set it to noeviction" in found.said


def test_a_store_that_does_not_answer_is_not_well(tmp_path: Path) -> None:
    """Whoever has limits is refused until it does."""
    found = looked(f"unix://{tmp_path}/none.sock", tmp_path)
    assert found.state == "error"
    assert "does not answer" in found.said
    assert "503 store_lost" in str(found.cause)


def test_a_password_is_read_by_reference(tmp_path: Path) -> None:
    """With the right one it answers, with another one it does not, and neither is told."""
    with ValkeyServer(tmp_path, "--requirepass", "open-sesame-1") as server:
        (tmp_path / "right").write_text("open-sesame-1\n")
        (tmp_path / "wrong").write_text("open-barley-22\n")
        found = {
            name: next(iter(store(Storage(url=server.url, password=f"file:{name}"), tmp_path, SystemClock())))
            for name in ("right", "wrong")
        }
    assert [found["right"].state, found["wrong"].state] == ["warning", "error"]
    assert "barley" not in found["wrong"].said
