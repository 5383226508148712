"""Networks that clients are behind: a proxy sees each of them with an address of its own."""

import asyncio

from between import Between, pipe


class Network(Between):
    """Passes on connections to a port of this machine, from another address of it."""

    scheme = "https"

    def __init__(self, address, port):
        self.address, self.port = address, port
        super().__init__()

    async def _meet(self, reader, writer):
        try:
            there = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
            await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))
        except OSError:
            # One side is gone, and the other is told by that.
            pass
        finally:
            writer.close()
