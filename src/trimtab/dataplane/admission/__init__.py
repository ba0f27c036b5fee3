"""Admission: concurrency tokens per model, with a bounded wait in order of class."""

from trimtab.dataplane.admission.gate import Ending, Gate, Gates, GateView, Ticket, retry_after_s

__all__ = ["Ending", "Gate", "GateView", "Gates", "Ticket", "retry_after_s"]
