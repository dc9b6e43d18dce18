"""What can go wrong with a feed besides what can go wrong with any repository.

::

    harvester.errors.HarvestError
    ├── Spoilt          this file can never be read as it is; reading it again helps nobody
    └── (Refused, NotDelivered, Interrupted, Busy, ... as for OAI-PMH)
"""

from __future__ import annotations

from harvester.errors import HarvestError


class Spoilt(HarvestError):
    """A file that cannot be read, or must not be: damaged, a bomb, names that wander, or of no known form."""
