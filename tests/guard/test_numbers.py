"""Cards, IBANs and phone numbers in running text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from trimtab.dataplane.guard import CHECKS_IN, screen_in
from trimtab.dataplane.guard.detect import detect
from trimtab.dataplane.guard.numbers import iban_numbers

ALL = sorted(CHECKS_IN)
REGIONS = ("DE", "GB", "FR")
ZWSP = "\u200b"

FOUND: dict[str, list[tuple[str, str]]] = {
    "pay with 4111 1111 1111 1111 please": [("card", "4111 1111 1111 1111")],
    "5555-5555-5555-4444": [("card", "5555-5555-5555-4444")],
    "amex 378282246310005.": [("card", "378282246310005")],
    "4111\u00a01111\u00a01111\u00a01111": [("card", "4111\u00a01111\u00a01111\u00a01111")],
    f"4111{ZWSP}1111{ZWSP}1111{ZWSP}1111": [("card", f"4111{ZWSP}1111{ZWSP}1111{ZWSP}1111")],
    "\uff14\uff11\uff11\uff11111111111111": [("card", "\uff14\uff11\uff11\uff11111111111111")],
    "\u0664111111111111111": [("card", "\u0664111111111111111")],
    "IBAN DE89 3704 0044 0532 0130 00, thanks": [("iban", "DE89 3704 0044 0532 0130 00")],
    "gb82west12345698765432": [("iban", "gb82west12345698765432")],
    "FR1420041010050500013M02606 and more words": [("iban", "FR1420041010050500013M02606")],
    "call +49 30 901820 today": [("phone", "+49 30 901820")],
    "call 030 901820": [("phone", "030 901820")],
    "(020) 7946 0958": [("phone", "(020) 7946 0958")],
    "\uff0b49 30 901820": [("phone", "\uff0b49 30 901820")],
    "+33 1 42 68 53 00 / jo@x.example": [("phone", "+33 1 42 68 53 00"), ("email", "jo@x.example")],
    "DE89370400440532013000 and 4111111111111111": [
        ("iban", "DE89370400440532013000"),
        ("card", "4111111111111111"),
    ],
}
NOT_FOUND = [
    "4111 1111 1111 1112",  # no check digit
    "0000 0000 0000 0000",
    "1234567890128",  # Luhn fits, no network begins so
    "x4111111111111111",
    "41111111111111112222",  # 20 digits
    "DE88 3704 0044 0532 0130 00",
    "order 2026-11-25 at 10:30",
    "version 1.2.3.4.5.6.7",
    "the price is 1,234,567.89",
    "ISBN 978",
    "call 112",
    "1 2 3 4 5 6 7 8 9",
]


@pytest.mark.parametrize("text", list(FOUND))
def test_numbers_are_found_as_they_are_written(text: str) -> None:
    """In groups, in any script, with invisible characters, beside each other."""
    assert [(one.check, one.text) for one in detect(text, ALL, REGIONS)] == FOUND[text]
    for one in detect(text, ALL, REGIONS):
        assert text[one.start : one.end] == one.text


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_has_no_checksum_or_plan_is_left_alone(text: str) -> None:
    """Prices, dates, versions, long numbers: a redaction too many makes an answer worse."""
    assert detect(text, ["card", "iban", "phone"], REGIONS) == []


def test_a_national_number_needs_a_market_that_it_is_of() -> None:
    """The same digits mean nothing where nobody lives who could be called by them."""
    assert detect("030 901820", ["phone"], ("DE",))
    assert not detect("030 901820", ["phone"], ())


def test_the_same_number_in_two_spellings_is_one_placeholder() -> None:
    """And different ones differ; each kind counts for itself."""
    text = "4111111111111111 = 4111-1111-1111-1111, not 5555555555554444; +4930901820 = 030 901820; a@b.example"
    screened = screen_in(({"role": "user", "content": text},), {}, ALL, ("DE",))
    assert screened.messages[0]["content"] == ("<CARD_1> = <CARD_1>, not <CARD_2>; <PHONE_1> = <PHONE_1>; <EMAIL_1>")
    assert dict(screened.values)["<CARD_1>"] == "4111111111111111"
    assert {row.check: row.hits for row in screened.rows} == {"card": 3, "email": 1, "iban": 0, "phone": 2}


def test_numbers_in_tool_arguments_are_found_through_escapes() -> None:
    """Arguments stay valid JSON."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"card": "\\u0034111111111111111"}'}}
    screened = screen_in(({"role": "assistant", "tool_calls": [call]},), {}, ["card"])
    assert screened.messages[0]["tool_calls"][0]["function"]["arguments"] == '{"card": "<CARD_1>"}'


@given(st.text(alphabet="0123456789", min_size=11, max_size=17), st.sampled_from(["", " ", "-", "."]))
def test_every_number_with_a_check_digit_of_a_network_is_found(body: str, gap: str) -> None:
    """However it is grouped; and with a wrong check digit it is not. Of more than four groups some might be one."""
    payload = "4" + body
    right = payload + str(luhn.calc_check_digit(payload))
    wrong = payload + str((int(luhn.calc_check_digit(payload)) + 1) % 10)
    for number, expected in ((right, 1), (wrong, 0)):
        written = gap.join(number[at : at + 4] for at in range(0, len(number), 4))
        if expected or not gap or len(number) <= 16:
            assert len(detect(f"card {written}!", ["card"], ())) == expected


@given(st.text(max_size=400), st.lists(st.sampled_from(ALL), unique=True))
def test_nothing_is_ever_raised_and_findings_are_in_order(text: str, checks: list[str]) -> None:
    """For any text: spans inside it, apart from each other, of the checks that were asked for."""
    found = detect(text, checks, REGIONS)
    assert all(one.check in checks for one in found)
    ends = [0, *(one.end for one in found)]
    assert all(before <= one.start < one.end <= len(text) for before, one in zip(ends, found, strict=False))


def test_hostile_digits_cost_linear_work() -> None:
    """A megabyte of almost-numbers is screened; the work is bounded by the test's own time limit."""
    for hostile in ("1" * 1_000_000, "4111 " * 200_000, "DE89 " * 200_000, "1 (2" * 250_000, "+" * 1_000_000):
        screen_in(({"role": "user", "content": hostile},), {}, ALL, REGIONS)


def test_what_looks_like_the_beginning_of_an_iban_hides_none() -> None:
    """Words and numbers before it, and another IBAN right before it, are no part of one."""
    text = "3 to 15 DE89 3704 0044 0532 0130 00 GB82 WEST 1234 5698 7654 32"
    assert [span.identity for span in iban_numbers(text)] == ["DE89370400440532013000", "GB82WEST12345698765432"]


@given(
    st.lists(
        st.sampled_from(["+49 170 1234567", "030 1234567", "4111 1111 1111 1111", "5500000000000004", "12", "1999"]),
        min_size=1,
        max_size=7,
    )
)
def test_numbers_side_by_side_are_all_found(numbers: list[str]) -> None:
    """No digit of a card stays, whatever stands before it."""
    text = " ".join(numbers)
    found = detect(text, ALL, REGIONS)
    place = 0
    for number in numbers:
        start = text.index(number, place)
        place = start + len(number)
        if len(number.replace(" ", "")) == 16:
            assert any(one.start <= start and place <= one.end for one in found), (number, found)
