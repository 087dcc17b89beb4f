"""What a grid is, from bytes to trials: read, checked, expanded, fingerprinted, stacked and priced. Pure."""
