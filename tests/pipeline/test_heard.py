"""Answers that are heard: no check on the way out can look at them, so none is asked for where there is one."""

from __future__ import annotations

from pathlib import Path

from support.gateway import Gateway, replaced
from support.upstream import ScriptedUpstream
from trimtab.surfaces.twin import run_virtual

HEARD = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
UNCHECKED = replaced("tenants/shop.yaml", 'checks_out: [deny], deny: ["secret sauce"]', "checks_out: []")
SPEAKS = replaced("models.yaml", "small-plain: {", 'small-plain: {engine: {modalities: ["text", "audio"]}, ')


def test_what_is_checked_on_its_way_out_is_not_heard(tmp_path: Path) -> None:
    """The caller's wish and the variant's own alike. Text alone is answered, and so is all where nothing is checked."""

    async def main() -> None:
        async with ScriptedUpstream() as up:
            async with Gateway(tmp_path / "checked", up.url, up.url) as gateway:
                refused = await gateway.ask("Hi", **HEARD)
                assert (refused.status, refused.json["error"]["code"]) == (400, "unsupported")
                assert refused.json["error"]["param"] == "modalities"
                assert up.requests == []
                assert (await gateway.ask("Hi", modalities=["text"])).status == 200
            async with Gateway(tmp_path / "open", up.url, up.url, UNCHECKED) as gateway:
                assert (await gateway.ask("Hi", **HEARD)).status == 200
            async with Gateway(tmp_path / "speaks", up.url, up.url, SPEAKS) as gateway:
                assert (await gateway.ask("Hi")).status == 200
                assert gateway.last.variant is not None
                assert not gateway.last.variant.startswith("small-plain@")

    run_virtual(main)
