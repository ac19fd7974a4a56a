"""Publishers against moto's server, by real clients of boto3; partial failures by a stand-in."""

import json
import uuid

import boto3
import pytest
from moto.server import ThreadedMotoServer

from dal import Message
from dal.aws import ToEventBridge, ToSNS, ToSQS
from dal.aws.publishers import PublishingFailed


@pytest.fixture(scope="module")
def client():
    """Makes clients of a cloud on loopback."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    session = boto3.session.Session("test", "test", region_name="eu-central-1")
    yield lambda name: session.client(name, endpoint_url=f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def queue(client):
    """Makes a queue; gives its address and what is in it."""
    sqs = client("sqs")

    def make(fifo=False):
        name = f"q{uuid.uuid4().hex}" + (".fifo" if fifo else "")
        attributes = {"FifoQueue": "true"} if fifo else {}
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

        def received():
            found = []
            while messages := sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                AttributeNames=["All"],
            ).get("Messages"):
                found += messages
                for message in messages:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return found

        return url, received

    return make


@pytest.fixture
def relayed(db):
    def send(publish, *payloads, key=None, topic="orders"):
        with db.scope():
            written = [db.outbox.add(topic, payload, key=key) for payload in payloads]
        return written, db.outbox.relay(publish)()

    return send


def test_a_queue_gets_bodies_topics_and_ids(client, queue, relayed):
    url, received = queue()
    payloads = [{"n": number, "text": "é\x00日本"} for number in range(12)]
    written, told = relayed(ToSQS(client("sqs"), url), *payloads)
    assert told == {"sent": 12, "refused": 0}
    found = received()
    assert sorted((json.loads(one["Body"]) for one in found), key=lambda one: one["n"]) == payloads
    ids = {one["MessageAttributes"]["message_id"]["StringValue"] for one in found}
    assert ids == {str(one.id) for one in written}
    assert {one["MessageAttributes"]["topic"]["StringValue"] for one in found} == {"orders"}


def test_a_fifo_queue_keeps_the_order_and_drops_what_comes_twice(client, queue, relayed):
    url, received = queue(fifo=True)
    publish = ToSQS(client("sqs"), url)
    written, told = relayed(publish, *range(5), key="a key with blanks, é")
    assert told["sent"] == 5
    publish(written[:1])  # as a relay that was killed does
    found = received()
    assert [json.loads(one["Body"]) for one in found] == list(range(5))
    assert len({one["Attributes"]["MessageGroupId"] for one in found}) == 1


def test_a_topic_hands_on_to_its_queue(client, queue, relayed):
    url, received = queue()
    sns, sqs = client("sns"), client("sqs")
    arn = sns.create_topic(Name=f"t{uuid.uuid4().hex}")["TopicArn"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    sns.subscribe(
        TopicArn=arn,
        Protocol="sqs",
        Endpoint=queue_arn["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )
    _, told = relayed(ToSNS(sns, arn), {"a": 1}, {"b": 2})
    assert told["sent"] == 2
    assert {one["Body"] for one in received()} == {'{"a":1}', '{"b":2}'}


def test_a_bus_hands_on_to_its_queue(client, queue, relayed):
    url, received = queue()
    events, sqs = client("events"), client("sqs")
    bus = f"b{uuid.uuid4().hex}"
    events.create_event_bus(Name=bus)
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    pattern = json.dumps({"source": ["shop"]})
    events.put_rule(Name=bus, EventBusName=bus, EventPattern=pattern)
    target = {"Id": "1", "Arn": queue_arn["Attributes"]["QueueArn"]}
    events.put_targets(Rule=bus, EventBusName=bus, Targets=[target])
    (message,), told = relayed(ToEventBridge(events, bus=bus, source="shop"), {"a": 1})
    assert told["sent"] == 1
    (found,) = received()
    event = json.loads(found["Body"])
    assert (event["source"], event["detail-type"], event["detail"]) == ("shop", "orders", {"a": 1})
    assert event["resources"] == [message.id.urn]


def test_a_queue_that_is_not_there_is_an_outage(client, relayed, rows):
    url = "http://127.0.0.1:1/1/nowhere"
    with pytest.raises(client("sqs").exceptions.QueueDoesNotExist):
        relayed(ToSQS(client("sqs"), url), 1)
    assert rows("attempts, is_dead") == [(0, 0)]


class Answering:
    """A client that answers what it was made with: moto never fails a part of a batch."""

    def __init__(self, answer):
        self.send_message_batch = self.publish_batch = self.put_events = lambda **_: answer


def failed(place, is_senders):
    return {"Id": str(place), "Code": "Odd", "Message": "why", "SenderFault": is_senders}


def messages(count):
    return [Message("t", None, json.dumps({"n": number})) for number in range(count)]


@pytest.mark.parametrize("publisher", [ToSQS, ToSNS])
def test_a_part_that_is_refused_is_told_by_its_id(publisher):
    three = messages(3)
    publish = publisher(Answering({"Failed": [failed(1, is_senders=True)]}), "somewhere")
    assert publish(three) == {three[1].id: "Odd: why"}


@pytest.mark.parametrize("publisher", [ToSQS, ToSNS])
def test_all_that_fail_by_the_services_fault_are_an_outage(publisher):
    entries = [failed(place, is_senders=False) for place in range(2)]
    with pytest.raises(PublishingFailed, match="Odd: why"):
        publisher(Answering({"Failed": entries}), "somewhere")(messages(2))


def test_a_bus_tells_failures_by_position():
    two = messages(2)
    entries = [{"EventId": "1"}, {"ErrorCode": "MalformedDetail", "ErrorMessage": "no object"}]
    publish = ToEventBridge(Answering({"Entries": entries}), bus="b", source="s")
    assert publish(two) == {two[1].id: "MalformedDetail: no object"}
    outage = [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]
    with pytest.raises(PublishingFailed, match="slow down"):
        ToEventBridge(Answering({"Entries": outage}), bus="b", source="s")(two[:1])
