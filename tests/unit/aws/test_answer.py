"""The answer is proven encodable by what the runtime itself would do with it, then weighed."""

import collections
import datetime
import decimal
import enum
import http
import importlib
import sys
import types

import pytest

from dal import Error, UnencodableAnswer
from dal.aws.answer import (
    MAX_BYTES,
    decoded,
    is_failure,
    prove_encodable,
    proven_to_replay,
)

CLIENT = "awslambdaric.lambda_runtime_client"
Point = collections.namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    RED = 1


@pytest.fixture
def no_runtime(monkeypatch):
    """As in a unit test of a user: Lambda's runtime client is not loaded."""
    monkeypatch.delitem(sys.modules, CLIENT, raising=False)


def runtime_of(python, monkeypatch):
    """Load the real runtime client, with the marshaller that it makes under this Python."""
    client = importlib.import_module(CLIENT)
    monkeypatch.setitem(sys.modules, CLIENT, client)
    monkeypatch.setenv("AWS_EXECUTION_ENV", f"AWS_Lambda_python{python}")
    marshaller = client.LambdaMarshaller()
    monkeypatch.setattr(client.LambdaRuntimeClient, "marshaller", marshaller)
    return marshaller


@pytest.fixture(params=["3.11", "3.12"])
def runtime(request, monkeypatch):
    return runtime_of(request.param, monkeypatch)


@pytest.fixture
def escaping_runtime(monkeypatch):
    return runtime_of("3.11", monkeypatch)


@pytest.fixture
def utf_8_runtime(monkeypatch):
    return runtime_of("3.12", monkeypatch)


def circular():
    answer = {}
    answer["self"] = answer
    return answer


def deep():
    answer = []
    for _ in range(200_000):
        answer = [answer]
    return answer


PASS = [
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    10**40,
    "",
    "text",
    "łódź 密碼 \U0001f980",
    "\x00",
    [],
    {},
    (1, 2),
    [1, [2, [3, {"a": None}]]],
    {"statusCode": 200, "body": "{}"},
    {1: "whole numbers are keys", 1.5: "others as well", None: 1, False: 2},
    Point(1, 2),
    {"point": Point(1, [Point(2, 3)])},
    decimal.Decimal("12.50"),
    {"price": decimal.Decimal("1e3"), "nothing": decimal.Decimal("NaN")},
    collections.OrderedDict(a=1),
    collections.defaultdict(list, a=[1]),
    Colour.RED,
    http.HTTPStatus.OK,
    b"bytes leave as they are",
    b"\xff\xfe\x00",
    b"",
]

FAIL = [
    datetime.datetime(2026, 1, 1),
    datetime.date(2026, 1, 1),
    datetime.timedelta(1),
    {"at": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)},
    {1, 2},
    frozenset(),
    object(),
    Exception("an error is no answer"),
    types.SimpleNamespace(a=1),
    1j,
    len,
    (value for value in [1]),
    range(3),
    memoryview(b"x"),
    bytearray(b"x"),
    [b"\xff"],
    {"deep": [{"down": object()}]},
    {(1, 2): "a tuple is no key"},
    {b"\xff": 1},
    circular(),
]


