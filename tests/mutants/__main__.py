"""Counts every mutant, and tells each on which the oracle and allframe differ: ``python -m tests.mutants [saga ...]``."""

from __future__ import annotations

import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.mutants.judging import judged
from tests.mutants.modules import apart
from tests.mutants.operators import mutants
from tests.mutants.sources import units
from tests.mutants.survivors import SURVIVORS


def count(name: str) -> tuple[Counter[str], list[str]]:
    """The figures of one saga, and its differences that are not listed."""
    unit = next(unit for unit in units() if unit.name == name)
    every = list(mutants(unit))
    figures, differences = Counter(texts=len(every)), []
    with apart():
        for each in judged(every):
            figures["programs"] += 1
            broken = any(fault.certain for fault in each.faults)
            figures["broken" if broken else "undecidable" if each.faults else "sound"] += 1
            figures["refused"] += each.answer.refused
            if each.difference:
                kind = f"{each.difference}, believed" if each.believed else each.difference
                figures[f"{kind}, {'listed' if each.mutant.name in SURVIVORS else 'not listed'}"] += 1
            if bool(each.difference) != (each.mutant.name in SURVIVORS):
                differences.append(str(each))
    return figures, differences


def main() -> None:
    names = sys.argv[1:] or [unit.name for unit in units()]
    total: Counter[str] = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for figures, differences in pool.map(count, names):
            total += figures
            print(*differences, sep="\n", end="\n" if differences else "", flush=True)
    print(", ".join(f"{what}: {number}" for what, number in total.items()))


if __name__ == "__main__":
    main()
