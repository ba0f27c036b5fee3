"""The real embedded engine under the supervisor."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
import pytest

from support.serving import all_pids, eventually, gone, parent_of, serving, start
from trimtab.dataplane.inference import signals_of

pytestmark = pytest.mark.engine


def post(url: str, key: str, path: str, body: object) -> bytes:
    """One POST with a key."""
    request = urllib.request.Request(
        url + path, msgspec.json.encode(body), {"content-type": "application/json", "authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        data: bytes = answer.read()
        return data


def test_the_engine_serves_with_its_key_only_and_comes_back_when_killed(tmp_path: Path) -> None:
    """A real model answers to the key that the gateway was told and to no other; killed, it is loaded again."""
    with serving(tmp_path, "small=bundled", "--real-engines") as server:
        small = server.settled().engine("small")
        assert small.url is not None
        assert small.api_key is not None
        assert small.pid is not None
        asked = {"messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 3}
        answer = msgspec.json.decode(post(small.url, small.api_key, "/v1/chat/completions", asked))
        assert answer["model"] == "small"
        assert answer["usage"]["completion_tokens"] == 3
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            post(small.url, "another", "/v1/chat/completions", asked)
        refused.value.close()
        metrics = urllib.request.Request(small.url + "/metrics", headers={"authorization": f"Bearer {small.api_key}"})
        with urllib.request.urlopen(metrics, timeout=20) as told:
            signals = signals_of("llamacpp", told.read())
        assert signals is not None, "it tells of itself what the gateway reads"
        assert (signals.running, signals.waiting, signals.kv_used) == (0, 0, None)
        assert signals.prefix_queries is not None
        assert signals.prefix_queries >= answer["usage"]["prompt_tokens"]
        assert small.api_key.encode() not in Path(f"/proc/{small.pid}/cmdline").read_bytes()
        assert small.api_key.encode() not in Path(f"/proc/{small.pid}/environ").read_bytes()
        os.kill(small.pid, signal.SIGKILL)
        again = server.until(lambda state: state.engine("small").state == "ready" and state.engine("small") != small)
        assert again.engine("small").pid != small.pid
        server.signal(signal.SIGINT)
        assert server.status() == 0


def test_a_supervisor_killed_while_a_model_loads_leaves_no_engine(tmp_path: Path) -> None:
    """The engine's process goes although it is inside the library's loading code."""
    process = start(tmp_path, "small=bundled", "--real-engines")
    assert process.stdout is not None
    engine = eventually(lambda: loading(process.pid))
    process.kill()
    process.wait(20)
    process.stdout.close()
    assert eventually(lambda: gone(engine))


def loading(supervisor: int) -> int | None:
    """The engine child of this supervisor once it has mapped the model's file."""
    for pid in all_pids():
        try:
            if parent_of(pid) == supervisor and ".gguf" in Path(f"/proc/{pid}/maps").read_text():
                return pid
        except OSError:
            continue
    return None


def test_a_damaged_model_file_fails_its_engine_with_a_reason(tmp_path: Path) -> None:
    """A file that is no model is the engine's failure in words, not a crash loop."""
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    with serving(tmp_path, "bad=bad.gguf", "--real-engines") as server:
        bad = server.settled().engine("bad")
        assert bad.state == "failed"
        assert bad.restarts == 0
        assert "bad.gguf can't be loaded" in (bad.detail or "")
