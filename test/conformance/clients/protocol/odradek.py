"""
A client of the stream protocol in another language, written from src/gateway/PROTOCOL.md and nothing else, with nothing
but Python's standard library: a WebSocket, MessagePack, and the frames. It is here to show that the document is enough.
"""
import base64
import os
import socket
import struct
import uuid
from collections import deque


# -- MessagePack: what the protocol uses of it


def pack(value):
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if 0 <= value < 0x80:
            return bytes([value])
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, str):
        text = value.encode()
        return b"\xdb" + struct.pack(">I", len(text)) + text
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, (list, tuple)):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(pack(each) for each in value)
    return b"\xdf" + struct.pack(">I", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())


class Unpacker:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        assert self.at <= len(self.data), "cut"
        return self.data[self.at - count : self.at]

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def value(self):
        tag = self.number("B")
        if tag < 0x80:
            return tag
        if tag < 0x90:
            return self.map(tag & 15)
        if tag < 0xA0:
            return self.array(tag & 15)
        if tag < 0xC0:
            return self.take(tag & 31).decode()
        if tag >= 0xE0:
            return tag - 256
        if tag in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[tag]
        if tag in (0xC4, 0xC5, 0xC6):
            return self.take(self.number("BHI"[tag - 0xC4]))
        if tag == 0xCB:
            return int(self.number("d"))
        if 0xCC <= tag <= 0xCF:
            return self.number("BHIQ"[tag - 0xCC])
        if 0xD0 <= tag <= 0xD3:
            return self.number("bhiq"[tag - 0xD0])
        if tag in (0xD9, 0xDA, 0xDB):
            return self.take(self.number("BHI"[tag - 0xD9])).decode()
        if tag in (0xDC, 0xDD):
            return self.array(self.number("HI"[tag - 0xDC]))
        if tag in (0xDE, 0xDF):
            return self.map(self.number("HI"[tag - 0xDE]))
        raise ValueError(f"tag {tag:x}")

    def array(self, count):
        return [self.value() for _ in range(count)]

    def map(self, count):
        return {self.value(): self.value() for _ in range(count)}


# -- the WebSocket


class Closed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"{code} {reason}")
        self.code = code


