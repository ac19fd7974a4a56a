"""Where the server is, from the function's variables; DB_CA is empty where TLS is off."""

import os

HOST = os.environ["DB_HOST"]
PORT = int(os.environ["DB_PORT"])
USER = os.environ["DB_USER"]
PASSWORD = os.environ["DB_PASSWORD"]
NAME = os.environ["DB_NAME"]
CA = os.environ.get("DB_CA", "")
