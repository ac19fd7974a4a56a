"""The proxy before a small peer that speaks just enough of the MySQL protocol."""

import socket
import ssl
import struct
import threading
import time
from contextlib import ExitStack, closing, contextmanager

import pytest
import trustme

from dal.testing.proxy import Proxy

GREETING = b"\x0apeer"
SSL_REQUEST = struct.pack("<I28x", 0x800 | 0x200)
LOGIN = b"login" * 10
QUERY, QUIT = b"\x03", b"\x01"
SPLIT = 0xFFFFFF


def packets(payload, sequence=0):
    """Frame a payload; a long one in as many packets as MySQL would make of it."""
    framed = b""
    while True:
        part, payload = payload[:SPLIT], payload[SPLIT:]
        framed += len(part).to_bytes(3, "little") + bytes([sequence]) + part
        if len(part) < SPLIT:
            return framed
        sequence += 1


class Stream:
    """One end of a connection that sends and reads whole payloads."""

    def __init__(self, sock):
        self.sock = sock

    def exactly(self, size):
        data = bytearray()
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return bytes(data)

    def read(self):
        payload = b""
        while True:
            header = self.exactly(4)
            part = self.exactly(int.from_bytes(header[:3], "little"))
            payload += part
            if len(part) < SPLIT:
                return payload

    def send(self, payload, sequence=0):
        self.sock.sendall(packets(payload, sequence))

    def ask(self, payload, sequence=0):
        self.send(payload, sequence)
        return self.read()


class Peer:
    """A server: greets, takes any login, and answers each command with "\\0" and the command."""

    def __init__(self, tls=None, *, cold_login=False):
        self.tls = tls
        self.cold_login = cold_login
        self.got = []
        self.ends = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.threads = []
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(sock,), daemon=True)
            self.threads.append(thread)
            self.open.append(sock)
            thread.start()

    def serve(self, sock):
        with ExitStack() as stack:
            stack.enter_context(closing(sock))
            try:
                stream = Stream(sock)
                stream.send(GREETING)
                first = stream.read()
                if first == SSL_REQUEST:
                    stream.sock = stack.enter_context(self.tls.wrap_socket(sock, server_side=True))
                    first = stream.read()
                assert first == LOGIN
                if self.cold_login:
                    assert stream.ask(b"\x01\x04", 2) == b"password"
                stream.send(b"\x00", 2)
                while (command := stream.read()) != QUIT:
                    self.got.append(command[1:])
                    stream.send(b"\x00" + command)
                if self.tls:
                    stream.sock.unwrap()
                self.ends.append("quit")
            except EOFError:
                self.ends.append("fin")
            except OSError as error:
                self.ends.append(type(error).__name__)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.open:
            sock.close()


@contextmanager
def connect(proxy, *, timeout=5.0, login=True, tls=None):
    """A client that is logged in. It leaves without COM_QUIT."""
    with ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection((proxy.host, proxy.port), timeout))
        stream = Stream(sock)
        if login:
            assert stream.read() == GREETING
            if tls:
                stream.send(SSL_REQUEST, 1)
                stream.sock = stack.enter_context(tls.wrap_socket(sock, server_hostname="peer"))
            answer = stream.ask(LOGIN, 1)
            if answer == b"\x01\x04":
                answer = stream.ask(b"password", 3)
            assert answer == b"\x00"
        yield stream


def query(text):
    return QUERY + text


def hears_nothing(client, seconds=0.1):
    """Wait so long for an answer that does not come."""
    patience = client.sock.gettimeout()
    client.sock.settimeout(seconds)
    with pytest.raises(TimeoutError):
        client.sock.recv(1)
    client.sock.settimeout(patience)


def eventually(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.002)


def nobody():
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


def idle():
    """Whether this process, the proxy's thread included, does next to nothing for a while."""
    before = time.process_time()
    time.sleep(0.2)
    return time.process_time() - before < 0.02


@pytest.fixture
def peer():
    with closing(Peer()) as peer:
        yield peer


@pytest.fixture
def proxy(peer):
    with Proxy("127.0.0.1", peer.port) as proxy:
        yield proxy


@pytest.fixture
def bare():
    """A proxy, and the listener behind it that a test serves itself."""
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        Proxy(*server.getsockname()) as proxy,
    ):
        yield proxy, server


