"""Two banks and the money between them: real participants for a saga, with every kind of trouble.

``bank`` is a participant: accounts in a SQLite database of its own. ``saga`` moves money from one to another.
``transfers`` lays out a folder with two banks and a few hundred transfers; ``report`` reads the two banks, and nothing
else, to say whether any money was lost, made or moved twice. ``allframe demo`` runs it all.
"""

from __future__ import annotations

from allframe.demo.bank import Bank, Banks, Trouble
from allframe.demo.saga import TransferMoney

__all__ = ["Bank", "Banks", "TransferMoney", "Trouble"]
