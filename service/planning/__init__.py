"""Sweeps that look for the answer: what a grid asks to be found, and which points its rounds add. Pure."""
