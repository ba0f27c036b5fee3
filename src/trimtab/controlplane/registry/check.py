from trimtab.controlplane.registry.documents import Documents
from trimtab.core.money import Price
from trimtab.foundations.config import Problem


def cross_check(documents: Documents, prices: dict[str, Price]) -> list[Problem]:
    return []
