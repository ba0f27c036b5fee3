"""Admission: concurrency tokens per model, a bounded wait in fair order, and what requests are foreseen to take."""

from trimtab.dataplane.admission.gate import Ending, Gate, Gates, GateView, Ticket, Turn, retry_after_s
from trimtab.dataplane.admission.tier import Foreseen

__all__ = ["Ending", "Foreseen", "Gate", "GateView", "Gates", "Ticket", "Turn", "retry_after_s"]
