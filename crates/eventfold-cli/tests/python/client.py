"""A client that knows nothing of eventfold but its address: it learns the calls by reflection.

It appends, reads, follows and is refused, and prints "well" at the end.
"""

import sys
import uuid

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(sys.argv[1])
database = ProtoReflectionDescriptorDatabase(channel)
assert "eventfold.v1.EventStore" in database.get_services()
pool = DescriptorPool(database)
service = pool.FindServiceByName("eventfold.v1.EventStore")


def message(name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("eventfold.v1." + name))


def call(name):
    method = service.methods_by_name[name]
    kind = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }[(method.client_streaming, method.server_streaming)]
    return kind(
        f"/eventfold.v1.EventStore/{name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )


def append(stream, *payloads, exact=None):
    request = message("AppendRequest")()
    condition = request.conditions.add().version
    condition.stream.name = stream
    if exact is None:
        condition.expected.no_stream.SetInParent()
    else:
        condition.expected.exact = exact
    write = request.writes.add()
    write.stream.name = stream
    for payload in payloads:
        event = write.events.add(id=uuid.uuid4().bytes, type="Deposited", payload=payload, tags=["owner:ann"])
        assert len(event.id) == 16
    return request


# One append, answered with where it stands.
answer = call("Append")(append("account-7", b"one", b"two"))
assert (answer.first_position, answer.written[0].first_version) == (0, 0), answer

# One that is refused: a status, and the facts among its details.
try:
    call("Append")(append("account-7", b"again"))
    raise AssertionError("the stream is there already")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.ABORTED, error
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert b"eventfold.v1.Failure" in details
    failure = details[details.index(b"eventfold.v1.Failure") + len(b"eventfold.v1.Failure") :]
    # Behind the type of an Any: the key of its value, the value's length, and the value.
    assert failure[0] == 0x12
    parsed = message("Failure").FromString(failure[2 : 2 + failure[1]])
    assert parsed.wrong_expected_version.failed[0].version.actual == 1, parsed

# A session: answers in the order of the appends, a refused one among them.
answers = list(call("AppendSession")(iter([
    append("account-7", b"three", exact=1),
    append("account-7", b"refused", exact=1),
    append("account-7", b"four", exact=2),
])))
assert [answer.WhichOneof("answer") for answer in answers] == ["appended", "refused", "appended"], answers

# Reading: as a stream of pages, and as a page.
request = message("ReadRequest")()
request.stream.name = "account-7"
events = [event for page in call("Read")(request) for event in page.events]
assert [event.payload for event in events] == [b"one", b"two", b"three", b"four"], events
assert [event.stream_version for event in events] == [0, 1, 2, 3], events
request = message("ReadAllRequest")(direction=1, max_count=1)
assert call("ReadAll")(request).events[0].payload == b"four"

# Following: what is there, that there is no more, and what comes.
request = message("SubscribeRequest")()
request.query.items.add(tags=["owner:ann"])
following = call("Subscribe")(request)
seen, caught_up = [], False
for told in following:
    kind = told.WhichOneof("event")
    if kind == "events":
        seen += [event.payload for event in told.events.events]
    if kind == "caught_up" and not caught_up:
        caught_up = True
        call("Append")(append("account-8", b"five"))
    if len(seen) == 5:
        following.cancel()
        break
assert caught_up and seen == [b"one", b"two", b"three", b"four", b"five"], seen
print("well")
