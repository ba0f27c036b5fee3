"""Guard: what must not reach a model, and what must not leave. Both ways in one request, nothing kept beyond it."""

from typing import TYPE_CHECKING

from trimtab.dataplane.guard.checks import CHECKS_IN, CHECKS_OUT
from trimtab.foundations.lazy import lazily

if TYPE_CHECKING:
    from trimtab.dataplane.guard.fold import is_blank
    from trimtab.dataplane.guard.inbound import Screened, holds, screen_in
    from trimtab.dataplane.guard.numbers import regions_of
    from trimtab.dataplane.guard.outbound import OutScreen
    from trimtab.dataplane.guard.templates import template_text

# the numbering plans of all countries come with these
__getattr__ = lazily(
    __name__,
    {
        "OutScreen": "outbound",
        "Screened": "inbound",
        "holds": "inbound",
        "is_blank": "fold",
        "regions_of": "numbers",
        "screen_in": "inbound",
        "template_text": "templates",
    },
)

__all__ = [
    "CHECKS_IN",
    "CHECKS_OUT",
    "OutScreen",
    "Screened",
    "holds",
    "is_blank",
    "regions_of",
    "screen_in",
    "template_text",
]
