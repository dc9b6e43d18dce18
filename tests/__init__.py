"""Tests of Windrow, one folder per package; `fakes` holds the servers that stand in for the outside world."""