class WebSocket:
    def __init__(self, host, port, protocols):
        self.socket = socket.create_connection((host, port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")
        offered = "".join(f"Sec-WebSocket-Protocol: {protocol}\r\n" for protocol in protocols)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/stream HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offered}\r\n".encode()
        )
        self.status = int(self.input.readline().split()[1])
        self.headers = {}
        while line := self.input.readline().strip():
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def send(self, payload, opcode=2):
        mask = os.urandom(4)
        length = len(payload)
        head = bytes([0x80 | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 0x10000:
            head += b"\xfe" + struct.pack(">H", length)
        else:
            head += b"\xff" + struct.pack(">Q", length)
        masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
        self.socket.sendall(head + mask + masked)

    def receive(self):
        """The next binary message; raises Closed."""
        message = b""
        while True:
            head = self.input.read(2)
            if len(head) < 2:
                raise Closed(1006, "")
            length = head[1] & 0x7F
            if length > 125:
                length = struct.unpack(">H" if length == 126 else ">Q", self.input.read(2 if length == 126 else 8))[0]
            payload = self.input.read(length)
            opcode = head[0] & 15
            if opcode == 8:
                code = struct.unpack(">H", payload[:2])[0] if payload else 1005
                self.cut()
                raise Closed(code, payload[2:].decode())
            if opcode == 9:
                self.send(payload, 10)
            elif opcode in (0, 2):
                message += payload
                if head[0] & 0x80:
                    return message

    def close(self, code):
        self.send(struct.pack(">H", code), 8)
        try:
            while True:
                self.receive()
        except Closed:
            pass

    def cut(self):
        """As a network that is gone: without a word."""
        self.input.close()
        self.socket.close()


# -- the protocol


class Refused(Exception):
    def __init__(self, error):
        super().__init__(f"{error['name']}: {error['message']}")
        self.error = error


class Client:
    def __init__(self, host, port):
        self.socket = WebSocket(host, port, ["odradek.v1"])
        assert self.socket.status == 101, self.socket.status
        self.next_id = 1
        self.answers = {}
        self.pushed = deque()
        self.hello = self.ask({"t": "hello", "client": {"name": "python", "version": "1"}})

    def note(self, frame):
        self.socket.send(pack(frame))

    def start(self, frame):
        """Sends a request without waiting; `answer` takes its number."""
        number, self.next_id = self.next_id, self.next_id + 1
        self.note({**frame, "id": number})
        return number

    def answer(self, number):
        while number not in self.answers:
            self.step()
        frame = self.answers.pop(number)
        if frame["t"] == "error":
            raise Refused(frame["error"])
        return frame

    def ask(self, frame):
        return self.answer(self.start(frame))

    def call(self, verb, body):
        return self.ask({"t": "call", "verb": verb, "body": body})["body"]

    def step(self):
        frame = Unpacker(self.socket.receive()).value()
        if frame["t"] == "ping":
            self.note({"t": "pong", "n": frame["n"]})
        elif frame["t"] in ("ok", "error"):
            self.answers[frame["id"]] = frame
        elif frame["t"] != "pong":
            self.pushed.append(frame)

    def push(self, *types):
        """The next frame that was not asked for; it must be of one of the types."""
        while not self.pushed:
            self.step()
        frame = self.pushed.popleft()
        assert frame["t"] in types, frame
        return frame


class Reader:
    """A stream: its records in order and, by partition, where it goes on."""

    def __init__(self, client, number):
        self.client, self.number = client, number
        self.positions, self.records, self.member_epoch = {}, [], None

    def open(self, options):
        answer = self.client.ask({"t": "open", "stream": self.number, **options})
        self.placed(answer["partitions"])
        return answer

    def placed(self, partitions):
        for each in partitions:
            self.positions[each["topic"], each["partition"]] = each["position"]

    def grant(self, records, size):
        self.client.note({"t": "credit", "stream": self.number, "records": records, "bytes": size})

    def take(self, frame):
        """What a pushed frame does to the stream; answers the cost of its records."""
        cost = [0, 0]
        if frame["t"] == "assigned":
            self.member_epoch = frame["memberEpoch"]
            self.placed(frame["partitions"])
        if frame["t"] in ("revoke", "lost"):
            for each in frame["partitions"]:
                self.positions.pop((each["topic"], each["partition"]))
        for batch in frame.get("batches", []):
            place = batch["topic"], batch["partition"]
            for offset, _, key, value, *headers in batch["records"]:
                self.records.append((place[1], offset, value.decode()))
                cost[0] += 1
                cost[1] += len(key or b"") + len(value) + 16
                for name, content in headers[0] if headers else []:
                    cost[1] += len(name.encode()) + len(content or b"")
            offset, epoch = batch["next"]
            self.positions[place] = {**self.positions[place], "offset": offset, "leaderEpoch": epoch}
        return cost

    def read(self, count):
        """Until `count` records are there in all."""
        while len(self.records) < count:
            self.take(self.client.push("records", "assigned"))


class Producer:
    """An idempotent one: counts its sequences by partition, and keeps what is unanswered to send it again."""

    def __init__(self, client, transactional_id=None):
        self.transaction = {} if transactional_id is None else {"transactionalId": transactional_id}
        self.began(client.ask({"t": "initProducer", **self.transaction}))

    def began(self, answer):
        self.identity, self.sequences = answer["producer"], {}

    def batch(self, topic, partition, records):
        sequence = self.sequences.get((topic, partition), 0)
        self.sequences[topic, partition] = sequence + len(records)
        producer = {**self.identity, "sequence": sequence}
        return {
            "t": "produce", "topic": topic, "partition": partition, "records": records, "producer": producer,
            **self.transaction,
        }  # fmt: skip

    def end(self, client, commit):
        self.began(client.ask({"t": "endTxn", "producer": self.identity, "commit": commit, **self.transaction}))


def member_id():
    return str(uuid.uuid4())
