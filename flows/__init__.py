"""The stations of Windrow and its command line.

Between stations there are only tables: ``flows.<station>`` imports the engine (``harvester``), the database (``db``), the
canonical record (``flows.catalog``) and itself, never another station. ``cli`` and ``commands`` may import everything.
"""
