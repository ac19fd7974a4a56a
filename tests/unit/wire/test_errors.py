"""The errors as such: one tree, one table, nothing lost on the way to another process."""

import copy
import inspect
import pickle

import pytest
from sqlalchemy import exc

import dal
from dal import errors

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, BaseException) and cls.__module__ == errors.__name__
]
NAMES = {
    "errno": 1062,
    "constraint": "uq_users_email",
    "table": "users",
    "columns": ("email", "tenant"),
    "statement": "INSERT INTO users VALUES (%s)",
}

# The unit of work may succeed if all of it is run again.
TRANSIENT = {
    errors.AlreadyInProgress,
    errors.ConnectError,
    errors.TooManyConnections,
    errors.ConnectionLost,
    errors.Deadlock,
    errors.WriteConflict,
    errors.LockWaitTimeout,
    errors.LockTableFull,
    errors.LockNotAvailable,
    errors.StaleVersion,
}
# The server has rolled the transaction back, or will because its connection is closed.
LOST = {
    errors.ConnectionLost,
    errors.Deadlock,
    errors.WriteConflict,
    errors.LockTableFull,
    errors.StatementTimeout,
    errors.DeadlineExceeded,
    errors.ProtocolError,
    errors.ResultTooLarge,
    errors.StatementTooLarge,
}


@pytest.mark.parametrize("cls", CLASSES)
class TestEveryError:
    def test_is_an_error_of_dal(self, cls):
        assert issubclass(cls, dal.Error)
        assert issubclass(cls, Exception)

    def test_is_exported(self, cls):
        assert getattr(dal, cls.__name__) is cls
        assert cls.__name__ in dal.__all__
        assert cls.__name__ in errors.__all__

    def test_says_what_it_means(self, cls):
        assert cls.__doc__
        assert cls.__doc__.strip().splitlines()[0].endswith((".", ")."))
        assert cls.__name__ in errors.__doc__

    def test_can_be_made_of_a_message_alone(self, cls):
        error = cls("what happened")
        assert str(error) == "what happened"
        assert error.args == ("what happened",)
        assert (error.errno, error.constraint, error.table, error.columns, error.statement) == (
            *(None, None, None),
            (),
            None,
        )

    @pytest.mark.parametrize(
        "travel",
        [
            *(
                lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
                for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
            ),
            copy.copy,
            copy.deepcopy,
        ],
    )
    def test_travels_whole(self, cls, travel):
        error = cls("what happened", **NAMES)
        error.add_note("in the handler")
        arrived = travel(error)
        assert type(arrived) is cls
        assert arrived.args == ("what happened",)
        assert str(arrived) == "what happened"
        assert arrived.__notes__ == ["in the handler"]
        assert {name: getattr(arrived, name) for name in NAMES} == NAMES
        assert (arrived.transient, arrived.transaction_lost) == (
            error.transient,
            error.transaction_lost,
        )

    def test_says_whether_to_run_the_unit_again_and_what_became_of_it(self, cls):
        assert cls.transient is (cls in TRANSIENT)
        assert cls.transaction_lost is (cls in LOST)

    def test_takes_no_unknown_attributes(self, cls):
        with pytest.raises(TypeError):
            cls("what happened", parameters=("secret",))


class TestSQLAlchemysErrors:
    @pytest.mark.parametrize(
        ("cls", "theirs"),
        [
            (errors.DuplicateKey, exc.IntegrityError),
            (errors.ForeignKeyViolation, exc.IntegrityError),
            (errors.NotNullViolation, exc.IntegrityError),
            (errors.CheckViolation, exc.IntegrityError),
            (errors.DataTooLong, exc.DataError),
            (errors.OutOfRange, exc.DataError),
            (errors.Deadlock, exc.OperationalError),
            (errors.LockWaitTimeout, exc.OperationalError),
            (errors.ConnectError, exc.OperationalError),
            (errors.ConnectionLost, exc.OperationalError),
            (errors.CommitOutcomeUnknown, exc.OperationalError),
        ],
    )
    def test_are_what_the_errors_of_the_database_are_too(self, cls, theirs):
        error = cls("what happened", statement="SELECT 1")
        assert isinstance(error, theirs)
        assert (str(error), repr(error)) == ("what happened", f"{cls.__name__}('what happened')")
        assert (error.orig, error.params, error.statement) == (None, None, "SELECT 1")
        error.add_detail("raised by autoflush")
        assert str(error) == "what happened"
        assert cls("another").detail == []

    def test_are_none_of_those_that_no_server_raised(self):
        for cls in (errors.UsageError, errors.NotFound, errors.StaleVersion, errors.RollbackOnly):
            assert not issubclass(cls, exc.SQLAlchemyError)


