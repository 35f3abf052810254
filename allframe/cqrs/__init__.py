"""Who asks: commands, queries, aggregates, projections."""
