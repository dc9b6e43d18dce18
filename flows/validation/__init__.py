"""The gate: which records are right, which may pass, and what of them may pass on.

In the order in which a record passes them:

================  ==================================================================================
``facts``         MARC 21 as a table (``marc21.txt``); ``codes`` the MARC code lists (``codes.txt``)
``findings``      every issue type, and a finding of one
``rules``         all rules on one record; the modules that it asks give ``notes``:
``fixed``         leader, 005, 006, 007, 008 by position
``structure``     tags, indicators, subfield codes
``values``        single values: ``numbers`` (ISBN, ISSN, LCCN), codes, links
``title``         245: punctuation, order, nonfiling characters
``linkage``       880 and $6
``text``          characters and encodings
``demands``       what a policy demands
``policies``      what holds for a source; ``policyfile`` reads ``policies.yaml``, ``paths`` its paths
``decisions``     quarantine and the anomaly gate, as values
``completeness``  a score per record
``privacy``       the scrubber: ``allowlist`` what passes, ``personal`` who is looked for, ``tokens``
``judge``         a payload through readers, rules and scrubber
``gate``          what waits is looked at before any of it passes
``store``         the station in PostgreSQL; ``statements`` its SQL
``station``       a run: notice, decide, feed, count
``quality``       figures by rule, source and day
``flow``          the same in Prefect; ``options`` its form
================  ==================================================================================
"""
