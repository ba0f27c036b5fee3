"""Speculative decoding on the real engine: a setting beside the model's own engine; its answers are the same."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from support.live import live, patient_example
from trimtab.controlplane.records import rows

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

TEXT = "The fee of a wire is 25 dollars. The fee of a card is 5 dollars. The fee of a check is 2 dollars."
ENGINE = """  ngram:
    model: bundled
    slots: 4
    context: 2048
    pass_tokens: 128
    speculation: {by: ngram, match: 3, tokens: 6}
  medium:
"""
SETTING = "    slots: 4 # never"


def workspace(folder: Path) -> Path:
    patient_example(folder)
    for document, old, new in (
        ("trimtab.yaml", "  medium:\n", ENGINE),
        ("models.yaml", SETTING, f"    settings: {{ngram: {{endpoint: engine:ngram, speculative: true}}}}\n{SETTING}"),
    ):
        path = folder / document
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
    return folder


def test_a_setting_speculates_and_answers_alike(tmp_path: Path) -> None:
    """Requests alternate at first. Both engines say the same, greedily; one of them says what it proposed."""
    folder = workspace(tmp_path / "ws")
    with live(folder) as server:
        said = set()
        for number in range(4):
            status, _, body = server.chat(
                f"Repeat this text word for word: {TEXT}",
                headers={"cache-control": "no-store"},
                key="tt-demo-support",
                model="tier:S",
                temperature=0,
                max_tokens=48,
                seed=number,
            )
            assert status == 200, body
            said.add(msgspec.json.decode(body)["choices"][0]["message"]["content"])
        server.admin("POST", "/records/flush")
        found = [one.setting for one in rows(folder / "var" / "records") if one.setting is not None]
    assert len(said) == 1
    assert [one.by for one in found] == [None, "ngram", None, "ngram"]
    for one in found:
        assert (one.drafted or 0) > 0 if one.by else not one.drafted
        assert (one.accepted or 0) <= (one.drafted or 0)
