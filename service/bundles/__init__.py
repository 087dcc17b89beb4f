"""Studies as files: experiments written to one archive, checked, and brought into another store."""
