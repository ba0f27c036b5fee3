"""trimtab.yaml, records: a key that signs, and rows that are kept for as long as budgets need them."""

from __future__ import annotations

from typing import Final

from trimtab.controlplane.registry.checks.secrets import secret
from trimtab.controlplane.registry.checks.view import Found, View, error
from trimtab.controlplane.registry.documents import SETTINGS, file_of
from trimtab.foundations import signature
from trimtab.foundations.config import Path, SecretError, is_reference, resolve_secret

MONTH_DAYS: Final = 33
"""A month in any time zone, and the hour for which a segment is written to."""
_KEY: Path = ("records", "sign_key")


def sign_key(view: View) -> Found:
    """The key stands here by reference, and what it refers to can sign."""
    told = view.documents.settings.records.sign_key
    yield from secret(view, _KEY, told, None)
    if told is None or not is_reference(told):
        return
    if not signature.is_installed():
        yield error(SETTINGS, _KEY, "what signs is not installed", "Install it: pip install 'trimtab[records]'")
        return
    try:
        signature.SigningKey.of_pem(resolve_secret(told, view.documents.folder).reveal())
    except SecretError:
        return  # said already
    except signature.KeyFormatError as problem:
        hint = "Make one: openssl genpkey -algorithm ed25519 -out sign.pem"
        yield error(SETTINGS, _KEY, str(problem), hint)


def retention(view: View) -> Found:
    """What a budget has spent in its period is worked out of the rows of that period."""
    days = view.documents.settings.records.retention_days
    if days is None or days >= MONTH_DAYS:
        return
    for stem, tenant in view.documents.tenants.items():
        budgets = [
            *tenant.budgets,
            *(budget for key in tenant.keys for budget in key.budgets),
            *(budget for channel in tenant.channels.values() for budget in channel.cost.budgets),
        ]
        if any(budget.period == "month" for budget in budgets):
            message = f"{days} days are less than the month of a budget in {file_of('tenants', stem)}"
            hint = f"Write {MONTH_DAYS} or more: a restart works out of the records what is spent."
            yield error(SETTINGS, ("records", "retention_days"), message, hint)
            return


CHECKS = (sign_key, retention)
