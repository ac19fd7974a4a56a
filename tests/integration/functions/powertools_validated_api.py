"""Powertools' API resolvers with validation, by Pydantic."""

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, BedrockAgentResolver
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from orders import db, place
from pydantic import BaseModel

app = APIGatewayRestResolver(enable_validation=True)
agent_app = BedrockAgentResolver()


class Wanted(BaseModel):
    name: str
    quantity: int


class Placed(BaseModel):
    id: int
    name: str


@app.post("/orders")
def create(wanted: Wanted) -> Placed:
    order = place(wanted.name)
    return Placed(id=order.id, name=order.name)


@app.post("/orders-badly")
def create_badly(wanted: Wanted) -> Placed:
    place(wanted.name)
    return {"id": "no number"}


@agent_app.post("/orders", description="Place an order, for a customer that there is not.")
def refuse() -> dict:
    place("by an agent")
    raise NotFoundError("no such customer")


@db.handler
def rest(event, context):
    return app.resolve(event, context)


def agent(event, context):
    return agent_app.resolve(event, context)


agent_bare = db.handler(agent)
agent_told = db.handler(
    rollback_when=lambda answer: answer["response"]["httpStatusCode"] >= 400,
)(agent)
