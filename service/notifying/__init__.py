"""Tells addresses outside, by signed POST requests, what became of experiments."""
