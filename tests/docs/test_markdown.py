"""All Markdown of the repository: links lead somewhere, pages are found, say what they are, and need no network."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from support.markdown import blocks
from trimtab.core.errors import Code

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
MODES = {"tutorial": "tutorial", "how-to": "how-to", "reference": "reference", "explanation": "explanation"}
FOLLOWED = (ROOT / "tests" / "docs" / "test_pages.py").read_text()

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^( *)(`{3,}).*?^\1\2`*$", re.DOTALL | re.MULTILINE)


def everything() -> list[Path]:
    """Markdown that the repository keeps, but for what is data: the example's corpora and prompts, golden files."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    data = ("src/trimtab/controlplane/registry/example/", "tests/")
    return [ROOT / name for name in listed.splitlines() if not name.startswith(data) and (ROOT / name).exists()]


def prose(page: Path) -> str:
    """The page without its code blocks and without code in lines."""
    return re.sub(r"`[^`\n]*`", "", _CODE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """What headings are called in links, as GitHub makes it of them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", _CODE.sub("", page.read_text()), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        number = 0
        while (known := name if not number else f"{name}-{number}") in found:
            number += 1
        found.add(known)
    return found


@pytest.mark.parametrize("page", everything(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file that is there, and to a heading in it."""
    wrong = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            wrong.append(link)
    assert not wrong


def test_every_page_is_found_from_the_index() -> None:
    """By links, in however many steps."""
    seen: set[Path] = set()
    left = [DOCS / "index.md"]
    while left:
        page = left.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in _LINK.findall(page.read_text()):
            path = (page.parent / link.partition("#")[0]).resolve()
            if path.suffix == ".md" and path.exists():
                left.append(path)
    rooms = [page for page in everything() if page.is_relative_to(ROOT / "src")]
    assert {*PAGES, *rooms} <= seen, sorted(str(page) for page in {*PAGES, *rooms} - seen)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_says_which_of_the_four_modes_it_is(page: Path) -> None:
    """In its front matter, as its folder does; those to be followed say what one needs and what one gets."""
    text = page.read_text()
    found = re.match(r"---\nmode: ([a-z-]+)\n---\n\n", text)
    assert found is not None, "begin it with ---, mode: MODE, ---"
    assert found[1] in MODES
    folder = page.parent.relative_to(DOCS).as_posix()
    assert MODES.get(folder, found[1]) == found[1]
    assert len(re.findall(r"^# ", _CODE.sub("", text), re.MULTILINE)) == 1, "one title"
    if found[1] in ("tutorial", "how-to"):
        head = text.partition("\n## ")[0]
        assert "**You need**" in head
        assert "**You get**" in head or "**Afterwards you can**" in head


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_blocks_are_what_they_say(page: Path) -> None:
    """YAML parses; a block for a file follows a line that names it; a page with commands is followed by a test."""
    lines = page.read_text().splitlines()
    commands = False
    for block in blocks(page.read_text()):
        if block.language == "yaml":
            YAML(typ="safe", pure=True).load(block.text)
        target = block.options.get("file") or block.options.get("add") or block.options.get("append")
        if target:
            named = " ".join(lines[: block.line - 1])
            assert target in named or Path(target).name in named, f"line {block.line}: say above that it is {target}"
        commands = commands or (block.language in ("sh", "console", "python") and "not-run" not in block.words)
    if commands:
        assert f'"{page.stem}' in FOLLOWED, f"no test of tests/docs/test_pages.py follows {page.name}"


def test_pages_need_no_network() -> None:
    """No image or script from elsewhere, and no HTML that would fetch one."""
    for page in everything():
        text = prose(page)
        assert not re.search(r"!\[[^\]]*\]\(https?:|<(?:img|script|link|iframe)\b", text), page


def test_error_codes_that_are_named_exist() -> None:
    """The table of a refusal's causes knows no code that is not in the closed list."""
    text = (DOCS / "how-to" / "debug-a-refusal.md").read_text()
    table = text[text.index("| code |") : text.index("A template in place")]
    codes = {
        code
        for row in table.splitlines()[2:]
        for code in re.findall(r"`(\w+)`", row.split("|")[1:2][0] if "|" in row else "")
    }
    assert codes
    assert codes <= {code.wire for code in Code}


def test_every_mode_has_its_offline_list() -> None:
    """docs/llms.txt names every page of docs/ but the index."""
    listed = set(re.findall(r"\]\(([^)]+)\)", (DOCS / "llms.txt").read_text()))
    assert listed == {page.relative_to(DOCS).as_posix() for page in PAGES} - {"index.md"}
