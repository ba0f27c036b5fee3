"""`server.metrics` and `server.metrics_key` of trimtab.yaml, in a gateway as it is started."""

from __future__ import annotations

from pathlib import Path

from support.gateway import closed_port, replaced, write_workspace
from support.live import live
from support.scrape import parsed

NOBODY = f"http://127.0.0.1:{closed_port()}"
SERVER = "server: {max_body_bytes: 8388608}"


def test_a_key_by_reference_is_asked_for(tmp_path: Path) -> None:
    """The file's content is the key; a changed server part takes effect at the next start, as the log says."""
    keyed = SERVER.replace("}", ", metrics_key: 'file:scrape.key'}")
    (tmp_path / "scrape.key").write_text("scraper-0123456789\n")
    write_workspace(tmp_path, NOBODY, NOBODY, replaced("trimtab.yaml", SERVER, keyed))
    with live(tmp_path) as server:
        assert server.request("GET", "/metrics")[0] == 401
        status, _, body = server.request("GET", "/metrics", headers={"authorization": "Bearer scraper-0123456789"})
        assert status == 200
        assert "trimtab_info" in parsed(body.decode())
        assert server.admin_text("/metrics").startswith("# HELP")


def test_metrics_can_be_left_out(tmp_path: Path) -> None:
    """Nothing is at the path then; the admin socket still tells."""
    off = SERVER.replace("}", ", metrics: false}")
    write_workspace(tmp_path, NOBODY, NOBODY, replaced("trimtab.yaml", SERVER, off))
    with live(tmp_path) as server:
        assert server.request("GET", "/metrics")[0] == 404
        assert server.admin_text("/metrics").startswith("# HELP")
