"""Feeds that are not OAI-PMH: files in a folder or on an SFTP server, and the pages of a REST endpoint.

In the order in which a record passes them:

==============  ====================================================================================
``folder``      the port: which files are there, fetch one, put one away; and a folder of this machine
``sftp``        the same on an SFTP server, whose key is checked
``plan``        which of the files are to be read now, and which are still being written, pure
``archives``    what is inside a file: itself, or the members of a zip; bombs and wandering names are refused
``batches``     a file as batches of records, in bounded memory; one bad record costs only itself
``pages``       the pages of a REST endpoint (``paths`` finds things in its answers)
``identify``    what a payload is called, and whether it is a deletion
``errors``      what can be wrong with a file
==============  ====================================================================================

What comes out are ``harvester.oai.Record`` values, the same that OAI-PMH gives, for the same store.
"""
