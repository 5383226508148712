"""What stands between clients and nodes, in a thread of its own: it is asked for each connection."""

import asyncio
import threading

# How long the other side may take to say anything that is waited for.
PATIENCE = 30


class Between:
    """Listens on a free port; `_meet` says what becomes of a connection."""

    scheme = "http"

    def __init__(self):
        started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self.thread.start()
        assert started.wait(PATIENCE), f"the {type(self).__name__.lower()} does not start"

    async def _serve(self, started):
        server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.url = f"{self.scheme}://{host}:{port}"
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        await self.stopping.wait()
        # What is still connected is cancelled with the loop.
        server.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(PATIENCE)


async def pipe(reader, writer):
    """Passes on what comes, and its end."""
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()
