"""Mutants of realistic sagas by operators that know no rule, and an oracle that says which of them are broken."""
