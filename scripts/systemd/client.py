"""The least of a Socket.IO client over long-polling, from the standard library."""

import http.client
import json


class Client:
    """A client, which is connected when it is made."""

    def __init__(self, address=("127.0.0.1", 5000), timeout=30):
        self.connection = http.client.HTTPConnection(*address, timeout=timeout)
        self.target = "/socket.io/?EIO=4&transport=polling"
        self.target += f"&sid={json.loads(self.ask('GET')[1:])['sid']}"
        self.ask("POST", "40")
        answer = self.ask("GET")
        assert answer.startswith("40"), answer

    def ask(self, method, body=None):
        self.connection.request(method, self.target, body)
        response = self.connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise Refused(response.status, text)
        return text

    def subscribe(self, room):
        self.ask("POST", f'420{json.dumps(["subscribe", room])}')
        answer = self.ask("GET")
        assert answer == "430[]", answer


class Refused(Exception):
    """An answer other than 200."""
