"""The `nfa` command."""
