"""Evaluation: golden sets, how their answers are graded, what they show."""

from trimtab.controlplane.evaluate.golden import FOLDER, Edits, Golden, Question, read_golden
from trimtab.controlplane.evaluate.grade import Answer, Grade, Kind, grade
from trimtab.controlplane.evaluate.summary import BY, EditLine, EditResult, Line, Result, edit_lines, lines

__all__ = [
    "BY",
    "FOLDER",
    "Answer",
    "EditLine",
    "EditResult",
    "Edits",
    "Golden",
    "Grade",
    "Kind",
    "Line",
    "Question",
    "Result",
    "edit_lines",
    "grade",
    "lines",
    "read_golden",
]