class TestTheTree:
    @pytest.mark.parametrize(
        ("cls", "builtin"),
        [
            (errors.ConfigurationError, ValueError),
            (errors.InvalidArgument, ValueError),
            (errors.UnencodableAnswer, TypeError),
            (errors.NotFound, LookupError),
            (errors.MultipleFound, LookupError),
        ],
    )
    def test_answers_to_the_builtin_that_callers_know(self, cls, builtin):
        assert issubclass(cls, builtin)

    @pytest.mark.parametrize(
        ("parent", "children"),
        [
            (
                errors.UsageError,
                {
                    errors.NoActiveScope,
                    errors.ScopeEnded,
                    errors.WrongThread,
                    errors.TransactionControl,
                    errors.ReadOnlyScope,
                    errors.UnflushedChanges,
                    errors.InvalidArgument,
                },
            ),
            (
                errors.ConnectError,
                {
                    errors.AccessDenied,
                    errors.UnknownDatabase,
                    errors.TooManyConnections,
                    errors.TLSError,
                },
            ),
            (
                errors.ConstraintViolation,
                {
                    errors.DuplicateKey,
                    errors.ForeignKeyViolation,
                    errors.CheckViolation,
                    errors.NotNullViolation,
                },
            ),
        ],
    )
    def test_catches_the_family_by_its_parent(self, parent, children):
        ours = {cls for cls in parent.__subclasses__() if cls.__module__ == errors.__name__}
        assert ours == children

    def test_lets_nobody_take_a_mistake_of_the_code_for_the_database(self):
        assert not issubclass(errors.UsageError, errors.DatabaseError)
        assert not issubclass(errors.RollbackOnly, errors.DatabaseError)

    def test_never_invites_to_repeat_a_commit_of_unknown_outcome(self):
        assert not errors.CommitOutcomeUnknown.transient

    def test_takes_no_lost_commit_for_a_lost_connection(self):
        assert not issubclass(errors.CommitOutcomeUnknown, errors.ConnectionLost)


class TestTheTable:
    def test_takes_a_demoted_writer_for_a_lost_connection(self):
        assert {errors.NAMED[number] for number in errors.DEMOTED} == {errors.ConnectionLost}

    def test_lets_a_scope_go_on_after_errors_that_undo_their_statement(self):
        undone = {
            *(errors.ConstraintViolation, errors.DataTooLong, errors.OutOfRange),
            *(errors.LockNotAvailable, errors.ReadOnlyScope),
        }
        for number, cls in errors.NAMED.items():
            goes_on = issubclass(cls, tuple(undone))
            assert (number in errors.STATEMENT_ONLY) is goes_on, number

    @pytest.mark.parametrize(
        "number",
        [1213, 1205, 2006, 2013, 3024, 1317, 1180, 1105, 1114, 1030, 1021, 1037, 1206, 3168],
    )
    def test_lets_no_scope_go_on_after_anything_else(self, number):
        assert number not in errors.STATEMENT_ONLY

    @pytest.mark.parametrize("number", [*errors.NAMED, *errors.NAMED_WHILE_CONNECTING])
    def test_is_told_by_the_docstring_of_its_class_or_is_a_disconnect(self, number):
        cls = errors.NAMED.get(number) or errors.NAMED_WHILE_CONNECTING[number]
        told = str(number) in cls.__doc__
        exempt = cls is errors.ConnectionLost or number in {1792, 1969}
        assert told or exempt