class TestPassing:
    def test_bytes_arrive_as_they_were_sent_and_are_counted(self, proxy, peer):
        text = bytes(range(256)) * 20_000
        with connect(proxy) as client:
            assert client.ask(query(text)) == b"\x00\x03" + text
            client.send(QUIT)
        assert proxy.wait_closed()
        (trace,) = proxy.connections
        assert peer.got == [text]
        assert trace.bytes_up == sum(map(len, map(packets, (LOGIN, query(text), QUIT))))
        assert trace.bytes_down == len(GREETING) + 1 + len(text) + 2 + 3 * 4

    def test_a_client_that_does_not_read_slows_the_server_and_loses_nothing(self, proxy, peer):
        statement = query(bytes(1 << 20))
        with connect(proxy) as client:
            sender = threading.Thread(target=lambda: [client.send(statement) for _ in range(40)])
            sender.start()
            time.sleep(0.3)
            assert len(peer.got) < 40
            eventually(idle, 20)
            assert all(client.read() == b"\x00" + statement for _ in range(40))
            sender.join()

    def test_the_server_is_told_when_the_client_hangs_up(self, proxy, peer):
        with connect(proxy):
            assert proxy.connections[0].closed is None
            assert not proxy.wait_closed(timeout=0.01)
        assert proxy.wait_closed()
        eventually(lambda: peer.ends == ["fin"])
        assert proxy.connections[0].closed >= proxy.connections[0].opened

    def test_an_unfinished_packet_reaches_the_server_when_the_client_hangs_up(self, bare):
        proxy, server = bare
        with socket.create_connection((proxy.host, proxy.port)) as client:
            accepted, _ = server.accept()
            client.sendall(b"\xff\xff\x00\x00half")
        with closing(accepted):
            assert Stream(accepted).exactly(8) == b"\xff\xff\x00\x00half"
            assert accepted.recv(1) == b""

    def test_the_client_is_told_when_the_server_hangs_up(self, proxy, peer):
        with connect(proxy) as client:
            client.send(QUIT)
            assert client.sock.recv(1) == b""

    @pytest.mark.parametrize("side", ["client", "server"])
    def test_a_reset_is_passed_on(self, bare, side):
        proxy, server = bare
        client = socket.create_connection((proxy.host, proxy.port))
        accepted, _ = server.accept()
        dying, left = (client, accepted) if side == "client" else (accepted, client)
        with closing(dying), closing(left):
            dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            dying.close()
            with pytest.raises(ConnectionResetError):
                left.recv(1)

    def test_a_client_that_is_gone_while_the_server_works_on_costs_no_processor_time(self, bare):
        proxy, server = bare
        with socket.create_connection((proxy.host, proxy.port)):
            accepted, _ = server.accept()
        with closing(accepted):
            assert accepted.recv(1) == b""
            eventually(idle, 20)

    def test_without_a_server_the_client_is_reset(self):
        with (
            Proxy(*nobody()) as proxy,
            pytest.raises(ConnectionResetError),
            connect(proxy, login=False) as client,
        ):
            client.sock.recv(1)

    def test_close_cuts_every_connection_and_may_be_called_twice(self, peer):
        proxy = Proxy("127.0.0.1", peer.port)
        with connect(proxy) as client:
            proxy.close()
            proxy.close()
            assert client.sock.recv(1) == b""
        eventually(lambda: peer.ends == ["fin"])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((proxy.host, proxy.port))


