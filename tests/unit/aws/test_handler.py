"""`@db.handler` as a decorator: what it keeps, what it refuses, what it hands to the scope."""

import asyncio
import contextlib
import functools
import inspect
import math
import types

import pytest

from dal import (
    Database,
    DeadlineExceeded,
    InvalidArgument,
    NoActiveScope,
    ReadOnlyScope,
    UnencodableAnswer,
)

CLOSED_PORT = "mysql://app@127.0.0.1:1/shop"


@pytest.fixture
def db():
    return Database(CLOSED_PORT)


class Context:
    """What Lambda gives as the second argument."""

    def __init__(self, milliseconds):
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self):
        return self._milliseconds


class Recorder(Database):
    """A database that remembers how its scopes were opened and left."""

    def __init__(self):
        super().__init__(CLOSED_PORT)
        self.opened = []
        self.left_with = []

    @contextlib.contextmanager
    def _attempt(self, unit, *, read_only, deadline):
        self.opened.append((read_only, deadline.remaining()))
        try:
            with super()._attempt(unit, read_only=read_only, deadline=deadline) as session:
                yield session
        except BaseException as error:
            self.left_with.append(error)
            raise
        self.left_with.append(None)


class TestWhatItKeeps:
    @pytest.fixture(params=["bare", "with keywords", "with no keywords"])
    def decorate(self, request, db):
        return {
            "bare": db.handler,
            "with keywords": db.handler(read_only=True, reserve=1.5, rollback_when=bool),
            "with no keywords": db.handler(),
        }[request.param]

    def test_is_name_doc_module_and_signature(self, decorate):
        def create_user(event: dict[str, str], context: object = None, *, dry: bool = False) -> int:
            """Create a user."""
            return 1

        handler = decorate(create_user)
        assert handler.__name__ == "create_user"
        assert handler.__qualname__ == create_user.__qualname__
        assert handler.__doc__ == "Create a user."
        assert handler.__module__ == __name__
        assert handler.__annotations__ == create_user.__annotations__
        assert handler.__wrapped__ is create_user
        assert inspect.signature(handler) == inspect.signature(create_user)

    def test_is_a_plain_function_as_the_runtime_calls_it(self, decorate):
        handler = decorate(lambda event, context: event)
        assert inspect.isfunction(handler)
        assert handler({"a": 1}, None) == {"a": 1}

    def test_is_the_answer_itself_not_a_copy(self, decorate):
        answer = {"users": [1]}
        assert decorate(lambda event, context: answer)({}, None) is answer

    def test_is_every_argument(self, decorate):
        handler = decorate(lambda *args, **kwargs: [list(args), kwargs])
        assert handler(1, 2, three=3) == [[1, 2], {"three": 3}]
        assert handler() == [[], {}]

    def test_is_the_exception_itself(self, decorate):
        error = LookupError("the caller's")

        def handler(event, context):
            raise error

        with pytest.raises(LookupError) as raised:
            decorate(handler)({}, None)
        assert raised.value is error
        assert raised.value.__cause__ is None

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
    def test_is_an_exit(self, decorate, error):
        def handler(event, context):
            raise error

        with pytest.raises(type(error)):
            decorate(handler)({}, None)


