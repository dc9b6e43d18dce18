"""ISBN, ISSN and LCCN."""

from __future__ import annotations

import pytest

from flows.validation.numbers import Form, isbn, issn, lccn

ISBNS = [
    ("0306406152", Form.RIGHT),  # 0*10+3*9+0*8+6*7+4*6+0*5+6*4+1*3+5*2+2 = 132 = 12*11
    ("0-306-40615-2", Form.RIGHT),
    ("080442957X", Form.RIGHT),
    ("080442957x", Form.RIGHT),
    ("9780306406157", Form.RIGHT),  # 9+21+8+0+3+0+6+12+0+18+1+15 = 93, 93+7 = 100
    ("978-0-306-40615-7", Form.RIGHT),
    ("0306406153", Form.WRONG_CHECK_DIGIT),
    ("9780306406158", Form.WRONG_CHECK_DIGIT),
    ("030640615", Form.MALFORMED),
    ("4006381333931", Form.MALFORMED),  # a right EAN, but of a pencil
    ("X306406152", Form.MALFORMED),
    ("", Form.MALFORMED),
    ("٠٣٠٦٤٠٦١٥٢", Form.MALFORMED),  # digits, but not ASCII
]
ISSNS = [
    ("0378-5955", Form.RIGHT),  # 0*8+3*7+7*6+8*5+5*4+9*3+5*2+5 = 165 = 15*11
    ("2434-561X", Form.RIGHT),
    ("03785955", Form.UNUSUAL),
    ("0378-5954", Form.WRONG_CHECK_DIGIT),
    ("0378-595", Form.MALFORMED),
    ("", Form.MALFORMED),
]
LCCNS = [
    ("   85153773 ", Form.RIGHT),
    ("  2001627090", Form.RIGHT),
    ("agr25000003 ", Form.RIGHT),
    ("n  79021164 ", Form.RIGHT),
    ("no2001012345", Form.RIGHT),
    ("85153773", Form.UNUSUAL),
    ("2001627090", Form.UNUSUAL),
    ("85-2", Form.UNUSUAL),
    ("   75425165 //r75", Form.UNUSUAL),
    ("n 123", Form.MALFORMED),
    ("unknown", Form.MALFORMED),
    ("", Form.MALFORMED),
]


@pytest.mark.parametrize(("text", "form"), ISBNS)
def test_isbn(text: str, form: Form) -> None:
    """catalog 5"""
    assert isbn(text) is form


@pytest.mark.parametrize(("text", "form"), ISSNS)
def test_issn(text: str, form: Form) -> None:
    """catalog 5"""
    assert issn(text) is form


@pytest.mark.parametrize(("text", "form"), LCCNS)
def test_lccn(text: str, form: Form) -> None:
    """catalog 5"""
    assert lccn(text) is form