class TestCounting:
    def test_login_and_commands_count_and_the_goodbye_does_not(self, proxy):
        with connect(proxy) as client:
            assert proxy.round_trips == 1
            client.ask(query(b"SELECT 1"))
            client.ask(b"\x0e")  # COM_PING
            client.send(QUIT)
        assert proxy.wait_closed()
        (trace,) = proxy.connections
        assert (trace.round_trips, trace.packets) == (3, 4)
        assert trace.statements == ["SELECT 1"]
        assert not trace.tls

    def test_a_login_with_one_more_exchange_counts_one_more(self):
        with closing(Peer(cold_login=True)) as peer, Proxy("127.0.0.1", peer.port) as proxy:
            late = proxy.on(1, "cut")
            with connect(proxy) as client:
                assert proxy.round_trips == 2
                assert late.fired == 0  # the password is no command
                client.send(query(b"SELECT 1"))
                assert late.wait()

    def test_what_is_sent_without_waiting_is_one_round_trip(self, proxy):
        with connect(proxy) as client:
            client.sock.sendall(b"".join(packets(query(text)) for text in (b"1", b"2", b"3")))
            for _ in range(3):
                client.read()
        assert proxy.round_trips == 2
        assert proxy.connections[0].packets == 4
        assert proxy.connections[0].statements == ["1", "2", "3"]

    def test_a_statement_in_pieces_is_one(self, proxy):
        with connect(proxy) as client:
            for byte in packets(query(b"SELECT 1")):
                client.sock.sendall(bytes([byte]))
            client.read()
            assert (proxy.round_trips, proxy.connections[0].packets) == (2, 2)

    def test_a_statement_over_16_megabytes_is_one_command_of_two_packets(self, proxy, peer):
        with connect(proxy) as client:
            client.ask(query(bytes(SPLIT)))
            second = proxy.on(2, "cut")
            assert (proxy.round_trips, proxy.connections[0].packets) == (2, 3)
            client.send(query(b"SELECT 2"))
            assert second.wait()

    def test_each_connection_has_its_trace(self, proxy):
        with connect(proxy) as one, connect(proxy) as two:
            one.ask(query(b"one"))
            two.ask(query(b"two"))
        assert [trace.statements for trace in proxy.connections] == [["one"], ["two"]]
        assert proxy.round_trips == 4

    def test_reset_forgets(self, proxy):
        with connect(proxy) as client:
            proxy.reset()
            client.ask(query(b"unseen"))
            assert proxy.connections == []
            with connect(proxy):
                assert proxy.round_trips == 1


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


class TestTls:
    @pytest.mark.parametrize("certificate", [False, True], ids=["", "client certificate"])
    @pytest.mark.parametrize("asked", [False, True], ids=["", "server asks for a certificate"])
    @pytest.mark.parametrize("latency", [0.0, 0.004])
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_it_counts_as_without(self, authority, version, latency, asked, certificate):
        server, client = contexts(authority, version, asked=asked)
        if certificate:
            authority.issue_cert("client").configure_cert(client)
        with closing(Peer(server)) as peer, Proxy("127.0.0.1", peer.port) as proxy:
            proxy.latency = latency
            with connect(proxy, tls=client) as stream:
                assert stream.sock.version() == version.name.replace("v1_", "v1.")
                assert proxy.round_trips == 1
                stream.ask(query(b"SELECT 1"))
                assert proxy.round_trips == 2
                stream.ask(query(b"SELECT 2" * 10_000))
                stream.send(QUIT)
                with pytest.raises(EOFError):
                    stream.read()
            assert proxy.wait_closed()
            (trace,) = proxy.connections
            assert trace.round_trips == 3
            assert trace.tls
            assert trace.statements == []

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_command_is_found_by_its_number(self, authority, version):
        server, client = contexts(authority, version, asked=True)
        with closing(Peer(server)) as peer, Proxy("127.0.0.1", peer.port) as proxy:
            proxy.on(2, "cut", answer=True)
            with connect(proxy, tls=client) as stream:
                stream.ask(query(b"one" * 20_000))  # of several records
                stream.send(query(b"two"))
                with pytest.raises((EOFError, ssl.SSLEOFError)):
                    stream.read()
            assert peer.got == [b"one" * 20_000, b"two"]

    def test_the_handshake_can_stall(self, authority):
        server, client = contexts(authority, ssl.TLSVersion.TLSv1_3)
        with closing(Peer(server)) as peer, Proxy("127.0.0.1", peer.port) as proxy:
            proxy.on("tls", "stall")
            with pytest.raises(TimeoutError), connect(proxy, tls=client, timeout=0.1):
                pass


def contexts(authority, version, *, asked=False):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("peer").configure_cert(server)
    if asked:
        authority.configure_trust(server)
        server.verify_mode = ssl.CERT_OPTIONAL
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    client.minimum_version = client.maximum_version = version
    return server, client


