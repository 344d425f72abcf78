"""Rucio's own application, told the client's certificate as its front web server would tell it.

Rucio leaves TLS to a web server before it, which names the owner of the client's certificate in
variables. Here gunicorn itself speaks TLS, and they are set from its socket.
"""

from rucio.web.rest.flaskapi.v1.main import application as rucio

# What OpenSSL calls these, of which Python gives the long names.
SHORT = {
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "commonName": "CN",
    "domainComponent": "DC",
}


def application(environ, start_response):
    certificate = environ["gunicorn.socket"].getpeercert()
    if certificate:
        parts = (pair for part in certificate["subject"] for pair in part)
        name = "".join(f"/{SHORT.get(key, key)}={value}" for key, value in parts)
        environ["SSL_CLIENT_S_DN"] = name
        environ["SSL_CLIENT_VERIFY"] = "SUCCESS"
    else:
        environ["SSL_CLIENT_VERIFY"] = "NONE"
    return rucio(environ, start_response)
