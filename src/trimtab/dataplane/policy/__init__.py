"""The policy engine: declared rules that restrict what a request may use, each with its trace and its own tests."""

from trimtab.dataplane.policy.document import OnFullTerms, PolicyDocument, Rule, RuleTest, Then
from trimtab.dataplane.policy.engine import DEGRADATIONS, CompiledRule, Policy, PolicyError, allowed, compile_policy
from trimtab.dataplane.policy.lint import EFFECTS, Names, Outcome, lint, reference, run_tests
from trimtab.dataplane.policy.variables import (
    CONSTANTS,
    VARIABLES,
    VERSION,
    Tables,
    Variable,
    contract_values,
    feature_values,
    known_by,
    tables_with,
)

__all__ = [
    "CONSTANTS",
    "DEGRADATIONS",
    "EFFECTS",
    "VARIABLES",
    "VERSION",
    "CompiledRule",
    "Names",
    "OnFullTerms",
    "Outcome",
    "Policy",
    "PolicyDocument",
    "PolicyError",
    "Rule",
    "RuleTest",
    "Tables",
    "Then",
    "Variable",
    "allowed",
    "compile_policy",
    "contract_values",
    "feature_values",
    "known_by",
    "lint",
    "reference",
    "run_tests",
    "tables_with",
]
