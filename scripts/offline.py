"""The documentation for reading elsewhere: docs/llms.txt (a list of all pages), and all of them in one file.

python scripts/offline.py [--check]          write docs/llms.txt, or fail where it is behind
python scripts/offline.py --whole FILE       every page in one Markdown file, in the order of docs/index.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "docs" / "index.md"
LIST = ROOT / "docs" / "llms.txt"


def pages() -> list[Path]:
    """Pages of docs/ in the order in which the index names them."""
    found = [INDEX]
    for target in re.findall(r"\]\(([^)#]+\.md)", INDEX.read_text()):
        path = (INDEX.parent / target).resolve()
        if path.is_relative_to(INDEX.parent) and path not in found and path.exists():
            found.append(path)
    return found


def body(page: Path) -> str:
    """The page without its front matter."""
    return re.sub(r"\A---\n.*?\n---\n", "", page.read_text(), flags=re.DOTALL).lstrip()


def listing() -> str:
    """llmstxt.org's form: a title, a summary, links with what they hold."""
    lines = ["# Trimtab", "", "> An AI gateway in which every request carries a contract: how fast, how good, how much"]
    lines += ["> it may cost. OpenAI-compatible HTTP; configuration in YAML; one record a request.", ""]
    for mode in ("tutorial", "how-to", "reference", "explanation"):
        lines += [f"## {mode.capitalize()}", ""]
        for page in pages()[1:]:
            if f"mode: {mode}\n" in page.read_text():
                title = next(line[2:] for line in body(page).splitlines() if line.startswith("# "))
                lines.append(f"- [{title}]({page.relative_to(INDEX.parent).as_posix()})")
        lines.append("")
    return "\n".join(lines)


def whole() -> str:
    return "\n\n".join(f"<!-- {page.relative_to(ROOT).as_posix()} -->\n\n{body(page)}" for page in pages())


def main() -> None:
    if "--whole" in sys.argv:
        Path(sys.argv[sys.argv.index("--whole") + 1]).write_text(whole())
        return
    text = listing()
    if "--check" in sys.argv and (not LIST.exists() or LIST.read_text() != text):
        sys.exit("docs/llms.txt is behind docs/index.md. Run: python scripts/offline.py")
    LIST.write_text(text)


if __name__ == "__main__":
    main()