class TestWithTheRealMarshaller:
    @pytest.mark.parametrize("answer", PASS, ids=repr)
    def test_what_the_runtime_encodes_passes(self, runtime, answer):
        runtime.marshal_response(answer)
        prove_encodable(answer)

    @pytest.mark.parametrize("answer", FAIL, ids=repr)
    def test_what_the_runtime_cannot_encode_does_not(self, runtime, answer):
        with pytest.raises(Exception, match="Unable to marshal") as refused:
            runtime.marshal_response(answer)
        with pytest.raises(UnencodableAnswer, match="nothing was committed") as failed:
            prove_encodable(answer)
        assert type(failed.value.__cause__) is type(refused.value)
        assert refused.value.msg in str(failed.value)

    def test_bytes_inside_pass_as_text_as_the_runtime_has_it(self, runtime):
        prove_encodable({"a": b"text", b"key": 1})

    def test_endless_nesting_does_not(self, runtime):
        with pytest.raises(UnencodableAnswer):
            prove_encodable(deep())

    @pytest.mark.parametrize(
        "text", ["\ud800", "a\udfff", "\udc80 of a file name", "\udc00\ud800"], ids=ascii
    )
    def test_half_a_character_does_not_where_the_runtime_writes_utf_8(self, utf_8_runtime, text):
        # The marshaller passes it; `post_invocation_result` would fail, after COMMIT.
        for answer in (text, {"name": text}, {text: 1}):
            with pytest.raises(UnencodableAnswer, match="surrogate"):
                prove_encodable(answer)

    def test_half_a_character_passes_where_the_runtime_escapes_it(self, escaping_runtime):
        prove_encodable({"name": "\ud800"})

    def test_size_is_counted_in_bytes_as_they_are_sent(self, utf_8_runtime):
        prove_encodable("x" * (MAX_BYTES - 2))
        prove_encodable("é" * (MAX_BYTES // 2 - 1))
        for answer in ("x" * (MAX_BYTES - 1), "é" * (MAX_BYTES // 2)):
            with pytest.raises(UnencodableAnswer, match=r"bytes, Lambda takes 6,291,556"):
                prove_encodable(answer)

    def test_a_marshaller_of_the_functions_own_decides(self, runtime, monkeypatch):
        class Dates:
            def marshal_response(self, answer):
                return str(answer), "text/plain"

        client = sys.modules[CLIENT]
        monkeypatch.setattr(client.LambdaRuntimeClient, "marshaller", Dates())
        prove_encodable(datetime.date(2026, 1, 1))

    def test_the_answer_is_left_as_it_is(self, runtime):
        answer = {"a": [decimal.Decimal("1.50"), Point(1, 2)]}
        prove_encodable(answer)
        assert answer == {"a": [decimal.Decimal("1.50"), Point(1, 2)]}


class TestWithoutTheRuntime:
    """What a test on a laptop says is what Lambda will do, or it is stricter."""

    @pytest.mark.parametrize("answer", PASS, ids=repr)
    def test_the_same_passes(self, no_runtime, answer):
        prove_encodable(answer)

    @pytest.mark.parametrize("answer", FAIL, ids=repr)
    def test_the_same_does_not(self, no_runtime, answer):
        with pytest.raises(UnencodableAnswer, match="nothing was committed"):
            prove_encodable(answer)

    def test_endless_nesting_does_not(self, no_runtime):
        with pytest.raises(UnencodableAnswer):
            prove_encodable(deep())

    def test_half_a_character_does_not(self, no_runtime):
        with pytest.raises(UnencodableAnswer):
            prove_encodable({"name": "\ud800"})

    def test_more_than_lambda_takes_does_not(self, no_runtime):
        prove_encodable("x" * (MAX_BYTES - 2))
        prove_encodable(b"x" * MAX_BYTES)
        for answer in ("x" * (MAX_BYTES - 1), b"x" * (MAX_BYTES + 1), ["x"] * (MAX_BYTES // 4)):
            with pytest.raises(UnencodableAnswer, match=r"6,291,556; nothing was committed"):
                prove_encodable(answer)

    def test_the_runtime_is_not_loaded_for_it(self, no_runtime):
        prove_encodable({"a": 1})
        assert CLIENT not in sys.modules


class TestTheError:
    def test_says_what_the_runtime_says_in_plain_words(self, runtime):
        with pytest.raises(UnencodableAnswer, match="committed: Unable to marshal response: "):
            prove_encodable({1})

    def test_is_a_type_error_of_dal_with_its_cause(self, no_runtime):
        with pytest.raises(UnencodableAnswer) as failed:
            prove_encodable({1})
        assert isinstance(failed.value, Error)
        assert isinstance(failed.value, TypeError)
        assert isinstance(failed.value.__cause__, TypeError)
        assert "answer with dict, list, str" in str(failed.value)

    def test_of_a_size_says_what_to_answer_instead(self, no_runtime):
        with pytest.raises(UnencodableAnswer, match=r"8,000,002 bytes.*answer with a page"):
            prove_encodable("x" * 8_000_000)


class TestFailure:
    @pytest.mark.parametrize("status", [400, 401, 404, 422, 499, 500, 503, 599, 1000])
    def test_is_a_status_of_400_or_more(self, status):
        assert is_failure({"statusCode": status, "body": ""})

    def test_is_a_named_status_as_well(self):
        assert is_failure({"statusCode": http.HTTPStatus.NOT_FOUND})

    @pytest.mark.parametrize("status", [200, 201, 204, 302, 399, 0, -1, -400])
    def test_is_not_a_smaller_one(self, status):
        assert not is_failure({"statusCode": status})

    @pytest.mark.parametrize(
        "status", ["404", "500", b"404", True, None, 404.0, [404], decimal.Decimal(404)], ids=repr
    )
    def test_is_not_a_status_of_another_type(self, status):
        assert not is_failure({"statusCode": status})

    @pytest.mark.parametrize(
        "answer",
        [
            *(None, True, 500, "statusCode", b"500", [500], Point(500, 500)),
            *({}, {"status": 500}, {"StatusCode": 500}, {"body": {"statusCode": 500}}),
            [{"statusCode": 500}],
        ],
        ids=repr,
    )
    def test_is_not_what_has_no_status(self, answer):
        assert not is_failure(answer)

    def test_is_a_dictionary_of_a_subclass(self):
        assert is_failure(collections.OrderedDict(statusCode=500))


class TestAnAnswerThatIsGivenAgain:
    """With the runtime's own encoder, which writes a Decimal as it is."""

    @pytest.fixture(autouse=True)
    def _runtime(self):
        importlib.import_module(CLIENT)

    @pytest.mark.parametrize(
        "answer",
        [
            decimal.Decimal("1.10"),
            [1e300, decimal.Decimal("1.10"), 1.1, decimal.Decimal("1E+3"), decimal.Decimal("-0")],
            decimal.Decimal("NaN"),
            decimal.Decimal("Infinity"),
            decimal.Decimal(100),
            {"é": "日本 \U0001f600", 1: (None, True)},
            -0.0,
            float("nan"),
        ],
        ids=repr,
    )
    def test_is_the_same_byte_for_byte(self, answer):
        encoded = prove_encodable(answer)
        assert proven_to_replay(encoded) == encoded
        assert prove_encodable(decoded(encoded)) == encoded

    @pytest.mark.parametrize("answer", [b"bytes", {1: "a", "1": "b"}])
    def test_is_refused_where_it_would_differ(self, answer):
        with pytest.raises(UnencodableAnswer, match="nothing was committed"):
            proven_to_replay(prove_encodable(answer))
