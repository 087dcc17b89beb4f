"""Thin routers, one per resource: parse, call one store function, return."""
