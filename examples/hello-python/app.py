"""A small web application of Python's standard library: a page, posts that it records, server-sent events and WebSockets.

`version` beside it holds what it calls itself; a second word `broken` there makes every page fail, as a bad release would.
"""

import asyncio
import base64
import hashlib
import html
import os
import signal
import struct

VERSION, *FLAWS = open("version").read().split()
COLOUR = os.environ.get("TEAL_COLOUR", "")
BOOT = os.urandom(6).hex()
LIMIT = 1 << 20
recorded = []


class News:
    """Wakes whoever waits for the next recorded post."""

    waiting = set()

    @classmethod
    def tell(cls):
        for future in cls.waiting:
            if not future.done():
                future.set_result(None)
        cls.waiting = set()

    @classmethod
    async def wait(cls, seconds):
        future = asyncio.get_running_loop().create_future()
        cls.waiting.add(future)
        await asyncio.wait([future], timeout=seconds)
        cls.waiting.discard(future)


def page():
    colour = {"blue": "#1f5fbf", "green": "#1f7a4d"}.get(COLOUR, "#444444")
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>hello {html.escape(VERSION)}</title>
<body style="background:{colour};color:white;font:24px/1.5 sans-serif;padding:10vh 10vw">
<h1>Hello, this is {html.escape(VERSION)}</h1><p>It runs in the place called {html.escape(COLOUR or "nothing yet")}.</p></body></html>
""".encode()


def head(status, *lines):
    lines = (f"HTTP/1.1 {status}", f"x-version: {VERSION}", f"x-colour: {COLOUR}", *lines, "", "")
    return "\r\n".join(lines).encode()


def answer(status, body, kind="text/html; charset=utf-8"):
    return head(status, f"content-type: {kind}", f"content-length: {len(body)}") + body


async def events(writer):
    writer.write(head("200 OK", "content-type: text/event-stream", "cache-control: no-store", "connection: close"))
    told = 0
    while True:
        fresh = [f"data: recorded {BOOT} {told + n} {one}\n\n" for n, one in enumerate(recorded[told:])]
        told += len(fresh)
        writer.write("".join(fresh or ["data: tick\n\n"]).encode())
        await writer.drain()
        if told == len(recorded):
            await News.wait(2)


def frame(opcode, data):
    size = bytes([len(data)]) if len(data) < 126 else bytes([126]) + struct.pack(">H", len(data))
    return bytes([0x80 | opcode]) + size + data


async def websocket(key, reader, writer):
    seal = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    writer.write(head("101 Switching Protocols", "upgrade: websocket", "connection: Upgrade", f"sec-websocket-accept: {seal}"))
    while True:
        await writer.drain()
        first, second = await reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await reader.readexactly(2))
        if size == 127:
            return
        mask, data = await reader.readexactly(4), await reader.readexactly(size)
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        opcode = first & 0x0F
        if opcode == 8:
            writer.write(frame(8, data))
            return
        if opcode == 9:
            writer.write(frame(10, data))
        if opcode == 1:
            writer.write(frame(1, VERSION.encode() + b" " + data))


async def request(reader, writer):
    """One request; true if another may come on this connection."""
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = start.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(min(int(headers.get("content-length", "0")), LIMIT))
    if path == "/events":
        await events(writer)
        return False
    if path == "/ws":
        await websocket(headers.get("sec-websocket-key", ""), reader, writer)
        return False
    if method == "POST":
        recorded.append(body.decode("ascii", "replace").strip())
        News.tell()
    if "broken" in FLAWS:
        writer.write(answer("500 Internal Server Error", b"this release is broken\n", "text/plain"))
    else:
        writer.write(answer("200 OK", page()))
    await writer.drain()
    return headers.get("connection", "").lower() != "close"


async def serve(reader, writer):
    try:
        while await request(reader, writer):
            pass
    except (asyncio.CancelledError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        pass  # the visitor left, spoke no HTTP, or the app ends
    finally:
        writer.close()


async def main():
    loop = asyncio.get_running_loop()
    stop = loop.create_future()
    loop.add_signal_handler(signal.SIGTERM, lambda: stop.done() or stop.set_result(None))
    port = int(os.environ.get("PORT", "8080"))
    server = await asyncio.start_server(serve, "0.0.0.0", port, backlog=512)
    print(f"{VERSION} listens on port {port}", flush=True)
    await stop
    server.close()
    print(f"{VERSION} ends", flush=True)


asyncio.run(main())
