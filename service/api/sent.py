"""What was sent in answer to a request, for ASGI middleware that speaks of it afterwards."""

from starlette.types import Message, Send


class Sent:
    """Passes an answer on, and notes its status: 500 until there is one, as for an error that nobody caught."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 500

    async def __call__(self, message: Message) -> None:
        """In place of `send`."""
        self.status = message.get("status", self.status)
        await self._send(message)
