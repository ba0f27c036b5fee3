"""A folder of documents to one immutable workspace, or to all the reasons why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import TypeVar

import msgspec

from trimtab.controlplane.registry import build
from trimtab.controlplane.registry.checks import cross_check
from trimtab.controlplane.registry.documents import FEATURES, POLICY, Documents, Settings, read, text_of
from trimtab.controlplane.registry.prices import compile_prices
from trimtab.core.clock import Clock, SystemClock
from trimtab.core.errors import ConfigError
from trimtab.core.features import NO_FEATURES, FeaturesDocument
from trimtab.core.objectives import SloDocument
from trimtab.dataplane.policy import PolicyDocument
from trimtab.dataplane.snapshot import Snapshot
from trimtab.foundations.config import DocumentError, Problem, Reader, compose, errors, locate, read_text

T = TypeVar("T")


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """A checked workspace. `warnings`: what is taken, but deserves a look. `slo` decides nothing about requests, so it
    is no part of the snapshot that records name."""

    folder: FilePath
    settings: Settings
    snapshot: Snapshot
    slo: SloDocument
    warnings: tuple[Problem, ...]


def load(folder: FilePath, clock: Clock | None = None) -> Workspace:
    """Read, check and build. Raises ConfigError with every problem, one line each."""
    workspace, problems = examine(folder, clock)
    if workspace is None:
        raise ConfigError([str(problem) for problem in errors(problems)])
    return workspace


def examine(
    folder: FilePath, clock: Clock | None = None, instead: Mapping[str, str] | None = None
) -> tuple[Workspace | None, list[Problem]]:
    """As `load`, but with problems as values: errors first, then warnings, by file and line. `instead`: texts that
    stand for those of these files."""
    instead = instead or {}
    documents, problems = read(folder, instead)
    if documents is None:
        return None, _sorted(problems)
    wall_ns = (clock or SystemClock()).wall_ns()
    prices, found = compile_prices(documents.prices, wall_ns)
    problems = _placed(folder, instead, [*found, *cross_check(documents, prices, wall_ns)])
    if errors(problems):
        return None, problems
    return _built(documents, build.snapshot(documents, prices), problems), problems


def read_policy(folder: FilePath) -> PolicyDocument:
    """The policy document alone, unchecked but for its types. Raises ConfigError."""
    return _alone(folder, POLICY, Reader(PolicyDocument))


def read_features(folder: FilePath) -> FeaturesDocument:
    """The features alone, as above; none where none are declared."""
    return _alone(folder, FEATURES, Reader(FeaturesDocument)) if (folder / FEATURES).exists() else NO_FEATURES


def _alone(folder: FilePath, file: str, reader: Reader[T]) -> T:
    try:
        document, problems = reader.read(read_text(folder / file, file), file)
    except DocumentError as error:
        raise ConfigError([str(error.problem)]) from None
    if document is None:
        raise ConfigError([str(problem) for problem in problems])
    return document


def _built(documents: Documents, snapshot: Snapshot, problems: list[Problem]) -> Workspace:
    return Workspace(
        folder=documents.folder,
        settings=documents.settings,
        snapshot=snapshot,
        slo=documents.slo,
        warnings=tuple(problems),
    )


def _placed(folder: FilePath, instead: Mapping[str, str], problems: list[Problem]) -> list[Problem]:
    """Problems with their lines: positions are looked up only where there is something to say."""
    roots = {}
    for file in {problem.file for problem in problems if problem.line is None and problem.file.endswith(".yaml")}:
        try:
            roots[file] = compose(text_of(folder, file, instead), file)
        except DocumentError:
            continue  # the file changed under us, or is missing: the problem stands without a line
    placed = [
        msgspec.structs.replace(problem, line=locate(roots[problem.file], problem.path))
        if problem.line is None and problem.file in roots
        else problem
        for problem in problems
    ]
    return _sorted(placed)


def _sorted(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.severity, problem.file, problem.line or 0))
