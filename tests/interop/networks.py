"""Networks that clients are behind: a proxy sees each of them with an address of its own."""

import asyncio
import threading

from balancer import PATIENCE


class Network:
    """Passes on connections to a port of this machine, from another address of it."""

    def __init__(self, address, port):
        self.address, self.port = address, port
        started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self.thread.start()
        assert started.wait(PATIENCE), "the network does not start"

    async def _serve(self, started):
        server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.url = f"https://{host}:{port}"
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        await self.stopping.wait()
        # What is still connected is cancelled with the loop.
        server.close()

    async def _meet(self, reader, writer):
        try:
            there = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
            await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))
        except OSError:
            # One side is gone, and the other is told by that.
            pass
        finally:
            writer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(PATIENCE)


async def pipe(reader, writer):
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()
