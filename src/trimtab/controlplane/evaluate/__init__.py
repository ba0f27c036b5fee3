"""Evaluation: golden sets, how their answers are graded, what they show."""

from trimtab.controlplane.evaluate.golden import ANSWERS, FOLDER, Edits, Golden, Question, Reviewed, read_golden
from trimtab.controlplane.evaluate.grade import Answer, Grade, Kind, grade
from trimtab.controlplane.evaluate.review import Waiting, waiting
from trimtab.controlplane.evaluate.reviewed import ReviewError, accept, decided, dismiss, forget, reviewed_now
from trimtab.controlplane.evaluate.summary import BY, EditLine, EditResult, Line, Result, edit_lines, lines

__all__ = [
    "ANSWERS",
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
    "ReviewError",
    "Reviewed",
    "Waiting",
    "accept",
    "decided",
    "dismiss",
    "edit_lines",
    "forget",
    "grade",
    "lines",
    "read_golden",
    "reviewed_now",
    "waiting",
]
