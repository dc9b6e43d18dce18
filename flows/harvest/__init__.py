"""The harvest station: the engine's store in PostgreSQL, a run of it, its Prefect flow, and the operators' desk.

==============  ====================================================================================
``statements``  the SQL of the store, each statement with a name
``store``       one answer of a repository, one transaction; the only writer of ``harvest.*``
``run``         engine, feeds, store and client put together; the command and the flow call it
``feeding``     sources that are not OAI-PMH, beside the engine (``feedpass`` is one pass, ``sharing`` what both share)
``tally``       what a run did, counted as it happens
``desk``        what operators ask and order: status, coverage, rewind, held deletions
``history``     what past passes cost, for simulations
``flow``        the Prefect flow and its artifacts
==============  ====================================================================================
"""
