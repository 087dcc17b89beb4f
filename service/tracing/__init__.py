"""Tells an OpenTelemetry receiver, where NFA_OTLP_ENDPOINT names one, how experiments went: docs/decisions/0029."""