class TestLatency:
    # A millisecond is the latency between two zones; rounded up each way it would be three.
    @pytest.mark.parametrize("latency", [0.001, 0.05])
    def test_a_round_trip_takes_that_much_longer(self, proxy, latency):
        def fastest(attempts):
            times = []
            for _ in range(attempts):
                started = time.perf_counter()
                client.ask(query(b"SELECT 1"))
                times.append(time.perf_counter() - started)
            return min(times)

        with connect(proxy) as client:
            without = fastest(30)
            proxy.latency = latency
            assert latency <= fastest(30 if latency < 0.01 else 3) - without < latency * 1.8

    def test_what_follows_at_once_is_delayed_once_and_overtakes_nothing(self, proxy):
        with connect(proxy) as client:
            proxy.latency = 0.2
            started = time.monotonic()
            for n in range(10):
                if n == 5:
                    proxy.latency = 0.0
                client.send(query(b"%d" % n))
                time.sleep(0.002)
            assert [client.read() for _ in range(10)] == [b"\x00\x03%d" % n for n in range(10)]
            assert 0.1 <= time.monotonic() - started < 0.5  # one by one, five would take that long

    def test_waiting_takes_no_processor_time(self, proxy):
        proxy.latency = 0.6
        with socket.create_connection((proxy.host, proxy.port)):
            eventually(idle, 20)  # though the greeting is under way


