"""The canonical record that travels between the stations, and its readers. No database, no knowledge of validation.

In the order in which a payload passes them:

==============  ====================================================================================
``read``        which reader? by the name of the format, checked against the content
``marcxml``     MARCXML, with any namespace or none (``fastxml`` reads the plain case without a tree)
``iso2709``     ISO 2709, whole and damaged; ``characters`` turns its bytes into text (UTF-8, MARC-8)
``marcjson``    MARC-in-JSON
``bibframe``    BIBFRAME 2.0: a record per bf:Instance (``rdf`` is its graph, ``draft`` the fields as they are found,
                ``headings`` and ``mapping`` make them, ``vocabulary`` has the tables)
``model``       the record, its canonical JSON and its digest
``access``      typed access: title, contributors, identifiers, subjects, holdings, items
``write``       the record as MARCXML, ISO 2709 and MARC-in-JSON
``feeds``       files, SFTP drops and REST endpoints as records for the harvest's store
==============  ====================================================================================

No type of a MARC or RDF library leaves this package.
"""
