"""The measures of the specification, side by side in one run: ``python -m bench [--quick]``.

=================  ====================================================================================
``measuring``      rows, medians, rounds, the throw-away database, the table
``contender``      one harvest in a process of its own: Windrow, a peer or the floor
``peers``          what others do: two loops around sickle; and the floor
``limits``         requests in flight, as a server sees them
``makespan``       how far from the ideal, in simulation and on loopback
``throughput``     records a second from HTTP to committed rows, against peers and the floor
``memory``         resident memory of a small and of a large harvest
``bloat``          dead tuples after a pass that changed nothing
=================  ====================================================================================
"""
