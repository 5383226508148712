"""The examples of access, with the files that they name: tokens, keys, and a provider that has some."""

import base64
import hashlib
import http.server
import json
import ssl
import subprocess
import threading
from pathlib import Path

from daemon import BINARY, Daemon

EXAMPLES = Path(__file__).parents[2] / "config/examples"
# Where the examples say that their files are.
FOLDER = "/etc/socketio-humble-broker"
KEY_ID = "2026-11"


def token_of(name):
    return f"the-token-of-{name}"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout


class Example:
    """One of the examples, and a daemon that runs by it, except for where things are."""

    def __init__(self, name, folder):
        self.folder = folder
        self.text = (EXAMPLES / name).read_text().replace(FOLDER, str(folder))
        self.environment = {}

    def _replace(self, old, new):
        assert old in self.text, old
        self.text = self.text.replace(old, new)

    def with_tokens(self, *names):
        for name in names:
            (self.folder / f"{name}.token").write_text(token_of(name) + "\n")
        return self

    def with_hash_of(self, name):
        self._replace("0" * 64, hashlib.sha256(token_of(name).encode()).hexdigest())
        return self

    def with_key(self, name):
        """Has tokens signed with a key of Ed25519; the public one is in the file `name`."""
        self.key = self.folder / "signing.pem"
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", self.key)
        run("openssl", "pkey", "-in", self.key, "-pubout", "-out", self.folder / name)
        return self

    def with_provider(self, provider):
        self.key = provider.key
        self._replace("https://id.example.com/.well-known/jwks.json", provider.url)
        # In the place of what this machine trusts.
        self.environment["SSL_CERT_FILE"] = str(provider.certificate)
        return self

    def sign(self, expires="1h", **claims):
        """A token with these claims; `sub`, `issuer` and `audience` as the command calls them."""
        command = [BINARY, "token", "sign", "--key-file", self.key, "--key-id", KEY_ID]
        for name in ("sub", "role", "issuer", "audience"):
            if name in claims:
                command += [f"--{name}", claims.pop(name)]
        for name, value in claims.items():
            command += ["--claim", f"{name}={value}"]
        return run(*command, "--expires", expires).decode().strip()

    def daemon(self):
        file = self.folder / "broker.toml"
        file.write_text(self.text)
        return Daemon("--config", file, environment=self.environment)


class Provider:
    """An identity provider, as far as the broker sees it: an address with a set of keys."""

    def __init__(self, folder):
        self.key = folder / "provider.pem"
        self.certificate = folder / "provider-certificate.pem"
        curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        run("openssl", "genpkey", *curve, "-out", self.key)
        public = run("openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER")
        # The point at the end: 4, x, y.
        x, y = public[-64:-32], public[-32:]
        jwk = {"kty": "EC", "crv": "P-256", "use": "sig", "kid": KEY_ID, "x": text(x), "y": text(y)}
        self.server = self._server(folder, json.dumps({"keys": [jwk]}).encode())
        self.url = f"https://localhost:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _server(self, folder, keys):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(keys)))
                self.end_headers()
                self.wfile.write(keys)

            def log_message(self, *_):
                pass

        key = folder / "provider-certificate-key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        # What signs itself is its own authority, and rustls takes none of those for a server.
        names += ["-addext", "basicConstraints=critical,CA:FALSE"]
        run(*command, *names, "-keyout", key, "-out", self.certificate)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return server

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def text(value):
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
