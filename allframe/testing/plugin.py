"""The pytest plugin, by its name in the package: ``pytest -p allframe.testing.plugin``.

It is the module `pytest_allframe`, which pytest finds by itself where allframe is installed. To have both does no harm.
"""

from __future__ import annotations

pytest_plugins = ("pytest_allframe",)