class TestWhatItDecorates:
    def test_may_be_a_method(self, db):
        class Service:
            prefix = "user "

            @db.handler
            def named(self, event, context):
                """Name it."""
                return self.prefix + event

            @db.handler(read_only=True)
            def named_read_only(self, event, context):
                return self.prefix + event

            @staticmethod
            @db.handler
            def static(event, context):
                return event

            @classmethod
            @db.handler
            def of_class(cls, event, context):
                return cls.prefix + event

        service = Service()
        assert service.named("ann", None) == "user ann"
        assert service.named.__doc__ == "Name it."
        assert list(inspect.signature(service.named).parameters) == ["event", "context"]
        assert service.named_read_only("ann", None) == "user ann"
        assert Service.static("ann", None) == "ann"
        assert Service.of_class("ann", None) == "user ann"

    def test_may_be_a_partial_or_a_callable_object(self, db):
        class Callable:
            def __call__(self, event, context):
                return [event]

        assert db.handler(functools.partial(lambda a, event, context: [a, event], 1))(2, None) == [
            1,
            2,
        ]
        assert db.handler(Callable())(1, None) == [1]

    @pytest.mark.parametrize("thing", [5, "handler", {}, ("a", "b"), types], ids=repr)
    def test_must_be_callable(self, db, thing):
        with pytest.raises(InvalidArgument, match=r"a handler is a function, not"):
            db.handler(thing)
        with pytest.raises(InvalidArgument, match=r"a handler is a function, not"):
            db.handler(read_only=True)(thing)

    def test_must_not_run_later(self, db):
        async def coroutine(event, context):
            return 1

        def generator(event, context):
            yield 1

        async def asynchronous_generator(event, context):
            yield 1

        for function in (coroutine, generator, asynchronous_generator):
            for later in (function, functools.partial(function, {})):
                with pytest.raises(InvalidArgument, match="would run after its scope had ended"):
                    db.handler(later)
                with pytest.raises(InvalidArgument, match="the Lambda runtime calls plain"):
                    db.handler(read_only=True)(later)

    def test_must_not_answer_with_what_runs_later_either(self, db):
        class Disguised:
            async def __call__(self, event, context):
                return 1

        answers = []

        def remember(event, context):
            answers.append(Disguised()(event, context))
            return answers[0]

        with pytest.raises(UnencodableAnswer):
            db.handler(remember)({}, None)
        answers[0].close()

    @pytest.mark.parametrize(
        "reserve", [-1, -0.001, True, False, "0.5", None, 1j, [], -math.inf], ids=repr
    )
    def test_has_a_reserve_of_seconds(self, db, reserve):
        with pytest.raises(InvalidArgument, match="reserve is seconds, from 0"):
            db.handler(reserve=reserve)(lambda event, context: 1)

    @pytest.mark.parametrize("reserve", [math.nan, math.inf])
    def test_has_a_reserve_that_is_a_number(self, db, reserve):
        with pytest.raises(InvalidArgument, match="reserve is seconds"):
            db.handler(reserve=reserve)(lambda event, context: 1)

    @pytest.mark.parametrize("rollback_when", [None, 400, "statusCode", [400]], ids=repr)
    def test_has_a_callable_to_say_when_to_roll_back(self, db, rollback_when):
        with pytest.raises(InvalidArgument, match="rollback_when wants a callable"):
            db.handler(rollback_when=rollback_when)(lambda event, context: 1)

    def test_takes_its_keywords_as_such_only(self, db):
        with pytest.raises(TypeError):
            db.handler(lambda event, context: 1, True)
        with pytest.raises(TypeError):
            db.handler(colour=3)


class TestTheDeadline:
    @staticmethod
    def opened(db):
        """The deadlines of the scopes, to a tenth of a second."""
        return [round(seconds, 1) for _, seconds in db.opened]

    def seconds(self, *args, reserve=0.5, **kwargs):
        db = Recorder()
        db.handler(reserve=reserve)(lambda *_, **__: None)(*args, **kwargs)
        (seconds,) = self.opened(db)
        return seconds

    def test_is_the_time_that_lambda_leaves_less_the_reserve(self):
        assert self.seconds({}, Context(10_000)) == 9.5
        assert self.seconds({}, Context(10_000), reserve=0) == 10
        assert self.seconds({}, Context(10_000), reserve=2.5) == 7.5

    def test_keeps_back_half_a_second_by_default(self):
        db = Recorder()
        db.handler(lambda event, context: None)({}, Context(3_000))
        assert self.opened(db) == [2.5]

    def test_is_never_negative(self):
        assert self.seconds({}, Context(100)) == 0
        assert self.seconds({}, Context(-5)) == 0

    @pytest.mark.parametrize("context", [None, {}, object(), types.SimpleNamespace()], ids=repr)
    def test_is_never_without_a_context_of_lambda(self, context):
        assert self.seconds({}, context) == math.inf
        assert self.seconds() == math.inf

    def test_is_found_whatever_the_context_is_called(self):
        assert self.seconds({}, context=Context(10_000)) == 9.5
        assert self.seconds(event={}, ctx=Context(10_000)) == 9.5

    def test_is_found_behind_self(self):
        db = Recorder()

        class Service:
            @db.handler
            def handle(self, event, context):
                return None

        Service().handle({}, Context(10_000))
        assert self.opened(db) == [9.5]

    def test_is_asked_for_at_each_invocation(self):
        db = Recorder()
        handler = db.handler(lambda event, context: None)
        handler({}, Context(10_000))
        handler({}, Context(5_000))
        handler({}, None)
        assert self.opened(db) == [9.5, 4.5, math.inf]

    def test_that_has_passed_lets_nothing_be_sent(self, db):
        @db.handler
        def handler(event, context):
            db.session.connection()

        with pytest.raises(DeadlineExceeded):
            handler({}, Context(100))

    def test_that_has_passed_is_no_matter_where_nothing_is_sent(self, db):
        assert db.handler(lambda event, context: "done")({}, Context(100)) == "done"


