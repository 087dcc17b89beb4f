"""The typed client: one method per REST call, answers as models and polars tables."""

from service.client.client import Client, Grid
from service.client.transport import ClientError, Unreachable

__all__ = ["Client", "ClientError", "Grid", "Unreachable"]
