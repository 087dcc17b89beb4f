"""The typed clients, blocking and for asyncio: one method per REST call, answers as models and polars tables."""

from service.client.asynchronous import AsyncClient
from service.client.client import Client, Grid
from service.client.transport import ClientError, Unreachable

__all__ = ["AsyncClient", "Client", "ClientError", "Grid", "Unreachable"]
