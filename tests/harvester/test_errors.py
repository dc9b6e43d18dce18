"""One tree of errors, drawn in its module's docstring."""

from __future__ import annotations

import inspect
import re

import pytest
from sickle import oaiexceptions

from harvester import errors
from harvester.errors import BY_CODE, HarvestError, ProtocolError, protocol_error

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
}


def test_every_error_stands_in_the_tree_and_under_its_root() -> None:
    """harvest 15: whoever catches HarvestError catches everything that is raised on purpose."""
    tree = (errors.__doc__ or "").partition("::")[2].partition("Foreign errors")[0]
    drawn = set(re.findall(r"\b[A-Z][A-Za-z]+\b", tree.replace("OAI error", "").replace("XML", "").replace("HTML", "")))
    assert set(CLASSES) <= drawn
    assert all(issubclass(each, HarvestError) for each in CLASSES.values())


def test_the_depth_of_each_error_in_the_drawing_is_that_of_its_class() -> None:
    """harvest 15"""
    lines = (errors.__doc__ or "").partition("::")[2].partition("Foreign errors")[0].splitlines()
    for line in lines:
        found = re.match(r"([\s│├└─]*)([A-Z]\w+(?:  [A-Z]\w+)*)(?:\s{2,}|$)", line)
        if not found:
            continue
        depth = (len(found[1]) - 4) // 4
        for name in found[2].split():
            parents = [each for each in CLASSES[name].__mro__ if each in CLASSES.values()]
            assert len(parents) == depth + 1, f"{name} is drawn at depth {depth}"


@pytest.mark.parametrize("code", BY_CODE)
@pytest.mark.parametrize("spelt", [str.lower, str.upper, str.title, lambda code: f"  {code}\n"])
def test_codes_are_known_in_any_case_and_keep_their_spelling(code: str, spelt: object) -> None:
    """harvest 13"""
    written = spelt(code)  # type: ignore[operator]
    error = protocol_error(written, " the message ")
    assert type(error) is BY_CODE[code]
    assert error.code == written.strip()
    assert str(error) == f"{written.strip()}: the message"


@pytest.mark.parametrize("code", ["", "internalError", "bad argument"])
def test_an_unknown_code_is_a_protocol_error_and_nothing_more(code: str) -> None:
    """harvest 13"""
    assert type(protocol_error(code, "")) is ProtocolError


def test_code_written_for_sickle_catches_ours() -> None:
    """harvest 13"""
    for each in BY_CODE.values():
        assert any(parent.__module__ == oaiexceptions.__name__ for parent in each.__mro__)
    with pytest.raises(oaiexceptions.NoRecordsMatch):
        raise protocol_error("noRecordsMatch", "")
