"""A glance at a line that should be silent: over TCP, and over TLS, which talks by itself."""

import contextlib
import select
import socket
import ssl
import struct
import threading
import time

import pytest
import trustme

from dal.settings import Settings
from dal.wire.deadline import NEVER
from dal.wire.network import tls
from dal.wire.network.channel import Channel

SETTINGS = Settings(host="127.0.0.1", user="ada", database="shop", tls="unverified")


@pytest.fixture(scope="module")
def certificate():
    return trustme.CA().issue_cert("127.0.0.1")


@pytest.fixture(params=["clear", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def line(request, certificate):
    """A channel, and the peer's end of it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        channel = Channel("127.0.0.1", listener.getsockname()[1], 5.0, NEVER)
        stack.callback(channel.close)
        peer = listener.accept()[0]
        if request.param != "clear":
            peer = encrypted(channel, peer, certificate, request.param)
        yield channel, stack.enter_context(peer)


def encrypted(channel, peer, certificate, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    certificate.configure_cert(context)
    ends = []
    handshake = threading.Thread(
        target=lambda: ends.append(context.wrap_socket(peer, server_side=True))
    )
    handshake.start()
    channel.wrap_tls(tls.context_for(SETTINGS), "127.0.0.1", 3306)
    handshake.join()
    return ends[0]


def news_comes(channel):
    end = time.monotonic() + 5.0
    while not channel.has_news():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_a_silent_peer_is_no_news_however_often_one_looks(line):
    channel, _ = line
    assert [channel.has_news() for _ in range(3)] == [False] * 3


def test_what_is_asked_for_comes_whole_after_a_look(line):
    channel, peer = line
    assert not channel.has_news()
    peer.sendall(b"answer")
    with channel.makefile("rb") as file:
        assert file.read(6) == b"answer"
    assert not channel.has_news()


def test_a_peer_that_closed_is_news(line):
    channel, peer = line
    peer.close()
    assert news_comes(channel)
    assert channel.has_news()  # and stays it


def test_a_peer_that_closed_with_a_reset_is_news(line):
    channel, peer = line
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    assert news_comes(channel)


def test_a_word_that_nobody_asked_for_is_news(line):
    channel, peer = line
    peer.sendall(b"\x01")
    assert news_comes(channel)


def test_tickets_that_come_late_are_no_news(certificate):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Channel("127.0.0.1", listener.getsockname()[1], 5.0, NEVER)
        # Nothing was read since the handshake: the two tickets of the server lie in the socket.
        with encrypted(channel, listener.accept()[0], certificate, ssl.TLSVersion.TLSv1_3) as peer:
            assert select.select([channel], [], [], 5.0)[0]
            assert not channel.has_news()
            peer.sendall(b"\x01")
            assert news_comes(channel)
        channel.close()
