"""The list of promises in the docs is the list of tests that hold them."""

from __future__ import annotations

from tests import points


def test_every_promise_has_a_test_that_names_it() -> None:
    named = points.mentions()
    missing = [f"{name} {number}" for name, promises in points.PROMISES.items() for number in promises if not named.get((name, number))]
    assert not missing


def test_the_docs_list_the_tests_as_they_are() -> None:
    page = points.PAGE.read_text(encoding="utf-8")
    assert page[page.index(points.MARK) + len(points.MARK) :].strip() == points.table().strip(), "run: python -m tests.points --write"
