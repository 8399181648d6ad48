"""What HTTP adds to the engine, with a database that is there: latency, queries a second, memory under many connections.

    python3 server/tests/clients/speed.py BINARY DATABASE QUERIES [MEMORY_MIB] [PORT]

DATABASE is a folder of a database, or of an index, which becomes one (make a copy); its collection `default` is asked. QUERIES are vectors in
the form fbin. What HTTP adds is the time of an answer less what the engine took, as `usage` says; that of this client counts
as HTTP's. Nothing beyond Python's own library is needed.
"""

import json
import pathlib
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import time

WARM, SINGLE, SPAN = 1000, 2000, 8.0
CONNECTIONS, MANY = 16, 200


def requests(path):
    """Whole requests, one for each vector."""
    data = pathlib.Path(path).read_bytes()
    count, dim = struct.unpack_from("<II", data)
    for at in range(count):
        vector = struct.unpack_from(f"<{dim}f", data, 8 + at * dim * 4)
        body = json.dumps({"query": vector, "limit": 10, "params": {"target_recall": 0.95}})
        yield (f"POST /collections/default/points/query HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
               f"content-length: {len(body)}\r\n\r\n{body}").encode()


def whole(data):
    """The body of an answer, once all of it is there."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return None
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return body if len(body) >= length else None


def ask(connection, request):
    connection.sendall(request)
    data = connection.recv(1 << 16)
    while (body := whole(data)) is None:
        data += connection.recv(1 << 16)
    return body


def alone(address, asked):
    """Microseconds of answers, and of the engine in them, one question at a time."""
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    all_us, engine_us = [], []
    for at in range(WARM + SINGLE):
        begin = time.perf_counter()
        body = ask(connection, asked[at % len(asked)])
        took = (time.perf_counter() - begin) * 1e6
        if at >= WARM:
            all_us.append(took)
            engine_us.append(json.loads(body)["usage"]["microseconds"])
    return all_us, engine_us


def nothing(address):
    """Microseconds of an answer that needs no engine and no thread: what the socket and this client take."""
    connection, all_us = socket.create_connection(address), []
    for _ in range(SINGLE):
        begin = time.perf_counter()
        ask(connection, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        all_us.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(all_us)


def together(address, asked, connections):
    """Answers a second on so many connections, each with a question under way all the time."""
    selector, answered, sent = selectors.DefaultSelector(), 0, 0
    for _ in range(connections):
        connection = socket.create_connection(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, [b""])
        connection.sendall(asked[sent % len(asked)])
        sent += 1
    begin = time.perf_counter()
    while time.perf_counter() - begin < SPAN:
        for key, _ in selector.select(1.0):
            key.data[0] += key.fileobj.recv(1 << 16)
            if whole(key.data[0]) is None:
                continue
            assert key.data[0].startswith(b"HTTP/1.1 200"), key.data[0][:200]
            key.data[0] = b""
            answered += 1
            key.fileobj.sendall(asked[sent % len(asked)])
            sent += 1
    return answered / (time.perf_counter() - begin)


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return {name: int(status.split(f"{name}:")[1].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}


def main():
    binary, database, queries = sys.argv[1:4]
    memory, port = ([*sys.argv[4:], "128", "16544"] if len(sys.argv) < 6 else sys.argv[4:6])[:2]
    asked = list(requests(queries))
    process = subprocess.Popen([binary, "serve", "--db", database, "--listen", f"127.0.0.1:{port}", "--memory", f"{memory}MiB"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = ("127.0.0.1", int(port))
        for _ in range(600):
            try:
                socket.create_connection(address).close()
                break
            except OSError:
                time.sleep(0.1)
        all_us, engine_us = alone(address, asked)
        added = statistics.median(answer - engine for answer, engine in zip(all_us, engine_us))
        print(f"one connection: p50 {statistics.median(all_us):.0f} us, of it the engine {statistics.median(engine_us):.0f}; "
              f"HTTP adds {added:.0f} us; an answer without a question, /healthz, takes {nothing(address):.0f}", flush=True)
        engine = 1e6 / statistics.mean(engine_us)
        for connections in (1, 2, CONNECTIONS, MANY):
            print(f"{connections} connections: {together(address, asked, connections):.0f} queries/s "
                  f"(the engine alone, on one thread, {engine:.0f}); {resident_mib(process)} MiB of {memory}", flush=True)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
