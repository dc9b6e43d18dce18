"""Makes ``flows/validation/marc21.txt``, the compact table of MARC 21 facts, from Avram files and our own additions.

    python scripts/make_marc21.py BIBLIOGRAPHIC.avram.json AUTHORITY.avram.json [--check]

The Avram files hold the Library of Congress lists of fields. ``scripts/marc21_additions.txt``, in the form of the table
itself, holds what they leave out: holdings fields, holdings fixed fields, the authority 042, leader constants. Codes of
006 are those of 008 seventeen positions further on, as the format says. ``--check`` writes nothing and fails when the
table is not what would be written.

The form of the table, columns separated by tabs:

- ``@bibliographic`` begins a format.
- ``TAG  FLAGS  LABEL  INDICATOR1  INDICATOR2  SUBFIELDS`` is a field. Flags: ``1`` not repeatable, ``+`` repeatable,
  ``!`` obsolete, ``~`` local. An indicator is ``CODES LABEL``, ``#`` for blank, obsolete codes after ``!``, ``*`` for
  "as the linked field"; ``-`` where the format defines none. Subfields are separated by ``|``, each ``CODE FLAGS LABEL``
  without the first blank; ``-`` where the format lists none.
- ``>  TYPE  FIRST-LAST  FLAGS  LABEL  CODES  OBSOLETE`` is a group of positions of the field above it. TYPE is ``*`` where
  there is one only. ``:abc`` lists characters of which each position holds one; ``=ab,cd`` lists values of the group.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "flows" / "validation" / "marc21.txt"
ADDITIONS = ROOT / "scripts" / "marc21_additions.txt"
FORM_TYPES = {"Computer Files/Electronic Resources": "Computer Files"}  # what 006 calls otherwise than 008
SHIFT = 17  # 006/01 is 008/18
MATERIALS = re.compile(r" \((?:[A-Z]{2} ?)+\)$")  # for which materials an obsolete field was
HEADER = "# MARC 21 in short; made by scripts/make_marc21.py, which explains the columns. Do not edit: edit the additions and run it.\n"


def shown(codes: str) -> str:
    """Codes with blanks written as ``#``."""
    return codes.replace(" ", "#")


def label_of(text: str, *, of_field: bool = False) -> str:
    """A label without the signs of the table; that of a field, which the list has in capitals, as one would write it."""
    plain = MATERIALS.sub("", text) if of_field else text
    plain = plain.capitalize() if of_field and plain.isupper() else plain
    return plain.replace("\t", " ").replace("|", "/").removeprefix("- ").strip()


def flags_of(entry: dict[str, Any], *, obsolete: bool = False) -> str:
    """Repeatability and standing of a field or subfield; repeatable where the list does not say."""
    flags = "+" if entry.get("repeatable", True) else "1"
    return flags + ("!" if obsolete or entry.get("obsolete") else "") + ("~" if entry.get("local") else "")


def indicator_of(field: dict[str, Any], name: str) -> str:
    """One indicator as a cell."""
    now = field.get(name)
    if not now:
        return "-"
    codes = [code for code in now.get("codes", {}) if len(code) == 1]
    former = [code for code in now.get("historical-codes", {}) if len(code) == 1]
    for past in field.get(f"historical-{name}", []):
        former += [code for code in {**past.get("codes", {}), **past.get("historical-codes", {})} if len(code) == 1]
    cell = "*" if not codes else "".join(sorted(codes))
    obsolete = "".join(sorted(set(former) - set(codes)))
    return f"{shown(cell)}{'!' + shown(obsolete) if obsolete else ''} {label_of(now['label'])}"


def subfields_of(field: dict[str, Any]) -> str:
    """All subfields as a cell; a code that is both current and obsolete is current."""
    now, former = field.get("subfields", {}), field.get("historical-subfields", {})
    cells = [f"{code}{flags_of(entry)} {label_of(entry['label'])}" for code, entry in now.items()]
    cells += [f"{code}{flags_of(entry, obsolete=True)} {label_of(entry['label'])}" for code, entry in former.items() if code not in now]
    return "|".join(cells) or "-"


def codes_of(position: dict[str, Any], key: str) -> str:
    """The codes of a group of positions as a cell, empty where the format lists none.

    A code as long as the group is a value of it; codes of one character fill each position. ``0-9`` and ``001-999`` are ranges.
    """
    codes = list(position.get(key, {}))
    width = position["end"] - position["start"] + 1
    if not codes:
        return ""
    if width > 1 and any(len(code) == width or "-" in code[1:-1] for code in codes if code != "0-9"):
        return "=" + ",".join(shown(code * width if len(code) == 1 else code) for code in codes)
    return ":" + shown("".join("0123456789" if code == "0-9" else code for code in codes))


