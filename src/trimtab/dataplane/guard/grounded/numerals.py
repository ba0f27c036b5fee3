"""Numbers as values: `1.200`, `1,200`, `1 200` and `twelve hundred`'s parts, clock times, days of a month."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from unicodedata import decimal

CLOCK: Final = "clock"
MONTH: Final = "month "


class Number(NamedTuple):
    """A value with its unit. `paired`: it is one end of a range, which says something else than the end alone."""

    value: float
    unit: str
    paired: bool = False

    def __str__(self) -> str:
        return f"{self.value:g}"


def parsed(digits: str) -> float:
    """The value of written digits, whichever sign separates thousands: a lone one before three digits does.

    >>> parsed("1.200"), parsed("1,200.5"), parsed("39.50"), parsed("4,9")
    (1200.0, 1200.5, 39.5, 4.9)
    """
    text = "".join(str(decimal(one)) if one.isdecimal() else one for one in digits)
    text = re.sub(r"[ \u00a0\u202f'’٬]", "", text).replace("٫", ",")
    marks = [one for one in text if one in ".,"]
    if not marks:
        return float(text[:300])
    last = max(text.rfind("."), text.rfind(","))
    thousands = len(text) - last - 1 == 3 and len(set(marks)) == 1 and not text.startswith("0")
    whole = re.sub(r"[.,]", "", text[:last])
    return (
        float((whole + text[last + 1 :])[:300])
        if thousands
        else float(f"{whole or '0'}.{text[last + 1 :] or '0'}"[:300])
    )


_HAN: Final = {
    "〇": 0,
    "零": 0,
    "一": 1,
    "二": 2,
    "两": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}
_PLACES: Final = {"十": 10, "百": 100, "千": 1000}


def han(text: str) -> float:
    """The value of a number in Chinese characters up to 9999 (`二十一`), or of single digits in a row (`二〇二六`)."""
    if not any(one in _PLACES for one in text):
        return float("".join(str(_HAN[one]) for one in text))
    total, last = 0, 0
    for one in text:
        if one in _PLACES:
            total += (last or 1) * _PLACES[one]
            last = 0
        else:
            last = _HAN[one]
    return float(total + last)


def same(one: Number, other: Number) -> bool:
    """Equal value and unit; a number said without any unit goes with any."""
    if abs(one.value - other.value) > 1e-9 * max(1.0, abs(other.value)) or one.paired != other.paired:
        return False
    return one.unit == other.unit or not one.unit
