"""Passes connections on to a server: what is stopped where a server must not forget.

usage: door.py PORT SERVER_PORT [CERTIFICATE KEY]

Listens at PORT of the loopback, by TLS where a certificate is named, and connects each who comes to SERVER_PORT.
Once it ends, all connections are cut and new ones are refused, and the server has kept what it has.
"""

import asyncio
import ssl
import sys

CHUNK = 1 << 16


async def main(port, server_port, certificate=None, key=None):
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

    async def come(reader, writer):
        try:
            there, thither = await asyncio.open_connection("127.0.0.1", int(server_port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, thither), carry(there, writer))

    server = await asyncio.start_server(come, "127.0.0.1", int(port), ssl=context)
    await server.serve_forever()


async def carry(source, sink):
    """Carries bytes until either side ends."""
    try:
        while chunk := await source.read(CHUNK):
            sink.write(chunk)
            await sink.drain()
    except OSError:
        pass  # The other direction ends as well.
    finally:
        sink.close()


asyncio.run(main(*sys.argv[1:]))
