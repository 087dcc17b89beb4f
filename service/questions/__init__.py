"""What can be asked of results: filters, reductions, claims and their fits, tables and statistics. Pure."""
