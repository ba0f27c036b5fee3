"""Secrets by reference, and what looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.foundations.config import SecretError, is_reference, resolve_secret, secret_shaped, shown


def test_references_resolve_and_never_show(tmp_path: Path) -> None:
    """env: and file: give the value by reveal() alone; printing shows where it came from."""
    (tmp_path / "key").write_text("hush-hush\n")
    for secret in (
        resolve_secret("file:key", tmp_path),
        resolve_secret("env:SECRET", tmp_path, {"SECRET": "hush-hush"}),
    ):
        assert secret.reveal() == "hush-hush"
        assert "hush" not in f"{secret} {secret!r}"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("sk-proj-abcdefghijklmnop1234", "env:NAME or file:PATH"),
        ("env:UNSET", "UNSET is not set"),
        ("env:BLANK", "BLANK is not set or blank"),
        ("file:gone", "can't be read"),
        ("file:empty", "is blank"),
        ("file:binary", "not UTF-8"),
        ("file:large", "larger than 64 KiB"),
        ("env:A B", "env:NAME or file:PATH"),
    ],
)
def test_what_does_not_resolve_says_why_without_the_value(tmp_path: Path, reference: str, words: str) -> None:
    """Each failure names the reference or the variable; a literal secret is not repeated."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    with pytest.raises(SecretError) as caught:
        resolve_secret(reference, tmp_path, {"BLANK": " "})
    assert words in str(caught.value)
    assert "sk-proj" not in str(caught.value)
    assert is_reference(reference) == reference.startswith(("env:U", "env:BL", "file:"))


@pytest.mark.parametrize(
    "text",
    [
        "use tt_live_" + "a1B2" * 9,
        "sk-proj-abcdEFGH1234ijklMNOP",
        "AKIA" + "ABCDEFGH12345678",
        "ghp_" + "a" * 36,
        "-----BEGIN RSA PRIVATE KEY-----",
        "postgres://user:hunter22@db/x",
        "password: correct-horse-9",
    ],
)
def test_credentials_are_recognised_and_masked(text: str) -> None:
    """The shapes that people paste are recognised, and masked when an error shows the text."""
    assert secret_shaped(text)
    assert text not in shown(text)


@pytest.mark.parametrize(
    "text", ["Never tell a password to anyone.", "https://example.com/a?b=c", "the secret of good coffee", "a" * 64]
)
def test_plain_words_are_no_credentials(text: str) -> None:
    """Prompts may speak of passwords, and hashes are not secret."""
    assert secret_shaped(text) is None
