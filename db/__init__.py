"""The database: PostgreSQL, and nothing else.

==============  ======================================================================
``errors``      what can go wrong, as one tree; foreign errors become these
``accounts``    the system user that runs the embedded server
``programs``    PostgreSQL's own programs, from a wheel
``cluster``     the data folder of the embedded server
``embedded``    the embedded server: start, stop, state, recovery
``urls``        database URLs: read, masked, for other programs
``engine``      connect: WINDROW_DATABASE_URL or the embedded server; upgrade
``tables``      the whole data model on one page
``migrations``  Alembic: how the tables came to be
``check``       is the database as Windrow needs it?
``switches``    operator switches and alarms, read by every station
==============  ======================================================================
"""
