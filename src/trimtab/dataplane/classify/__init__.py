"""Classify: what is known of a request before anything is spent on it: language, intent, complexity, risk, each with a
confidence and with what it was seen by."""

from trimtab.dataplane.classify.classifier import ALL, Classifier, Name, Prepared

__all__ = ["ALL", "Classifier", "Name", "Prepared"]
