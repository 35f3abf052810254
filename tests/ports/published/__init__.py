"""Those of the twenty that the checker refuses as they are published: `REFUSALS` has what it says of each, by its stored name.

Each stands here as it was first written, before the checker was run on any. What was changed for it to be accepted is in the
file of the same name in `tests.ports`.
"""

from __future__ import annotations

from tests.ports.published import clouds, cqrs, dbos, eventuate, sage, temporal
from tests.ports.published.refusals import REFUSALS

__all__ = ["REFUSALS", "clouds", "cqrs", "dbos", "eventuate", "sage", "temporal"]
