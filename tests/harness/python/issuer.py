"""Stands in for an issuer of tokens: discovery, keys, and JSON Web Tokens for whoever asks.

usage: issuer.py PORT

    GET /.well-known/openid-configuration   what it is, as OpenID Connect says
    GET /jwks                               its public key
    GET /issue?subject=S&lifetime=SECONDS   a signed token; a lifetime below zero has passed
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse
from uuid import uuid4

from Cryptodome.PublicKey import RSA
from jwkest.jwk import RSAKey
from jwkest.jws import JWS

PORT = int(sys.argv[1])
ISSUER = f"http://127.0.0.1:{PORT}"
KEY = RSAKey(key=RSA.generate(2048), kid="harness", use="sig", alg="RS256")
KEY.serialize()
CONFIGURATION = {
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/jwks",
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "response_types_supported": ["code"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlparse(self.path)
        if url.path == "/.well-known/openid-configuration":
            return self.answer("application/json", json.dumps(CONFIGURATION))
        if url.path == "/jwks":
            return self.answer("application/json", json.dumps({"keys": [KEY.serialize()]}))
        if url.path == "/issue":
            asked = parse_qs(url.query)
            return self.answer("application/jwt", token(asked["subject"][0], int(asked["lifetime"][0])))
        self.send_error(404)

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


def token(subject, lifetime):
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": subject,
        "aud": "rucio",
        "scope": "openid profile",
        "iat": now,
        "nbf": now,
        "exp": now + lifetime,
        # No two tokens are the same, also of one second.
        "jti": str(uuid4()),
    }
    return JWS(json.dumps(claims), alg="RS256").sign_compact([KEY])


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
