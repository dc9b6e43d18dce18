"""What rules and scrubber both need to know of a record, gathered in one pass over it: this is where their time goes."""

from __future__ import annotations

from typing import Final, TypeAlias

from flows.catalog.model import BibRecord

Row: TypeAlias = tuple[str, str, str, tuple[str, ...]]

ALTERNATE: Final = "880"


class Look:
    """One record, looked over once."""

    __slots__ = ("linked", "rows", "tags", "text", "values")

    def __init__(self, record: BibRecord) -> None:
        self.rows: list[Row] = []
        """Per data field: tag, indicators and subfield codes. The tag of an 880 is ``880>`` and the tag it stands for."""
        self.tags: list[str] = []
        """Per data field: its tag as it is."""
        self.values: list[str] = []
        """All values of subfields."""
        self.linked: list[int] = []
        """Places of the data fields with $6."""
        rows, tags, values = self.rows, self.tags, self.values
        for field in record.data_fields:
            tag = field.tag
            tags.append(tag)
            codes: tuple[str, ...] = ()
            if field.subfields:
                codes, its = zip(*field.subfields, strict=False)
                values += its
                if "6" in codes:
                    self.linked.append(len(rows))
            if tag == ALTERNATE:
                tag = f"{tag}>{target_of(field.first('6'))}"
            rows.append((tag, field.ind1, field.ind2, codes))
        self.text = " ".join(values)
        """All values together, to see at once that there is nothing to see."""


def target_of(linkage: str | None) -> str:
    """The tag that $6 of an 880 names; empty when it names none."""
    return linkage[:3] if linkage and linkage[:3].isdigit() and linkage[:3].isascii() else ""
