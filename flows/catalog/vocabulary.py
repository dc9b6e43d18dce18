"""BIBFRAME's names and MARC's tags: the tables of the mapping, and what is known and not mapped.

Source: BIBFRAME 2.0 vocabulary and MARC 21 to BIBFRAME 2.0 Conversion Specifications (Library of Congress), read backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# class of an identifier -> tag, first indicator, code of $2 where the tag needs one
IDENTIFIERS: Final[Mapping[str, tuple[str, str, str]]] = {
    "bf:Lccn": ("010", " ", ""),
    "bf:CopyrightNumber": ("017", " ", ""),
    "bf:CopyrightRegistration": ("017", " ", ""),
    "bf:LegalDeposit": ("017", " ", ""),
    "bf:Nbn": ("015", " ", ""),
    "bf:Isbn": ("020", " ", ""),
    "bf:Issn": ("022", " ", ""),
    "bf:IssnL": ("022", " ", ""),
    "bf:Isrc": ("024", "0", ""),
    "bf:Upc": ("024", "1", ""),
    "bf:Ismn": ("024", "2", ""),
    "bf:Ean": ("024", "3", ""),
    "bf:Sici": ("024", "4", ""),
    "bf:Ansi": ("024", "7", "ansi"),
    "bf:Doi": ("024", "7", "doi"),
    "bf:Eidr": ("024", "7", "eidr"),
    "bf:Gtin14Number": ("024", "7", "gtin-14"),
    "bf:Hdl": ("024", "7", "hdl"),
    "bf:Isan": ("024", "7", "isan"),
    "bf:Isni": ("024", "7", "isni"),
    "bf:Iso": ("024", "7", "iso"),
    "bf:Istc": ("024", "7", "istc"),
    "bf:Iswc": ("024", "7", "iswc"),
    "bf:Urn": ("024", "7", "urn"),
    "bf:Uri": ("024", "7", "uri"),
    "bf:Fingerprint": ("026", " ", ""),
    "bf:Strn": ("027", " ", ""),
    "bf:AudioIssueNumber": ("028", "0", ""),
    "bf:MatrixNumber": ("028", "1", ""),
    "bf:MusicPlate": ("028", "2", ""),
    "bf:MusicPublisherNumber": ("028", "3", ""),
    "bf:VideoRecordingNumber": ("028", "4", ""),
    "bf:PublisherNumber": ("028", "5", ""),
    "bf:MusicDistributorNumber": ("028", "6", ""),
    "bf:Coden": ("030", " ", ""),
    "bf:PostalRegistration": ("032", " ", ""),
    "bf:OclcNumber": ("035", " ", ""),
    "bf:Local": ("035", " ", ""),
    "bf:StudyNumber": ("036", " ", ""),
    "bf:StockNumber": ("037", " ", ""),
    "bf:ReportNumber": ("088", " ", ""),
}

CLASSIFICATIONS: Final[Mapping[str, str]] = {
    "bf:ClassificationLcc": "050",
    "bf:ClassificationNlm": "060",
    "bf:ClassificationUdc": "080",
    "bf:ClassificationDdc": "082",
    "bf:ClassificationSudoc": "086",
    "bf:Classification": "084",
}

PROVISIONS: Final[Mapping[str, str]] = {"bf:Production": "0", "bf:Publication": "1", "bf:Distribution": "2", "bf:Manufacture": "3"}

# last part of the IRI of a note's type -> tag; any other note is 500
NOTES: Final[Mapping[str, str]] = {
    "with": "501", "biblio": "504", "bibliography": "504", "creditnote": "508", "credits": "508", "refcitation": "510",
    "participants": "511", "report": "513", "number": "515", "computer": "516", "capture": "518", "supplement": "525",
    "study": "526", "addphys": "530", "otherphys": "530", "repro": "533", "orig": "534", "loc": "535", "finance": "536",
    "systemreq": "538", "system": "538", "systemdetails": "538", "related": "544", "biogdata": "545", "language": "546",
    "lang": "546", "formertitle": "547", "issuing": "550", "issuingbody": "550", "index": "555", "find": "555", "doc": "556",
    "copy": "562", "binding": "563", "casefile": "565", "method": "567", "linking": "580", "publications": "581", "pub": "581",
    "action": "583", "accumulation": "584", "exhibit": "585", "award": "586", "descsource": "588", "datasource": "588",
}  # fmt: skip

# last part of the IRI of a relationship -> tag; any other related resource is 787
RELATIONSHIPS: Final[Mapping[str, str]] = {
    "subseriesof": "760", "subseries": "762", "hassubseries": "762", "translationof": "765", "translatedas": "767",
    "supplement": "770", "hassupplement": "770", "supplementto": "772", "partof": "773", "part": "774", "constituent": "774",
    "otheredition": "775", "otherphysicalformat": "776", "issuedwith": "777", "precededby": "780", "continues": "780",
    "replacementof": "780", "mergerof": "780", "absorptionof": "780", "separatedfrom": "780", "succeededby": "785",
    "continuedby": "785", "replacedby": "785", "mergedtoform": "785", "absorbedby": "785", "splitinto": "785", "datasource": "786",
}  # fmt: skip

SERIES: Final = frozenset({"series", "inseries", "hasseries"})

RECORD_TYPES: Final[Mapping[str, str]] = {
    "bf:NotatedMusic": "c", "bf:Cartography": "e", "bf:MovingImage": "g", "bf:NonMusicAudio": "i", "bf:MusicAudio": "j",
    "bf:StillImage": "k", "bf:Multimedia": "m", "bf:Dataset": "m", "bf:Kit": "o", "bf:MixedMaterial": "p", "bf:Object": "r",
    "bf:Audio": "i", "bf:Text": "a",
}  # fmt: skip
MANUSCRIPT: Final[Mapping[str, str]] = {"a": "t", "c": "d", "e": "f"}
ISSUANCE: Final[Mapping[str, str]] = {"mono": "m", "mulm": "m", "serl": "s", "intg": "i"}

SCHEMES: Final[Mapping[str, str]] = {
    "http://id.loc.gov/authorities/subjects": "lcsh",
    "http://id.loc.gov/vocabulary/subjectSchemes/lcsh": "lcsh",
    "http://id.loc.gov/authorities/childrensSubjects": "lcshac",
    "http://id.loc.gov/vocabulary/subjectSchemes/cyac": "lcshac",
    "http://id.loc.gov/vocabulary/subjectSchemes/mesh": "mesh",
    "http://id.nlm.nih.gov/mesh": "mesh",
    "http://id.loc.gov/vocabulary/subjectSchemes/nal": "nal",
    "http://id.loc.gov/authorities/genreForms": "lcgft",
    "http://id.loc.gov/authorities/names": "naf",
    "http://id.worldcat.org/fast": "fast",
}
SCHEME_INDICATORS: Final[Mapping[str, str]] = {"lcsh": "0", "naf": "0", "lcshac": "1", "mesh": "2", "nal": "3", "cash": "5", "rvm": "6"}

# class of a subject, or of the first part of a complex one -> tag
SUBJECTS: Final[Mapping[str, str]] = {
    "bf:Person": "600", "madsrdf:PersonalName": "600", "bf:Family": "600", "madsrdf:FamilyName": "600", "bf:Organization": "610",
    "bf:Jurisdiction": "610", "madsrdf:CorporateName": "610", "bf:Meeting": "611", "madsrdf:ConferenceName": "611", "bf:Work": "630",
    "bf:Hub": "630", "madsrdf:Title": "630", "madsrdf:NameTitle": "600", "bf:Temporal": "648", "madsrdf:Temporal": "648",
    "bf:Place": "651", "madsrdf:Geographic": "651", "madsrdf:HierarchicalGeographic": "662", "bf:GenreForm": "655",
    "madsrdf:GenreForm": "655", "bf:Topic": "650", "madsrdf:Topic": "650",
}  # fmt: skip
SUBDIVISIONS: Final[Mapping[str, str]] = {
    "madsrdf:Geographic": "z",
    "madsrdf:Temporal": "y",
    "madsrdf:GenreForm": "v",
    "madsrdf:Topic": "x",
}
SHELF_MARKS: Final[Mapping[str, str]] = {"bf:ShelfMarkLcc": "0", "bf:ShelfMarkDdc": "1", "bf:ShelfMarkNlm": "2", "bf:ShelfMark": " "}

# predicate -> fields, in the words of the page docs/bibframe.md; a test holds it against what the mapping asks for
MAPPED: Final[Mapping[str, str]] = {
    "rdf:type": "the class decides on tag, indicators, leader/06 and leader/07",
    "rdfs:label": "text of the node it stands on",
    "rdf:value": "text of the node it stands on; `identifiedBy`: $a, or $z when cancelled or incorrect",
    "bf:code": "code of the node it stands on ($2, 003, 040)",
    "skos:prefLabel": "text of the node it stands on",
    "madsrdf:authoritativeLabel": "text of the node it stands on",
    "madsrdf:componentList": "6XX: heading and subdivisions, $v $x $y $z by the class of each part",
    "rdf:first": "part of a list",
    "rdf:rest": "the rest of a list",
    "madsrdf:isMemberOfMADSScheme": "6XX second indicator and $2",
    "bf:source": "$2, and the second indicator of 6XX",
    "bf:hasInstance": "one record per instance; related works: their instance's data",
    "bf:instanceOf": "the work of the record",
    "bf:hasItem": "852, 876",
    "bf:itemOf": "852, 876",
    "bf:adminMetadata": "001, 003, 005, 008/00-05, leader/05, /17, /18, 040, 042",
    "bf:identifiedBy": "010 to 037 and 088 by class; in `adminMetadata` 001; in related works $w $x $z; 876 $p of items",
    "bf:assigner": "003; 028 $b; prefix of 035 $a; 050 second indicator",
    "bf:agent": "name of a contribution (1XX, 7XX); 040 $a; publisher (264 $b)",
    "bf:date": "005, 008/00-05; 264 $c and 008/06-14",
    "bf:status": "leader/05; $z of identifiers; 490 first indicator",
    "bf:generationProcess": "marks the dates of a conversion, which are not those of the record",
    "bf:creationDate": "008/00-05",
    "bf:changeDate": "005",
    "bf:descriptionConventions": "leader/18, 040 $e",
    "bf:descriptionLanguage": "040 $b",
    "bf:descriptionModifier": "040 $d",
    "bf:descriptionAuthentication": "042",
    "bflc:encodingLevel": "leader/17",
    "bf:note": "5XX by the type of the note; 300 $b of `extent`; 040 of `adminMetadata`; 852 $z of items; $n of related works",
    "bflc:citation": "510 $c",
    "bf:title": "245, 246, 210, 222, 243; 490 and 76X-78X $t",
    "bf:mainTitle": "$a of the title",
    "bf:subtitle": "$b of the title",
    "bf:partNumber": "$n of the title",
    "bf:partName": "$p of the title",
    "bf:variantType": "246 second indicator",
    "bflc:nonSortNum": "245 second indicator",
    "bf:qualifier": "$q of identifiers; 222 $b; $c of related works",
    "bf:acquisitionTerms": "$c of identifiers",
    "bf:responsibilityStatement": "245 $c",
    "bf:editionStatement": "250 $a",
    "bf:edition": "082 first indicator; $b of related works",
    "bf:contribution": "1XX when primary, otherwise 7XX",
    "bflc:marcKey": "the exact field",
    "bf:role": "$e and $4",
    "bf:relation": "7XX and 8XX with a marcKey, 490, 76X-78X",
    "bf:relationship": "tag of the related resource",
    "bf:associatedResource": "the related resource",
    "bf:seriesEnumeration": "490 and 8XX $v",
    "bf:seriesStatement": "490",
    "bf:expressionOf": "130, 240",
    "bf:provisionActivity": "264, 008/06-17",
    "bf:provisionActivityStatement": "$d of related works",
    "bf:publicationStatement": "264 when there is no provision activity",
    "bflc:simplePlace": "264 $a",
    "bflc:simpleAgent": "264 $b",
    "bflc:simpleDate": "264 $c",
    "bf:place": "008/15-17; 264 $a",
    "bf:copyrightDate": "264 second indicator 4, $c",
    "bf:originDate": "008/11-14",
    "bf:extent": "300 $a",
    "bf:dimensions": "300 $c",
    "bf:content": "336",
    "bf:media": "337",
    "bf:carrier": "338",
    "bf:issuance": "leader/07",
    "bf:frequency": "310",
    "bf:language": "008/35-37, 041",
    "bf:part": "041: what the language is of",
    "bf:subject": "600, 610, 611, 630, 648, 650, 651",
    "bf:genreForm": "655",
    "bf:geographicCoverage": "043, 522",
    "bf:classification": "050, 060, 080, 082, 084, 086",
    "bf:classificationPortion": "$a of the classification",
    "bf:itemPortion": "$b of the classification",
    "bf:summary": "520",
    "bf:tableOfContents": "505",
    "bf:intendedAudience": "521",
    "bf:preferredCitation": "524",
    "bf:usageAndAccessPolicy": "506, 540",
    "bf:custodialHistory": "561",
    "bf:immediateAcquisition": "541",
    "bf:awards": "586",
    "bf:credits": "508",
    "bf:musicMedium": "382",
    "bf:musicKey": "384",
    "bf:scale": "507",
    "bf:duration": "306",
    "bf:dissertation": "502",
    "bf:degree": "502 $b",
    "bf:grantingInstitution": "502 $c",
    "bf:electronicLocator": "856 $u",
    "bf:heldBy": "852 $a",
    "bf:sublocation": "852 $b",
    "bf:physicalLocation": "852 $b",
    "bf:noteType": "510 $3",
    "bflc:locator": "856 $u",
    "bf:shelfMark": "852 $h",
    "bf:barcode": "876 $p",
    "bf:enumerationAndChronology": "876 $3",
}  # fmt: skip

# predicate -> why no field is made of it
NOT_MAPPED: Final[Mapping[str, str]] = {
    "bf:descriptionLevel": "names the version of the vocabulary, nothing of the record",
    "bf:fontSize": "340 $n has no counterpart in the core; the note in 300 $a or 500 says it",
    "bf:illustrativeContent": "made from 008/18-21; 300 $b says it in words",
    "bf:soundContent": "made from 007; 300 $b says it in words",
    "bf:soundCharacteristic": "made from 007; 300 $b says it in words",
    "bf:colorContent": "made from 007; 300 $b says it in words",
    "bf:supplementaryContent": "made from 008; notes say it in words",
    "bf:baseMaterial": "made from 007 and 340; 300 $b says it in words",
    "bf:temporalCoverage": "EDTF intervals; 045 has another notation",
    "bf:hasPart": "of works inside the record; analytical headings come from `relation`",
    "bf:hasExpression": "other works, which are no part of this record",
    "bf:derivedFrom": "the conversion's own trace",
    "bf:descriptionAuthority": "no counterpart in MARC 21",
    "bflc:applicableInstitution": "the exact heading of `bflc:marcKey` has it as $5",
    "bflc:aap": "a normalised form of the heading, which `bflc:marcKey` gives exactly",
    "bflc:aap-normalized": "a normalised form of the heading, which `bflc:marcKey` gives exactly",
    "bflc:readMarc382": "a text made from 382, which `musicMedium` gives",
    "bflc:titleSortKey": "a normalised form of the title",
    "madsrdf:isIdentifiedByAuthority": "the IRI of the heading is enough",
}
