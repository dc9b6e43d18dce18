"""The operator's desk: what is stored about every source, explained, and the few things that people change in it.

===============  ==================================================================================
``statements``   the SQL
``store``        ``Desk``: reads the harvest's tables; pauses, resumes, rewinds, resets, decides
``standing``     where a source stands, from what is stored, configured and paused
``explanation``  the same in sentences
``coverage``     which spans of datestamps the ledger of windows covers, and its gaps
``errand``       one record, asked for now
===============  ==================================================================================

An engine may run all the while. What changes the course of a source also raises its ``epoch``; a page that the engine
fetched under the old one is then not saved, and the engine goes on from what is stored.
"""