def positions_of(field: dict[str, Any], fixed: dict[str, Any]) -> Iterator[str]:
    """One line per group of positions; codes of 006 come from 008."""
    kinds = field.get("types") or ({"*": field} if "positions" in field else {})
    for kind, body in kinds.items():
        for spread, position in body["positions"].items():
            if field["tag"] == "LDR" and "Entry map" not in position["label"] and spread in ("00-02", "03-06", "07-11"):
                continue  # the directory, which the list has under the leader
            first, last = position["start"], position["end"]
            source = position
            if field["tag"] == "006" and first:
                like = fixed["types"][FORM_TYPES.get(kind, kind)]["positions"]
                source = next((each for each in like.values() if each["start"] == first + SHIFT and each["end"] == last + SHIFT), position)
            flags = "!" if position.get("obsolete") else ""
            name = FORM_TYPES.get(kind, kind)
            yield "\t".join(
                (
                    ">",
                    name,
                    f"{first:02}-{last:02}",
                    flags or "-",
                    label_of(position["label"]),
                    codes_of(source, "codes") or "-",
                    codes_of(source, "historical-codes") or "-",
                )
            )


def lines_of(avram: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every line of a format, each with the tag it belongs to."""
    fields = avram["fields"]
    for tag, field in fields.items():
        cells = (
            tag,
            flags_of(field),
            label_of(field["label"], of_field=True),
            indicator_of(field, "indicator1"),
            indicator_of(field, "indicator2"),
        )
        yield tag, "\t".join((*cells, subfields_of(field)))
        for line in positions_of(field, fields.get("008", {})):
            yield tag, line


def additions() -> dict[str, dict[str, list[str]]]:
    """Our own lines by format and tag."""
    found: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    tag = ""
    for line in ADDITIONS.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("# "):
            continue
        if line.startswith("@"):
            current = found.setdefault(line[1:], {})
            continue
        if not line.startswith(">"):
            tag = line.split("\t")[0]
        current.setdefault(tag, []).append(line)
    return found


def merged(lines: Iterator[tuple[str, str]], ours: dict[str, list[str]]) -> Iterator[str]:
    """The lines of a format; a tag of ours replaces that of the list, and its positions where it has some."""
    by_tag: dict[str, list[str]] = {}
    for tag, line in lines:
        by_tag.setdefault(tag, []).append(line)
    for tag, own in ours.items():
        kept = [line for line in by_tag.get(tag, []) if line.startswith(">")]
        if own[0].startswith(f"{tag}\t="):  # only positions are added
            spreads = {tuple(line.split("\t")[1:3]) for line in own[1:]}
            before = [line for line in by_tag[tag] if tuple(line.split("\t")[1:3]) not in spreads]
            by_tag[tag] = before + own[1:]
        else:
            by_tag[tag] = own[:1] + (own[1:] or kept)
    for tag in sorted(by_tag, key=lambda each: (each != "LDR", each)):
        yield from by_tag[tag]


def table(bibliographic: dict[str, Any], authority: dict[str, Any]) -> str:
    """The whole table as text."""
    ours = additions()
    # A holdings record uses these fields of the bibliographic list besides its own.
    shared = set(ours["holdings"].pop("shared")[0].split("\t")[1].split())
    taken = {**bibliographic, "fields": {tag: field for tag, field in bibliographic["fields"].items() if tag in shared}}
    own_of_bibliographic = {tag: lines for tag, lines in ours["bibliographic"].items() if tag in shared}
    holdings = {**own_of_bibliographic, **ours["holdings"]}
    parts = {
        "bibliographic": merged(lines_of(bibliographic), {**ours["bibliographic"], **_fields_only(ours["holdings"])}),
        "holdings": merged(lines_of(taken), holdings),
        "authority": merged(lines_of(authority), ours["authority"]),
    }
    return HEADER + "".join(f"@{name}\n" + "".join(f"{line}\n" for line in lines) for name, lines in parts.items())


def _fields_only(ours: dict[str, list[str]]) -> dict[str, list[str]]:
    """Holdings fields that may stand in a bibliographic record, too: 84X to 87X."""
    return {tag: lines for tag, lines in ours.items() if tag.isdigit() and tag >= "841"}


def main() -> int:
    """Writes or checks the table."""
    parser = argparse.ArgumentParser(description="Makes the compact table of MARC 21 facts.")
    parser.add_argument("bibliographic", type=Path)
    parser.add_argument("authority", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the table is out of date")
    chosen = parser.parse_args()
    text = table(*(json.loads(path.read_text(encoding="utf-8")) for path in (chosen.bibliographic, chosen.authority)))
    if chosen.check:
        return 0 if TABLE.read_text(encoding="utf-8") == text else 1
    TABLE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