class TestTheScope:
    def test_is_one_for_each_invocation(self):
        db = Recorder()
        sessions = []
        handler = db.handler(lambda event, context: sessions.append(db.session))
        handler({}, None)
        handler({}, None)
        assert len(db.opened) == 2
        assert sessions[0] is not sessions[1]

    def test_is_open_inside_and_not_outside(self, db):
        handler = db.handler(lambda event, context: db.session is not None)
        with pytest.raises(NoActiveScope):
            _ = db.session
        assert handler({}, None)
        with pytest.raises(NoActiveScope):
            _ = db.session

    def test_is_read_only_where_that_was_said(self):
        db = Recorder()
        db.handler(read_only=True)(lambda event, context: None)({}, None)
        db.handler(lambda event, context: None)({}, None)
        assert [read_only for read_only, _ in db.opened] == [True, False]

    def test_of_an_outer_handler_is_joined(self, db):
        inner = db.handler(lambda event, context: id(db.session))
        outer = db.handler(lambda event, context: [id(db.session), inner(event, context)])
        first, second = outer({}, None)
        assert first == second

    def test_that_is_read_only_takes_no_handler_that_writes(self, db):
        inner = db.handler(lambda event, context: None)
        outer = db.handler(read_only=True)(inner)
        with pytest.raises(ReadOnlyScope, match="without read_only"):
            outer({}, None)

    def test_ends_with_the_error_of_an_answer_that_cannot_leave(self):
        db = Recorder()
        with pytest.raises(UnencodableAnswer) as raised:
            db.handler(lambda event, context: {1})({}, None)
        assert db.left_with == [raised.value]

    def test_ends_with_the_error_that_leaves_the_handler(self):
        db = Recorder()

        def handler(event, context):
            raise LookupError

        with pytest.raises(LookupError) as raised:
            db.handler(handler)({}, None)
        assert db.left_with == [raised.value]

    def test_ends_before_the_answer_leaves(self, db):
        order = []

        def handler(event, context):
            db.after_commit(lambda: order.append("committed"))
            order.append("handled")

        db.handler(handler)({}, None)
        assert order == ["handled", "committed"]


class TestRollback:
    @pytest.fixture
    def handle(self, db):
        """Run a handler that answers so; tell its answer and whether it was committed."""

        def handle(answer, **options):
            committed = []

            def handler(event, context):
                db.after_commit(lambda: committed.append(True))
                return answer

            assert db.handler(**options)(handler)({}, None) is answer
            return bool(committed)

        return handle

    @pytest.mark.parametrize("status", [400, 404, 500])
    def test_is_what_an_answer_of_failure_means(self, handle, status):
        assert not handle({"statusCode": status})

    @pytest.mark.parametrize("answer", [{"statusCode": 200}, {"statusCode": "500"}, None, [500]])
    def test_is_not_what_another_answer_means(self, handle, answer):
        assert handle(answer)

    def test_can_be_chosen(self, handle):
        assert not handle({"ok": False}, rollback_when=lambda answer: not answer["ok"])
        assert handle({"ok": True}, rollback_when=lambda answer: not answer["ok"])
        assert handle({"statusCode": 500}, rollback_when=lambda answer: False)

    def test_is_what_a_choice_that_fails_means(self, db):
        committed = []

        def handler(event, context):
            db.after_commit(lambda: committed.append(True))
            return {}

        with pytest.raises(KeyError):
            db.handler(rollback_when=lambda answer: answer["ok"])(handler)({}, None)
        assert not committed

    def test_is_decided_on_what_the_handler_answered(self, db):
        asked = []
        answer = {"a": 1}
        db.handler(rollback_when=asked.append)(lambda *_: answer)({}, None)
        assert asked == [answer]
        assert asked[0] is answer


class TestInAThreadPerRequest:
    def test_handlers_side_by_side_have_scopes_of_their_own(self, db):
        handler = db.handler(lambda event, context: [event, id(db.session)])

        async def both():
            return await asyncio.gather(*(asyncio.to_thread(handler, n, None) for n in range(5)))

        answers = asyncio.run(both())
        assert [event for event, _ in answers] == list(range(5))
