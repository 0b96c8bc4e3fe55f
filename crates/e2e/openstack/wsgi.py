"""A WSGI application of OpenStack as a process of a test: its own port, and its own directory."""

import os
import socketserver
import sys
import threading
import wsgiref.simple_server


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def address_string(self):
        # For the log: the name of an address is not worth a lookup.
        return self.client_address[0]


def serve(application, port):
    """Serves in threads of their own from here on."""
    server = wsgiref.simple_server.make_server(
        "127.0.0.1", port, application, server_class=Server, handler_class=Handler
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()


def ready():
    """Tells the test, and goes on for as long as it holds its end of stdin."""
    print("ready", flush=True)


def end():
    """Ends at once, whatever threads are under way."""
    sys.stdout.flush()
    os._exit(0)
