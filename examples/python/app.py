"""A small pre-forked web shop of the standard library, which knows nothing of nines.

PORT=8080 WORKERS=4 python3 app.py
"""
import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

PRICES = {"tea": 4.5, "cup": 12, "pot": 30}


def checkout(query):
    price = PRICES.get(query.get("item", ["tea"])[0])
    if "broken" in query or price is None:
        raise ValueError("no such item")
    return {"paid": price}


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    checkout = staticmethod(checkout)

    def do_GET(self):
        url = urlsplit(self.path)
        try:
            status, answer = (200, self.checkout(parse_qs(url.query))) if url.path == "/checkout" else (404, {})
        except Exception as error:
            status, answer = 500, {"error": str(error)}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *unused):
        pass


class Server(HTTPServer):
    request_queue_size = 128


def start(shop):
    """One listening socket, WORKERS processes that accept from it."""
    server = Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), shop)
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    workers = [fork(server) for _ in range(int(os.environ.get("WORKERS", "4")))]
    print(f"the shop listens: http://127.0.0.1:{server.server_port}/checkout?item=tea", flush=True)

    def stop(*unused):
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while True:
        os.wait()


def fork(server):
    worker = os.fork()
    if worker == 0:
        server.serve_forever()
    return worker


if __name__ == "__main__":
    start(Shop)
