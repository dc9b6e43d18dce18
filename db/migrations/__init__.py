"""Alembic's migrations: the history of the data model.

==================  ==========================================================================
``run``             upgrade and downgrade on a given connection, without any alembic.ini
``env``             what Alembic calls: the versions on that connection, in its transaction
``versions``        one frozen module per step; none imports ``db.tables``, which moves on
==================  ==========================================================================
"""