class TestFaults:
    @pytest.mark.parametrize("moment", ["accept", "greeting"])
    def test_a_cut_before_the_greeting(self, proxy, moment):
        proxy.on(moment, "cut")
        with connect(proxy, login=False) as client:
            assert client.sock.recv(1) == b""
        with connect(proxy):
            pass  # once is once

    @pytest.mark.parametrize("moment", ["accept", "greeting"])
    def test_a_reset_before_the_greeting(self, proxy, moment):
        proxy.on(moment, "reset")
        # At the accept, the connect itself may already notice.
        with pytest.raises(ConnectionResetError), connect(proxy, login=False) as client:
            client.sock.recv(1)

    @pytest.mark.parametrize("action", ["stall", "swallow"])
    def test_a_mute_server(self, proxy, action):
        proxy.on("greeting", action)
        with connect(proxy, login=False, timeout=0.1) as client, pytest.raises(TimeoutError):
            client.sock.recv(1)

    def test_a_mute_server_that_is_not_even_there(self):
        with Proxy(*nobody()) as proxy:
            proxy.on("accept", "stall")
            with connect(proxy, login=False, timeout=0.1) as client:
                with pytest.raises(TimeoutError):
                    client.sock.recv(1)
                proxy.release()
                with pytest.raises(ConnectionResetError):  # it is tried only now
                    client.sock.recv(1)

    def test_a_login_that_never_reaches_the_server(self, proxy, peer):
        proxy.on("login", "cut")
        with connect(proxy, login=False) as client:
            client.read()
            client.send(LOGIN, 1)
            with pytest.raises(EOFError):
                client.read()
        eventually(lambda: peer.ends == ["fin"])

    def test_before_a_command_the_server_never_sees_it(self, proxy, peer):
        fault = proxy.on(2, "cut")
        with connect(proxy) as client:
            client.ask(query(b"one"))
            client.send(query(b"two"))
            assert client.sock.recv(1) == b""
        eventually(lambda: peer.ends == ["fin"])
        assert peer.got == [b"one"]
        assert fault.fired == 1
        assert proxy.round_trips == 2

    def test_at_the_answer_the_server_has_seen_it(self, proxy, peer):
        proxy.on(2, "reset", answer=True)
        with connect(proxy) as client:
            client.ask(query(b"one"))
            client.send(query(b"two"))
            with pytest.raises(ConnectionResetError):
                client.read()
        assert peer.got == [b"one", b"two"]

    def test_a_statement_is_found_by_its_text_on_any_connection(self, proxy, peer):
        proxy.on(b"COMMIT", "cut", times=2)
        for _ in range(2):
            with connect(proxy) as client:
                client.ask(query(b"INSERT"))
                client.send(query(b"/* x */ COMMIT"))
                with pytest.raises(EOFError):
                    client.read()
        with connect(proxy) as client:
            client.ask(query(b"COMMIT"))
        assert peer.got == [b"INSERT", b"INSERT", b"COMMIT"]

    def test_a_fault_for_every_time_lasts_until_the_release(self, proxy):
        fault = proxy.on("greeting", "cut", times=None)
        for _ in range(3):
            with connect(proxy, login=False) as client:
                assert client.sock.recv(1) == b""
        assert fault.fired == 3
        proxy.release()
        with connect(proxy):
            pass

    def test_a_stall_holds_the_request_until_the_release(self, proxy, peer):
        fault = proxy.on(1, "stall")
        with connect(proxy) as client:
            client.send(query(b"one"))
            assert fault.wait()
            hears_nothing(client)
            assert peer.got == []
            proxy.release()
            client.read()
            assert peer.got == [b"one"]

    def test_a_stall_of_the_answer_holds_it_until_the_release(self, proxy, peer):
        fault = proxy.on(1, "stall", answer=True)
        with connect(proxy) as client:
            client.send(query(b"one"))
            assert fault.wait()
            assert peer.got == [b"one"]
            hears_nothing(client)
            proxy.release()
            assert client.read() == b"\x00\x03one"

    def test_a_stall_hides_from_the_server_that_the_client_is_gone(self, proxy, peer):
        fault = proxy.on(1, "stall")
        with connect(proxy) as client:
            client.send(query(b"one"))
            assert fault.wait()
        assert not proxy.wait_closed(timeout=0.1)
        assert peer.ends == []
        proxy.release()
        assert proxy.wait_closed()
        eventually(lambda: len(peer.ends) == 1)

    def test_a_stall_holds_no_other_connection(self, proxy):
        with connect(proxy) as held, connect(proxy) as free:
            held.ask(query(b"one"))
            fault = proxy.on(b"two", "stall")
            held.send(query(b"two"))
            assert fault.wait()
            free.ask(query(b"other"))

    def test_a_swallowed_answer_never_comes_though_the_server_gave_it(self, proxy, peer):
        fault = proxy.on(b"COMMIT", "swallow")
        with connect(proxy) as client:
            client.send(query(b"COMMIT"))
            assert fault.wait()
            assert peer.got == [b"COMMIT"]
            hears_nothing(client)
            client.send(query(b"still heard"))
            eventually(lambda: peer.got == [b"COMMIT", b"still heard"])
            proxy.release()
            assert client.ask(query(b"two")) == b"\x00\x03two"

    @pytest.mark.parametrize("action", ["stall", "swallow"])
    def test_a_hanging_client_can_be_cut_after_a_time(self, proxy, action):
        proxy.on(1, action, cut_after=0.1)
        with connect(proxy) as client:
            started = time.monotonic()
            client.send(query(b"one"))
            assert client.sock.recv(1) == b""
            assert 0.1 <= time.monotonic() - started < 2.0

    def test_a_drip_passes_byte_by_byte(self, proxy):
        proxy.on("greeting", "drip", interval=0.02)
        whole = packets(GREETING)
        started = time.monotonic()
        with connect(proxy, login=False) as client:
            received = b""
            while len(received) < len(whole):
                received += client.sock.recv(100)
        assert received == whole
        assert time.monotonic() - started >= 0.02 * (len(whole) - 1)

    def test_the_release_ends_a_drip_with_the_rest_at_once(self, proxy):
        fault = proxy.on("greeting", "drip", interval=60.0)
        with connect(proxy, login=False) as client:
            assert fault.wait()
            proxy.release()
            assert client.read() == GREETING
            assert client.ask(LOGIN, 1) == b"\x00"

    def test_refused_until_the_release_while_open_connections_live_on(self, proxy):
        with connect(proxy) as client:
            proxy.refuse()
            proxy.refuse()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((proxy.host, proxy.port))
            client.ask(query(b"one"))
            proxy.release()
            with connect(proxy):
                pass

    def test_close_ends_a_stall_and_a_refusal(self, peer):
        with Proxy("127.0.0.1", peer.port) as proxy:
            fault = proxy.on("greeting", "stall")
            with connect(proxy, login=False) as client:
                assert fault.wait()
                proxy.refuse()
                proxy.close()
                assert client.sock.recv(1) == b""

    def test_waiting_for_a_fault_that_does_not_come(self, proxy):
        assert not proxy.on(1, "cut").wait(timeout=0.01)

    @pytest.mark.parametrize(
        ("moment", "action", "answer"),
        [
            ("accept", "swallow", False),
            ("tls", "swallow", False),
            ("greeting", "cut", True),
            ("nonsense", "cut", False),
            (1, "nonsense", False),
        ],
    )
    def test_a_fault_that_cannot_be_is_refused(self, proxy, moment, action, answer):
        with pytest.raises(ValueError, match=r"no such|no answer"):
            proxy.on(moment, action, answer=answer)
