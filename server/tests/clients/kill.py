"""kill -9 during a stream of upserts over HTTP: nothing acknowledged with wait=true may be lost.

    python3 server/tests/clients/kill.py BINARY [CYCLES] [SEED]

Each cycle starts the server on the same database, checks that every point acknowledged so far is there as it was written, writes from several
connections, by JSON and by bytes, and kills the process at a random moment. Nothing beyond Python's own library is needed.
"""

import http.client
import json
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

DIM = 8
WRITERS = 4
BATCH = 20
# Ids of a writer begin at a multiple of this.
SPAN = 1 << 32


def vector(point):
    """What stands in a point follows from its id."""
    return [float((point * 31 + at * 17) % 251) for at in range(DIM)]


def ask(connection, method, path, body=b"", kind="application/json"):
    connection.request(method, path, body, {"content-type": kind})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
    # What follows another protocol has no envelope.
    return json.loads(text).get("result")


class Server:
    def __init__(self, binary, database):
        self.process = subprocess.Popen(
            [binary, "serve", "--db", database, "--listen", "127.0.0.1:0", "--memory", "64MiB"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if "listening on http://" in line:
                self.address = line.split("http://")[1].split()[0]
                break
        else:
            raise RuntimeError(f"the server did not start: {self.process.wait()}")
        threading.Thread(target=lambda: self.process.stdout.read(), daemon=True).start()

    def connect(self):
        return http.client.HTTPConnection(self.address, timeout=60)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def write(server, writer, acknowledged, errors):
    """Writes until the server is gone. What is acknowledged counts."""
    try:
        connection = server.connect()
        while True:
            first = writer * SPAN + acknowledged[writer]
            ids = range(first, first + BATCH)
            if acknowledged[writer] // BATCH % 2:
                rows = b"".join(struct.pack(f"<{DIM}f", *vector(point)) for point in ids)
                ask(connection, "PUT", f"/nearline/v1/collections/kill/points?wait=true&start={first}", rows,
                    "application/octet-stream")
            else:
                points = [{"id": point, "vector": vector(point)} for point in ids]
                ask(connection, "PUT", "/collections/kill/points?wait=true", json.dumps({"points": points}))
            acknowledged[writer] += BATCH
    except (OSError, http.client.HTTPException):
        pass  # it was killed
    except Exception as error:  # noqa: BLE001: whatever it was, the run has failed
        errors.append(error)


def check(server, acknowledged):
    connection = server.connect()
    count = ask(connection, "POST", "/collections/kill/points/count", "{}")["count"]
    least = sum(acknowledged)
    # Each writer may have had one batch under way.
    most = least + WRITERS * BATCH
    if not least <= count <= most:
        raise SystemExit(f"LOST: {count} points, {least} were acknowledged, {most} sent")
    for writer, total in enumerate(acknowledged):
        for start in range(0, total, 5000):
            wanted = [writer * SPAN + at for at in range(start, min(start + 5000, total))]
            body = json.dumps({"ids": wanted, "with_vector": True, "with_payload": False})
            found = {point["id"]: point["vector"] for point in ask(connection, "POST", "/collections/kill/points", body)}
            for point in wanted:
                if found.get(point) != vector(point):
                    raise SystemExit(f"LOST: point {point} is {found.get(point)}")


def main():
    binary, cycles, seed = sys.argv[1], int((sys.argv[2:] + ["10"])[0]), int((sys.argv[3:] + ["1"])[0])
    chance = random.Random(seed)
    acknowledged = [0] * WRITERS
    with tempfile.TemporaryDirectory() as database:
        for cycle in range(cycles):
            server = Server(binary, database)
            if cycle == 0:
                body = json.dumps({"vectors": {"size": DIM, "distance": "Euclid"}})
                ask(server.connect(), "PUT", "/collections/kill", body)
            check(server, acknowledged)
            errors = []
            writers = [threading.Thread(target=write, args=(server, writer, acknowledged, errors))
                       for writer in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(chance.uniform(0.01, 0.6))
            server.kill()
            for writer in writers:
                writer.join()
            if errors:
                raise SystemExit(f"cycle {cycle}: {errors[0]}")
        server = Server(binary, database)
        check(server, acknowledged)
        server.kill()
    print(f"killed {cycles} times; {sum(acknowledged)} points were acknowledged, and all are there")


if __name__ == "__main__":
    main()
