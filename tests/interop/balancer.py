"""A load balancer in front of two nodes, as small as it can be: sessions stick to their node."""

import asyncio
import re
import urllib.error
import urllib.request

from between import PATIENCE, Between, pipe


class Balancer(Between):
    """Sends new sessions to the first node that says it is ready, and the others where they began.

    Each connection carries one request, so that each request can go to the node it belongs to.
    """

    def __init__(self, nodes):
        self.nodes = nodes
        self.sessions = {}
        super().__init__()

    async def _meet(self, reader, writer):
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            session = re.search(rb"[?&]sid=([^& ]+)", head.split(b"\r\n")[0])
            node = self.sessions.get(session[1]) if session else await asyncio.to_thread(self._ready)
            if node is None:
                return
            host, port = node.removeprefix("http://").split(":")
            upstream, there = await asyncio.open_connection(host, int(port))
            if not re.search(rb"\r\nupgrade: *websocket", head, re.IGNORECASE):
                head = re.sub(rb"\r\nconnection:[^\r]*", b"", head, flags=re.IGNORECASE)
                head = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
            there.write(head)
            try:
                await asyncio.gather(pipe(reader, there), self._answer(upstream, writer, node))
            finally:
                there.close()
        except (OSError, asyncio.IncompleteReadError):
            # Whoever is gone has been told nothing, which is what a client must cope with.
            pass
        finally:
            writer.close()

    def _ready(self):
        for node in self.nodes:
            try:
                with urllib.request.urlopen(f"{node}/readyz", timeout=PATIENCE):
                    return node
            except (urllib.error.URLError, OSError):
                continue
        return None

    async def _answer(self, reader, writer, node):
        # The first bytes have the session's id, if it is a handshake's answer.
        start = b""
        while chunk := await reader.read(65536):
            if len(start) < 2000:
                start += chunk
                if found := re.search(rb'"sid":"([^"]+)","upgrades"', start):
                    self.sessions[found[1]] = node
            writer.write(chunk)
            await writer.drain()
        # The node has ended it, and so it has ended for the client, whatever that still sends.
        writer.close()
