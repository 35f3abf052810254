"""Whether values come back from JSON: of a type, found out by trying; of one value, the place where it does not."""
