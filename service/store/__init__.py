"""The only SQL. Each function owns its transaction; only this package sees database exceptions."""
