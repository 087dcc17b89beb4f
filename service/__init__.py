"""Accepts grids, keeps the truth and answers questions; imports neither torch nor ray."""
