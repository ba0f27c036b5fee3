"""A changed document before it is written: what `check` says of the workspace as it would be."""

from __future__ import annotations

from pathlib import Path

from trimtab.controlplane.registry.edit import EditError
from trimtab.controlplane.registry.load import examine
from trimtab.core.clock import Clock
from trimtab.core.errors import ConfigError
from trimtab.foundations.config import Problem, errors


def warnings_of(folder: Path, file: str, text: str, clock: Clock) -> list[Problem]:
    """What `check` would warn of that it does not warn of now. Raises EditError for a change that it would refuse,
    ConfigError where the workspace is broken as it is: no gateway would take the change up."""
    _, problems = examine(folder, clock, {file: text})
    if not problems:
        return []
    _, standing = examine(folder, clock)
    if broken := errors(standing):
        raise ConfigError([str(problem) for problem in broken])
    if refused := errors(problems):
        raise EditError("nothing is written, as the change would be refused: " + "; ".join(map(str, refused)))
    known = {(problem.file, problem.path, problem.message) for problem in standing}
    return [problem for problem in problems if (problem.file, problem.path, problem.message) not in known]
