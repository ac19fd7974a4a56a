"""Powertools' resolvers, which turn exceptions into answers."""

import contextlib
from http import HTTPStatus

from aws_lambda_powertools.event_handler import (
    APIGatewayHttpResolver,
    APIGatewayRestResolver,
    AppSyncResolver,
    BedrockAgentFunctionResolver,
    Response,
)
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.exceptions import (
    BadRequestError,
    NotFoundError,
    ServiceError,
)
from orders import db, orders, place

from dal import DuplicateKey, NotFound

router = Router()


ERRORS = {
    "not-found": NotFoundError("no such customer"),
    "bad-request": BadRequestError("no price"),
    "unavailable": ServiceError(503, "come back later"),
    "handled": ValueError("a mistake that an exception handler knows"),
    "unhandled": LookupError("a mistake that nobody knows"),
}
ANSWERS = {
    "conflict": lambda: Response(status_code=409, body="conflict"),
    "conflict-by-name": lambda: Response(status_code=HTTPStatus.CONFLICT, body="conflict"),
    "tuple": lambda: ({"message": "no"}, 422),
    "ok": lambda: {"message": "placed"},
}


@router.post("/orders/<name>/<ending>")
def create(name, ending):
    place(name)
    if ending in ERRORS:
        raise ERRORS[ending]
    return ANSWERS[ending]()


@router.post("/absent/<name>")
def absent(name):
    place(name)
    orders.get_one(4711)


@router.post("/twice/<name>")
def twice(name):
    place(name)
    place(name)


@router.post("/swallowed/<name>")
def swallowed(name):
    place(name)
    with contextlib.suppress(DuplicateKey):
        place(name)
    return {"message": "placed"}


def resolver(kind):
    app = kind()
    app.include_router(router)

    @app.exception_handler(ValueError)
    def mistake(error):
        return Response(status_code=500, body="a mistake")

    @app.exception_handler(NotFound)
    def not_found(error):
        return Response(status_code=404, body="not found")

    @app.exception_handler(DuplicateKey)
    def duplicate(error):
        return Response(status_code=500, body=f"twice: {error.constraint}")

    return app


rest_app = resolver(APIGatewayRestResolver)
http_app = resolver(APIGatewayHttpResolver)


@db.handler
def rest(event, context):
    return rest_app.resolve(event, context)


@db.handler
def http(event, context):
    return http_app.resolve(event, context)


# Resolvers that answer for a failed item without a status that says so.

tools = BedrockAgentFunctionResolver()
fields = AppSyncResolver()


def create_then_fail(name):
    place(name)
    if name.startswith("bad"):
        raise LookupError("no such customer")
    return name


@tools.tool()
def in_the_scope_of_the_handler(name: str):
    return create_then_fail(name)


@tools.tool()
def in_a_scope_of_its_own(name: str):
    with db.scope():
        return create_then_fail(name)


@fields.batch_resolver(type_name="Mutation", field_name="shared", aggregate=False)
def shared(event, name):
    return create_then_fail(name)


@fields.batch_resolver(type_name="Mutation", field_name="each", aggregate=False)
def each(event, name):
    with db.scope():
        return create_then_fail(name)


def agent(event, context):
    return tools.resolve(event, context)


def graphql(event, context):
    return fields.resolve(event, context)


agent_on_dal = db.handler(agent)
graphql_on_dal = db.handler(graphql)
