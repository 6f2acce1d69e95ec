"""What the client in odradek.py does against a broker: `scenes.py HOST PORT NAME`. It asserts, and prints figures as JSON."""
import json
import sys

from odradek import Client, Closed, Producer, Reader, Refused, WebSocket, member_id, pack

HOST, PORT, NAME = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PLENTY = {"records": 10_000, "bytes": 10_000_000}


def values(*numbers):
    return [[None, f"v{number}".encode()] for number in numbers]


def refused(act):
    try:
        act()
    except Refused as refusal:
        return refusal.error["name"]
    raise AssertionError("it was not refused")


def closed(act):
    try:
        act()
    except Closed as end:
        return end.code
    raise AssertionError("it goes on")


def producing(client, topic):
    """Idempotent over a cut: what was sent and not answered is sent again, and is there once."""
    created = client.call("topics.create", {"topics": [{"name": topic, "partitions": 2}]})
    assert created["topics"][0]["partitions"] == 2, created
    assert created["topics"][0].get("error") is None
    again = client.call("topics.create", {"topics": [{"name": topic}]})
    assert again["topics"][0]["error"]["name"] == "TOPIC_ALREADY_EXISTS", again
    producer = Producer(client)
    batches = [producer.batch(topic, 0, values(*range(5 * batch, 5 * batch + 5))) for batch in range(4)]
    assert client.ask(batches[0])["offset"] == 0
    other = Client(HOST, PORT)
    for batch in batches[1:]:
        other.start(batch)
    other.socket.cut()
    # Nobody knows which of them arrived: all again, unchanged and in order.
    numbers = [client.start(batch) for batch in batches]
    assert [client.answer(number)["offset"] for number in numbers] == [0, 5, 10, 15]
    gap = {**producer.batch(topic, 0, values(99)), "producer": {**producer.identity, "sequence": 40}}
    assert refused(lambda: client.ask(gap)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    headers = [["kind", b"test"], ["none", None]]
    client.ask({"t": "produce", "topic": topic, "partition": 1, "records": [[b"k", b"w0", headers, 1700000000000]]})
    assert refused(lambda: client.ask({**batches[0], "partition": 7})) == "UNKNOWN_TOPIC_OR_PARTITION"


def consuming(client, topic):
    """By assignment: no more than was granted, and on over a cut without gap or repeat."""
    reader = Reader(client, 1)
    reader.open({"partitions": [{"topic": topic, "partition": 0, "from": "earliest"}], "credit": {"records": 7, "bytes": 100_000}})
    reader.read(7)
    client.call("groups.list", {})
    assert not client.pushed, "more than was granted"
    reader.grant(5, 0)
    reader.read(12)
    saved = reader.positions[topic, 0]
    client.socket.cut()

    client = Client(HOST, PORT)
    resumed = Reader(client, 1)
    resumed.open({"partitions": [{"topic": topic, "partition": 0, "from": saved}], "credit": PLENTY})
    resumed.read(8)
    assert [value for _, _, value in reader.records + resumed.records] == [f"v{number}" for number in range(20)]

    # A record that costs more than there is: told once, and comes with the credit.
    small = Reader(client, 2)
    small.open({"partitions": [{"topic": topic, "partition": 1, "from": {"timestamp": 1600000000000}}], "credit": {"records": 1, "bytes": 10}})
    starved = client.push("starved")
    small.grant(0, starved["bytes"] - 10)
    frame = client.push("records")
    assert small.take(frame) == [starved["records"], starved["bytes"]], starved
    assert frame["batches"][0]["records"][0][4] == [["kind", b"test"], ["none", None]], frame

    client.call("topics.describe", {"topics": [topic]})
    answer = client.ask({"t": "seek", "stream": 2, "partitions": [{"topic": topic, "partition": 1, "from": {"offset": 50}}]})
    assert answer["partitions"][0]["position"]["offset"] == 50
    # A stream without credit is not read.
    small.grant(1, 100)
    outside = client.push("outOfRange")
    assert (outside["offset"], outside["logStartOffset"], outside["highWatermark"]) == (50, 0, 1), outside
    client.ask({"t": "assign", "stream": 2, "add": [], "remove": [{"topic": topic, "partition": 1}]})
    client.ask({"t": "close", "stream": 2})
    assert refused(lambda: client.ask({"t": "close", "stream": 2})) == "INVALID_REQUEST"
    return client


def member(client, topic, group, identity, number=5):
    reader = Reader(client, number)
    reader.open({"group": {"id": group, "memberId": identity, "topics": [topic]}, "from": "earliest", "credit": PLENTY})
    return reader


def grouped(client, topic):
    """Two members share, one leaves, one is cut and comes back; what is committed is where the next one begins."""
    group = f"{NAME}-group"
    identity = member_id()
    first = member(client, topic, group, identity)
    first.read(21)
    offsets = [
        {"topic": topic, "partition": partition, "offset": first.positions[topic, partition]["offset"], "metadata": "py"}
        for partition in (0, 1)
    ]
    committed = client.ask({"t": "commit", "stream": 5, "offsets": offsets})["partitions"]
    assert all(each.get("error") is None for each in committed), committed

    # The connection breaks: the same member comes back with what it had.
    client.socket.cut()
    client = Client(HOST, PORT)
    back = Reader(client, 5)
    owned = [{"topic": t, "partition": p, "position": position} for (t, p), position in first.positions.items()]
    identified = {"id": group, "memberId": identity, "memberEpoch": first.member_epoch, "topics": [topic], "owned": owned}
    back.open({"group": identified, "from": "earliest", "credit": PLENTY})
    while len(back.positions) < 2:
        back.take(client.push("assigned", "records"))
    assert {place: position["offset"] for place, position in back.positions.items()} == {(topic, 0): 20, (topic, 1): 1}

    # A second member: the first is asked for a partition, gives it, and the second has it.
    other_client = Client(HOST, PORT)
    other = member(other_client, topic, group, member_id())
    while (frame := client.push("assigned", "records", "revoke"))["t"] != "revoke":
        back.take(frame)
    back.take(frame)
    client.note({"t": "release", "stream": 5, "partitions": frame["partitions"]})
    while not other.positions:
        other.take(other_client.push("assigned", "records"))
    gone = frame["partitions"][0]["partition"]
    assert list(other.positions) == [(topic, gone)], other.positions
    stale = client.ask({"t": "commit", "stream": 5, "offsets": [offsets[gone]]})["partitions"][0]
    assert stale["error"]["name"] == "STALE_MEMBER_EPOCH", stale

    # 1000 leaves at once: the first one has everything again long before any session is over.
    other_client.socket.close(1000)
    while len(back.positions) < 2:
        back.take(client.push("assigned", "records"))
    stored = client.call("groups.offsets", {"group": group})["partitions"]
    assert sorted((each["partition"], each["offset"], each["metadata"]) for each in stored) == [(0, 20, "py"), (1, 1, "py")]
    described = client.call("groups.describe", {"groups": [group]})["groups"][0]
    assert [each["memberId"] for each in described["members"]] == [identity], described
    client.ask({"t": "close", "stream": 5})
    return client


def transactional(client, topic):
    """Committed with consumed offsets: seen. Aborted: not seen, and the cursor passes it."""
    group = f"{NAME}-copied"
    producer = Producer(client, f"{NAME}-transaction")
    start = client.call("offsets.list", {"partitions": [{"topic": topic, "partition": 1, "at": "latest"}]})
    begin = start["partitions"][0]["offset"]
    client.ask(producer.batch(topic, 1, values(100, 101)))
    offsets = [{"topic": topic, "partition": 0, "offset": 12}]
    ends = {"producer": producer.identity, "group": {"id": group}, "offsets": offsets, **producer.transaction}
    outcome = client.ask({"t": "txnOffsets", **ends})["partitions"]
    assert all(each.get("error") is None for each in outcome), outcome
    producer.end(client, commit=True)
    client.ask(producer.batch(topic, 1, values(666)))
    producer.end(client, commit=False)
    client.ask(producer.batch(topic, 1, values(102)))
    producer.end(client, commit=True)

    reader = Reader(client, 9)
    reader.open({"partitions": [{"topic": topic, "partition": 1, "from": {"offset": begin}}], "credit": PLENTY})
    reader.read(3)
    assert [value for _, _, value in reader.records] == ["v100", "v101", "v102"], reader.records
    both = [{"topic": topic, "partition": partition} for partition in (1, 0)]
    stored = client.call("groups.offsets", {"group": group, "partitions": both})["partitions"]
    assert sorted((each["partition"], each["offset"]) for each in stored) == [(0, 12), (1, -1)], stored
    future = client.call("offsets.list", {"partitions": [{"topic": topic, "partition": 1, "at": {"timestamp": 1 << 52}}]})
    assert future["partitions"][0]["offset"] == -1, future
    fetched = client.call(
        "records.fetch",
        {"partitions": [{"topic": topic, "partition": 1, "from": {"offset": begin}}], "isolation": "read_uncommitted"},
    )
    assert b"v666" in [record[3] for record in fetched["partitions"][0]["records"]], fetched


def misbehaving():
    """What ends a connection, and with which code."""
    unknown = WebSocket(HOST, PORT, ["odradek.v99"])
    assert unknown.status == 400, unknown.status
    several = WebSocket(HOST, PORT, ["odradek.v99, odradek.v1"])
    assert several.headers["sec-websocket-protocol"] == "odradek.v1", several.headers
    text = Client(HOST, PORT)
    text.socket.send(b"hello", 1)
    assert closed(text.step) == 1003
    for payload, code in ((b"\xc1", 1007), (pack({"t": "open", "id": 1}), 1002), (b"\x00" * 40_000, 1009)):
        hasty = WebSocket(HOST, PORT, [])
        hasty.send(payload)
        assert closed(hasty.receive) == code, code
    polite = Client(HOST, PORT)
    assert refused(lambda: polite.ask({"t": "dance"})) == "INVALID_REQUEST"
    assert refused(lambda: polite.call("topics.dance", {})) == "INVALID_REQUEST"
    polite.note({"t": "credit", "stream": 77, "records": 1, "bytes": 1})
    polite.note({"t": "ping", "n": 4})
    polite.call("topics.list", {})
    large = Client(HOST, PORT)
    limit = large.hello["limits"]["frameBytes"]
    large.socket.send(pack({"t": "ping", "n": 1, "filling": b"\x00" * limit}))
    assert closed(large.step) == 1009


client = Client(HOST, PORT)
print(json.dumps(client.hello["limits"]))
producing(client, NAME)
client = consuming(client, NAME)
client = grouped(client, NAME)
transactional(client, NAME)
misbehaving()
client.call("topics.delete", {"topics": [NAME]})
client.socket.close(1000)
print("done")
