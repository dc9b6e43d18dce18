"""The harvest engine: hundreds to thousands of OAI-PMH sources as one group-limited set.

A library of its own: no Prefect, no SQLAlchemy, no knowledge of MARC. Its modules, in the order in which a page passes
them:

==================  ==========================================================================================
``settings``        every environment variable, typed, with default and unit
``configuration``   ``sources.yaml`` and the environment -> ``Configuration``; every mistake at once, with its line
                    (``document``, ``forms``, ``keys``, ``feedkeys``, ``contradictions``, ``problems``, ``durations`` serve it)
``sources``         the frozen values: ``Source``, ``Group``, ``Configuration`` (with ``feeds``, ``blackouts``, ``secrets``)
``schedule``        which source next? the state machine of a group, pure
``course``          the values of a pass: windows, and the position in them
``windows``         how a history is cut into windows, and one halved, pure
``passes``          the rules of a pass: what to ask next, what an answer or a failure means, pure
``client``          one request over HTTP; where foreign errors become ours
``answers``         what an HTTP answer means
``oai``             OAI-PMH without I/O: requests, and bytes -> ``Page`` (``slices`` cuts the payloads out,
                    ``salvage`` reads a damaged page record by record, ``encoding`` turns it into UTF-8)
``politeness``      back-off, Retry-After, circuit breaker, pauses, rates, held deletions: decisions as values
``store``           where records go: the ``Store`` protocol, and one in memory
``engine``          the loop that executes all of these decisions (``seats`` is its state, ``rounds`` what it sees to
                    between pages)
``events``          what it tells whoever watches
``simulation``      the same engine in virtual time
``errors``          what can go wrong, as one tree
==================  ==========================================================================================

State. A source's state is in its ``Schedule`` entry (scheduling) and in its ``Memory`` (what is stored). Both change only
after a commit; a commit holds everything an answer changes. So a process may be killed at any moment.

The one-way path: request -> reply -> page -> step -> commit -> schedule. Nothing flows back except the next request.
"""
