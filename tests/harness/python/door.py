"""Passes connections on to a server: what is stopped where a server must not forget.

usage: door.py PORT SERVER_PORT [--tls CERTIFICATE KEY] [--keep-back REQUEST]

Listens at PORT of the loopback, by TLS where a certificate is named, and connects each who comes to SERVER_PORT.
Once it ends, all connections are cut and new ones are refused, and the server has kept what it has.

Where the number of a request of Kafka's protocol is named, those do not get through; each is told on a line.
"""

import argparse
import asyncio
import ssl
import struct

CHUNK = 1 << 16


async def main(port, server_port, tls, keep_back):
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)

    async def come(reader, writer):
        try:
            there, thither = await asyncio.open_connection("127.0.0.1", server_port)
        except OSError:
            writer.close()
            return
        there_to = carry(reader, thither) if keep_back is None else sift(reader, thither, keep_back)
        await asyncio.gather(there_to, carry(there, writer))

    server = await asyncio.start_server(come, "127.0.0.1", port, ssl=context)
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


async def sift(source, sink, keep_back):
    """Carries requests, but for those of one number. Each begins with its length and its number."""
    try:
        while True:
            head = await source.readexactly(6)
            length, number = struct.unpack(">ih", head)
            rest = await source.readexactly(length - 2)
            if number == keep_back:
                print("kept back", flush=True)
                continue
            sink.write(head + rest)
            await sink.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        sink.close()


parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("server_port", type=int)
parser.add_argument("--tls", nargs=2)
parser.add_argument("--keep-back", type=int)
asyncio.run(main(**vars(parser.parse_args())))
