"""From the tree to an answered request, as a packager and a newcomer go: `python scripts/package.py [--plain]`.

Builds sdist and wheel from two copies of the tree with other paths and times, and compares them to the byte; looks into
the wheel; installs it with the locked dependencies into an empty environment in an empty folder; then `trimtab init`,
`check`, `serve`, one answer, SIGTERM, exit code 0. `--plain`: the same by `pip install .` alone, whose `trimtab init`
fetches the model. Nothing but pip reaches the network: what serves runs with proxies that nobody answers.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TREE = (
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "requirements.lock", ".gitignore"),
    *("src", "docs"),
)
EPOCH = "1767225600"
NOWHERE = "http://127.0.0.1:9"
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet", "--quiet")


def copy(to: Path, mtime: float) -> Path:
    """The tree's own files at another place, as old as told; a `.pyc` and an editor's leavings lie about."""
    to.mkdir(parents=True)
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)
    (to / "src" / "trimtab" / "__pycache__").mkdir()
    (to / "src" / "trimtab" / "__pycache__" / "left.cpython-311.pyc").write_bytes(b"x")
    for path in to.rglob("*"):
        os.utime(path, (mtime, mtime))
    return to


def build(tree: Path) -> dict[str, bytes]:
    """Distributions by file name."""
    out = tree.parent / f"{tree.name}-dist"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def twice(work: Path) -> dict[str, bytes]:
    """Built from two copies; raises AssertionError where they differ."""
    one = build(copy(work / "one", 1_600_000_000))
    other = build(copy(work / "a longer path" / "other", 1_700_000_000))
    assert one == other, "two builds differ"
    for name, data in one.items():
        print(f"{hashlib.sha256(data).hexdigest()}  {name}  (built twice, {len(data) // 1024} KiB)")
    return one


def look_into(wheel: Path) -> None:
    """What a wheel may hold: the package and its metadata, each file with its hash; no path of this machine."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        info = record.removesuffix("RECORD")
        rows = dict(line.split(",", 1) for line in archive.read(record).decode().splitlines())
        assert set(rows) == set(names)
        for name in names:
            assert name.startswith(("trimtab/", info)), name
            assert not re.search(r"\.pth$|\.pyc$|(^|/)tests?/|__pycache__", name), name
            assert name == record or rows[name].startswith("sha256="), name
            assert str(ROOT).encode() not in archive.read(name), name
        for name in ("trimtab/py.typed", f"{info}licenses/LICENSE", f"{info}entry_points.txt"):
            assert name in names, name
        example = ROOT / "src/trimtab/controlplane/registry/example"
        for path in example.rglob("*"):
            if path.is_file():
                assert f"trimtab/{path.relative_to(ROOT / 'src' / 'trimtab').as_posix()}" in names, path
    print(f"wheel: {len(names)} files, all of them the package's, each with its hash")


def environment(folder: Path) -> Path:
    """The interpreter of an empty environment."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def until(look, what: str, limit_s: float = 120.0):
    """The first answer that is not None."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if (found := look()) is not None:
                return found
        time.sleep(0.1)
    raise AssertionError(f"not within {limit_s:g} s: {what}")


def walk(python: Path, work: Path) -> None:
    """init, check, serve, an answer, SIGTERM."""
    trimtab = python.with_name("trimtab")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRIMTAB"))}
    clean["XDG_CACHE_HOME"] = str(work / "cache")
    deaf = {**clean, "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "http_proxy": NOWHERE, "https_proxy": NOWHERE}
    home = work / "home"
    home.mkdir()
    for arguments, given in ((["init"], clean), (["check"], deaf), (["doctor"], deaf)):
        subprocess.run([trimtab, *arguments], cwd=home, env=given, check=True)
    served = subprocess.Popen([trimtab, "serve", "--port", "0"], cwd=home, env=deaf, stdout=subprocess.PIPE, text=True)
    try:
        assert served.stdout is not None
        port = int(served.stdout.readline().rpartition(":")[2])

        def ask(method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {"authorization": "Bearer tt-demo-commerce", "content-type": "application/json"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

        until(lambda: True if ask("GET", "/readyz")[0] == 200 else None, "/readyz")
        question = {"messages": [{"role": "user", "content": "How long does standard delivery take?"}]}

        def answered() -> dict | None:
            status, body = ask("POST", "/v1/chat/completions", json.dumps(question))
            return json.loads(body) if status == 200 else None  # 503 while the first indexes are built

        answer = until(answered, "an answer")
        print(f"answered, {answer['trimtab']['path']}: {answer['choices'][0]['message']['content']}")
    finally:
        served.send_signal(signal.SIGTERM)
        status = served.wait(60)
    assert status == 0, f"serve ended with {status}"


def main() -> None:
    plain = "--plain" in sys.argv[1:]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trimtab-package-") as name:
        work = Path(name)
        if plain:
            python = environment(work / "venv")
            subprocess.run([python, *PIP, "install", copy(work / "tree", 1_600_000_000)], check=True)
        else:
            for file, data in twice(work).items():
                (work / file).write_bytes(data)
            wheel = next(work.glob("*.whl"))
            look_into(wheel)
            python = environment(work / "venv")
            locked = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", ROOT / "requirements.lock"]
            subprocess.run([python, *PIP, "install", *locked], check=True)
            subprocess.run([python, *PIP, "install", "--no-deps", "--no-index", wheel], check=True)
        print(f"installed after {time.monotonic() - began:.0f} s")
        walk(python, work)
    print(f"ok after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
