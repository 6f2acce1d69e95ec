/* The load generator for the second door: bare sockets and epoll, so that it is not what is measured. It speaks the stream
 * protocol (odradek) and NATS' protocol (nats) over WebSocket, and as much of Kafka's over TCP (kafka) as readers and idle
 * connections need.
 *
 *   load odradek|nats latency  PORT TOPIC SIZE COUNT               one record at a time, send to acknowledgement
 *   load odradek|nats produce  PORT TOPIC SIZE COUNT BATCH DEPTH   records in batches (nats: one by one), DEPTH batches unanswered
 *   load odradek|nats consume  PORT TOPIC SIZE COUNT               from the beginning
 *   load odradek|nats|kafka fanout PORT TOPIC SIZE COUNT BATCH READERS [DOOR]
 *                                                                  READERS readers at the end, one producer (kafka: over DOOR, the
 *                                                                  port of its WebSocket); until all have all, and how late
 *   load odradek|nats|kafka idle PORT TOPIC COUNT                  opens connections, prints a line, waits for a line
 *
 * Prints one line of JSON. Anything unexpected is an error exit.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

/* --- growing bytes */

typedef struct {
  uint8_t *data;
  size_t length, capacity;
} Bytes;

static void reserve(Bytes *b, size_t more) {
  if (b->length + more <= b->capacity) return;
  size_t capacity = b->capacity ? b->capacity : 256;
  while (capacity < b->length + more) capacity *= 2;
  b->data = realloc(b->data, capacity);
  if (!b->data) die("memory", "none left");
  b->capacity = capacity;
}

static void put(Bytes *b, const void *data, size_t length) {
  reserve(b, length);
  memcpy(b->data + b->length, data, length);
  b->length += length;
}

static void put8(Bytes *b, uint8_t value) { put(b, &value, 1); }
static void put_be(Bytes *b, uint64_t value, int width) {
  for (int shift = (width - 1) * 8; shift >= 0; shift -= 8) put8(b, value >> shift);
}
static void put_text(Bytes *b, const char *text) { put(b, text, strlen(text)); }

static uint64_t get_be(const uint8_t *at, int width) {
  uint64_t value = 0;
  for (int i = 0; i < width; i++) value = value << 8 | at[i];
  return value;
}

/* --- MessagePack */

static void pack_map(Bytes *b, int count) { put8(b, 0x80 | count); }
static void pack_array(Bytes *b, uint32_t count) { put8(b, 0xdd), put_be(b, count, 4); }
static void pack_str(Bytes *b, const char *text) {
  size_t length = strlen(text);
  if (length < 32) put8(b, 0xa0 | length);
  else put8(b, 0xd9), put8(b, length);
  put_text(b, text);
}
static void pack_int(Bytes *b, uint32_t value) { put8(b, 0xce), put_be(b, value, 4); }
static void pack_pair(Bytes *b, const char *key, uint32_t value) { pack_str(b, key), pack_int(b, value); }
static void pack_text_pair(Bytes *b, const char *key, const char *value) { pack_str(b, key), pack_str(b, value); }

static const uint8_t *skip(const uint8_t *at);
static const uint8_t *skip_many(const uint8_t *at, uint64_t count) {
  while (count--) at = skip(at);
  return at;
}
static const uint8_t *skip(const uint8_t *at) {
  uint8_t head = *at++;
  if (head < 0x80 || head >= 0xe0 || head == 0xc0 || head == 0xc2 || head == 0xc3) return at;
  if (head < 0x90) return skip_many(at, 2 * (head & 15));
  if (head < 0xa0) return skip_many(at, head & 15);
  if (head < 0xc0) return at + (head & 31);
  switch (head) {
    case 0xc4: case 0xd9: return at + 1 + at[0];
    case 0xc5: case 0xda: return at + 2 + get_be(at, 2);
    case 0xc6: case 0xdb: return at + 4 + get_be(at, 4);
    case 0xcc: case 0xd0: return at + 1;
    case 0xcd: case 0xd1: return at + 2;
    case 0xca: case 0xce: case 0xd2: return at + 4;
    case 0xcb: case 0xcf: case 0xd3: return at + 8;
    case 0xdc: return skip_many(at + 2, get_be(at, 2));
    case 0xdd: return skip_many(at + 4, get_be(at, 4));
    case 0xde: return skip_many(at + 2, 2 * get_be(at, 2));
    case 0xdf: return skip_many(at + 4, 2 * get_be(at, 4));
  }
  die("MessagePack", "a type that nobody sends");
  return at;
}

static uint64_t unpack_count(const uint8_t **at) {
  uint8_t head = *(*at)++;
  if (head >= 0x80 && head < 0xa0) return head & 15;
  int width = head == 0xdc || head == 0xde ? 2 : 4;
  uint64_t count = get_be(*at, width);
  *at += width;
  return count;
}

static int is_str(const uint8_t *at, const char *text) {
  size_t length = strlen(text);
  return at[0] == (0xa0 | length) && !memcmp(at + 1, text, length);
}

/* --- connections */

enum Protocol { ODRADEK, NATS, KAFKA };

typedef struct Connection Connection;
struct Connection {
  int socket;
  enum Protocol protocol;
  int upgraded, writing, index;
  Bytes in, out, text;
  size_t out_at;
  int64_t received, granted_at, acked;
  int64_t last_ack_ns;
  int ready;
  int64_t offset;
};

static int epoll;
static char *topic;
static int size;
static int64_t answered;
static int64_t *late;
static int64_t late_count, late_capacity;
static int64_t first_record_ns;
static int timed;

static void note_late(int64_t ns) {
  if (late_count == late_capacity) {
    late_capacity = late_capacity ? late_capacity * 2 : 4096;
    late = realloc(late, late_capacity * sizeof *late);
  }
  late[late_count++] = ns;
}

static void flush(Connection *c) {
  while (c->out_at < c->out.length) {
    ssize_t sent = send(c->socket, c->out.data + c->out_at, c->out.length - c->out_at, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) die("send", strerror(errno));
      if (!c->writing) {
        struct epoll_event event = {EPOLLIN | EPOLLOUT, {.ptr = c}};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->socket, &event);
        c->writing = 1;
      }
      return;
    }
    c->out_at += sent;
  }
  c->out.length = c->out_at = 0;
  if (!c->writing) return;
  struct epoll_event event = {EPOLLIN, {.ptr = c}};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->socket, &event);
  c->writing = 0;
}

/* A binary message. The mask of all zeros leaves it as it is. */
static void message(Connection *c, const Bytes *body) {
  put8(&c->out, 0x82);
  if (body->length < 126) put8(&c->out, 0x80 | body->length);
  else if (body->length < 65536) put8(&c->out, 0x80 | 126), put_be(&c->out, body->length, 2);
  else put8(&c->out, 0x80 | 127), put_be(&c->out, body->length, 8);
  put_be(&c->out, 0, 4);
  put(&c->out, body->data, body->length);
}

static void send_message(Connection *c, Bytes *body) {
  message(c, body);
  body->length = 0;
  flush(c);
}

static Connection *open_connection(enum Protocol protocol, int port) {
  Connection *c = calloc(1, sizeof *c);
  c->protocol = protocol;
  c->socket = socket(AF_INET, SOCK_STREAM, 0);
  if (c->socket < 0) die("socket", strerror(errno));
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  /* More connections than one source address has ports. */
  static int opened;
  struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + opened++ / 20000)};
  bind(c->socket, (struct sockaddr *)&source, sizeof source);
  if (connect(c->socket, (struct sockaddr *)&address, sizeof address)) die("connect", strerror(errno));
  int on = 1;
  setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(c->socket, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {EPOLLIN, {.ptr = c}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, c->socket, &event);
  if (protocol == KAFKA) {
    c->upgraded = 1;
    return c;
  }
  char request[512];
  snprintf(request, sizeof request,
           "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
           protocol == ODRADEK ? "/v1/stream" : "/", port,
           protocol == ODRADEK ? "Sec-WebSocket-Protocol: odradek.v1\r\n" : "");
  put_text(&c->out, request);
  flush(c);
  return c;
}

static Bytes body;

static void begin(const char *type, int fields, uint32_t id) {
  body.length = 0;
  pack_map(&body, fields + 1 + (id ? 1 : 0));
  pack_text_pair(&body, "t", type);
  if (id) pack_pair(&body, "id", id);
}

#define WINDOW_RECORDS 500000
#define WINDOW_BYTES (128 << 20)

static void hello(Connection *c) {
  if (c->protocol == NATS) {
    put_text(&body, "CONNECT {\"verbose\":false,\"headers\":false}\r\nPING\r\n");
    return send_message(c, &body);
  }
  begin("hello", 1, 1);
  pack_str(&body, "client"), pack_map(&body, 2), pack_text_pair(&body, "name", "load"), pack_text_pair(&body, "version", "1");
  send_message(c, &body);
}

static void subscribe(Connection *c, const char *from) {
  if (c->protocol == NATS) {
    char line[256];
    int length = snprintf(line, sizeof line, "SUB %s 1\r\nPING\r\n", topic);
    put(&body, line, length);
    return send_message(c, &body);
  }
  begin("open", 3, 2);
  pack_pair(&body, "stream", 1);
  pack_str(&body, "partitions"), pack_array(&body, 1), pack_map(&body, 3);
  pack_text_pair(&body, "topic", topic), pack_pair(&body, "partition", 0), pack_text_pair(&body, "from", from);
  pack_str(&body, "credit"), pack_map(&body, 2);
  pack_pair(&body, "records", WINDOW_RECORDS), pack_pair(&body, "bytes", WINDOW_BYTES);
  send_message(c, &body);
}

static void top_up(Connection *c) {
  int64_t used = c->received - c->granted_at;
  if (used * 4 < WINDOW_RECORDS && used * (size + 16) * 4 < WINDOW_BYTES) return;
  c->granted_at = c->received;
  begin("credit", 3, 0);
  pack_pair(&body, "stream", 1), pack_pair(&body, "records", used), pack_pair(&body, "bytes", used * (size + 16));
  send_message(c, &body);
}

/* A payload begins with when it was sent. */
static void note_record(const uint8_t *payload) {
  if (!first_record_ns) first_record_ns = now_ns();
  if (timed) note_late(now_ns() - (int64_t)get_be(payload, 8));
}

static void odradek_frame(Connection *c, const uint8_t *at, size_t length) {
  const uint8_t *end = at + length;
  uint64_t fields = unpack_count(&at);
  const uint8_t *type = NULL, *batches = NULL, *ping = NULL;
  while (fields-- && at < end) {
    const uint8_t *key = at;
    at = skip(at);
    if (is_str(key, "t")) type = at;
    else if (is_str(key, "batches")) batches = at;
    else if (is_str(key, "n")) ping = at;
    if (batches && type && is_str(type, "records")) break;
    at = skip(at);
  }
  if (!type) die("frame", "without a type");
  if (is_str(type, "ok")) {
    c->acked++, answered++, c->last_ack_ns = now_ns();
  } else if (is_str(type, "records") && batches) {
    for (uint64_t count = unpack_count(&batches); count--;) {
      for (uint64_t keys = unpack_count(&batches); keys--;) {
        int is_records = is_str(batches, "records");
        batches = skip(batches);
        const uint8_t *value = batches;
        if (is_records) {
          uint64_t records = unpack_count(&value);
          c->received += records;
          if (records && (timed || !first_record_ns)) {
            /* [offset, timestamp, key, value] */
            unpack_count(&value);
            value = skip_many(value, 3);
            note_record(value + (*value == 0xc4 ? 2 : *value == 0xc5 ? 3 : 5));
          }
        }
        batches = skip(batches);
      }
    }
    top_up(c);
  } else if (is_str(type, "ping")) {
    size_t width = skip(ping) - ping;
    begin("pong", 1, 0);
    pack_str(&body, "n"), put(&body, ping, width);
    send_message(c, &body);
  } else if (is_str(type, "error")) {
    fwrite(type, 1, end - type, stderr);
    die("", "refused");
  }
}

/* Lines and messages of NATS' protocol, which frames cut anywhere. */
static void nats_bytes(Connection *c, const uint8_t *at, size_t length) {
  put(&c->text, at, length);
  size_t done = 0;
  while (done < c->text.length) {
    char *line = (char *)c->text.data + done;
    char *end = memmem(line, c->text.length - done, "\r\n", 2);
    if (!end) break;
    size_t next = end + 2 - (char *)c->text.data;
    if (!strncmp(line, "MSG ", 4)) {
      char *space = end;
      while (space[-1] != ' ') space--;
      size_t payload = strtoul(space, NULL, 10);
      if (next + payload + 2 > c->text.length) break;
      if (!strncmp(line + 4, "_INBOX", 6)) {
        if (memmem(c->text.data + next, payload, "\"error\"", 7)) die("nats", (char *)c->text.data + next);
        c->acked++, answered++, c->last_ack_ns = now_ns();
      } else {
        c->received++;
        if (timed || !first_record_ns) note_record(c->text.data + next);
      }
      next += payload + 2;
    } else if (!strncmp(line, "PING", 4)) {
      put_text(&body, "PONG\r\n");
      send_message(c, &body);
    } else if (!strncmp(line, "PONG", 4)) {
      c->acked++, answered++;
    } else if (!strncmp(line, "-ERR", 4)) {
      *end = 0;
      die("nats", line);
    }
    done = next;
  }
  memmove(c->text.data, c->text.data + done, c->text.length - done);
  c->text.length -= done;
}

/* Fetch v4 of partition 0 from an offset, waiting up to 30 s; ApiVersions v0 for an idle connection. */
static void kafka_fetch(Connection *c) {
  Bytes *b = &c->out;
  size_t start = b->length;
  put_be(b, 0, 4), put_be(b, 1, 2), put_be(b, 4, 2), put_be(b, 1, 4), put_be(b, 4, 2), put_text(b, "load");
  put_be(b, 0xffffffff, 4), put_be(b, 30000, 4), put_be(b, 1, 4), put_be(b, 1 << 20, 4), put8(b, 0);
  put_be(b, 1, 4), put_be(b, strlen(topic), 2), put_text(b, topic);
  put_be(b, 1, 4), put_be(b, 0, 4), put_be(b, c->offset, 8), put_be(b, 1 << 20, 4);
  uint64_t length = b->length - start - 4;
  for (int i = 0; i < 4; i++) b->data[start + i] = length >> (24 - 8 * i);
  flush(c);
}

static void kafka_api_versions(Connection *c) {
  static const uint8_t probe[] = {0, 0, 0, 11, 0, 18, 0, 0, 0, 0, 0, 1, 0, 1, 'x'};
  put(&c->out, probe, sizeof probe);
  flush(c);
}

static void kafka_response(Connection *c, const uint8_t *at, size_t length) {
  if (!c->ready) {
    c->acked++, answered++, c->ready = 1;
    return;
  }
  /* correlation, throttle, 1 topic, name, 1 partition, index, error, high watermark, stable, aborted */
  const uint8_t *p = at + 4 + 4 + 4;
  p += 2 + get_be(p, 2) + 4 + 4;
  if (get_be(p, 2)) die("fetch", "error");
  p += 2 + 8 + 8;
  int32_t aborted = (int32_t)get_be(p, 4);
  p += 4 + (aborted > 0 ? aborted * 16 : 0);
  int32_t records = (int32_t)get_be(p, 4);
  p += 4;
  const uint8_t *end = p + records;
  while (p + 61 <= end) {
    size_t batch = 12 + get_be(p + 8, 4);
    c->received += get_be(p + 57, 4);
    c->offset = get_be(p, 8) + get_be(p + 23, 4) + 1;
    /* length, attributes, timestamp, offset, key (null), value length, value: varints of one or two bytes */
    const uint8_t *r = p + 61;
    while (*r++ & 0x80) {}
    r++;
    for (int field = 0; field < 4; field++) while (*r++ & 0x80) {}
    if (timed || !first_record_ns) note_record(r);
    p += batch;
  }
  (void)length;
  kafka_fetch(c);
}

static void take(Connection *c) {
  size_t at = 0;
  Bytes *in = &c->in;
  if (!c->upgraded) {
    uint8_t *end = memmem(in->data, in->length, "\r\n\r\n", 4);
    if (!end) return;
    if (memcmp(in->data, "HTTP/1.1 101", 12)) die("upgrade", (char *)in->data);
    c->upgraded = 1;
    at = end + 4 - in->data;
    hello(c);
  }
  for (;;) {
    size_t left = in->length - at;
    const uint8_t *p = in->data + at;
    if (c->protocol == KAFKA) {
      if (left < 4 || left < 4 + get_be(p, 4)) break;
      size_t length = get_be(p, 4);
      kafka_response(c, p + 4, length);
      at += 4 + length;
      continue;
    }
    if (left < 2) break;
    size_t header = 2, length = p[1] & 127;
    if (length == 126) header = 4;
    else if (length == 127) header = 10;
    if (left < header) break;
    if (header > 2) length = get_be(p + 2, header - 2);
    if (left < header + length) break;
    int opcode = p[0] & 15;
    if (opcode == 8) die("closed", length > 2 ? (char *)p + header + 2 : "");
    if (opcode == 9) {
      put8(&c->out, 0x8a), put8(&c->out, 0x80 | length), put_be(&c->out, 0, 4), put(&c->out, p + header, length);
      flush(c);
    } else if (opcode < 3) {
      if (c->protocol == ODRADEK) odradek_frame(c, p + header, length);
      else nats_bytes(c, p + header, length);
    }
    at += header + length;
  }
  memmove(in->data, in->data + at, in->length - at);
  in->length -= at;
}

static void turn(int timeout) {
  struct epoll_event events[512];
  int count = epoll_wait(epoll, events, 512, timeout);
  for (int i = 0; i < count; i++) {
    Connection *c = events[i].data.ptr;
    if (events[i].events & EPOLLOUT) flush(c);
    if (!(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
    reserve(&c->in, c->in.length ? 1 << 20 : 1 << 16);
    ssize_t got = recv(c->socket, c->in.data + c->in.length, c->in.capacity - c->in.length, 0);
    if (got == 0) die("connection", "closed by the server");
    if (got < 0 && errno != EAGAIN) die("recv", strerror(errno));
    if (got <= 0) continue;
    c->in.length += got;
    take(c);
    /* Ten thousand idle connections should not hold a buffer each. */
    if (!c->in.length && c->in.capacity > 1 << 16) free(c->in.data), memset(&c->in, 0, sizeof c->in);
  }
}

static void await(int64_t count) {
  while (answered < count) turn(10000);
}

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

static void print_late(const char *name) {
  qsort(late, late_count, sizeof *late, compare);
  printf("\"%s\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name, late[late_count / 2] / 1e3,
         late[late_count * 99 / 100] / 1e3, late[late_count - 1] / 1e3);
}

/* One batch of `count` records; nats has no batches, and sends each with an inbox for its acknowledgement. */
static void publish(Connection *c, uint32_t id, int count, const uint8_t *payload) {
  uint8_t stamp[8];
  uint64_t ns = now_ns();
  for (int i = 0; i < 8; i++) stamp[i] = ns >> (56 - 8 * i);
  if (c->protocol == NATS) {
    char line[256];
    int length = snprintf(line, sizeof line, "PUB %s _INBOX.a %d\r\n", topic, size);
    for (int i = 0; i < count; i++) {
      put(&body, line, length), put(&body, stamp, 8), put(&body, payload + 8, size - 8), put_text(&body, "\r\n");
    }
    return send_message(c, &body);
  }
  begin("produce", 3, id);
  pack_text_pair(&body, "topic", topic), pack_pair(&body, "partition", 0);
  pack_str(&body, "records"), pack_array(&body, count);
  for (int i = 0; i < count; i++) {
    put8(&body, 0x92), put8(&body, 0xc0), put8(&body, 0xc6), put_be(&body, size, 4);
    put(&body, stamp, 8), put(&body, payload + 8, size - 8);
  }
  send_message(c, &body);
}

static double seconds(int64_t from) { return (now_ns() - from) / 1e9; }

/* Stream and, for readers, a consumer that pushes everything: what JetStream needs before the first record. */
static void nats_setup(Connection *c, int consumer) {
  char json[512], line[1024];
  put_text(&body, "SUB _INBOX.a 9\r\n");
  if (consumer) {
    snprintf(line, sizeof line, "SUB deliver.%s 1\r\n", topic);
    put_text(&body, line);
    snprintf(json, sizeof json,
             "{\"stream_name\":\"S_%s\",\"config\":{\"deliver_subject\":\"deliver.%s\",\"ack_policy\":\"none\",\"deliver_policy\":\"all\",\"replay_policy\":\"instant\"}}",
             topic, topic);
    snprintf(line, sizeof line, "PUB $JS.API.CONSUMER.CREATE.S_%s _INBOX.a %zu\r\n%s\r\n", topic, strlen(json), json);
  } else {
    snprintf(json, sizeof json, "{\"name\":\"S_%s\",\"subjects\":[\"%s\"],\"storage\":\"file\",\"num_replicas\":1}", topic, topic);
    snprintf(line, sizeof line, "PUB $JS.API.STREAM.CREATE.S_%s _INBOX.a %zu\r\n%s\r\n", topic, strlen(json), json);
  }
  put_text(&body, line);
  int64_t before = answered;
  send_message(c, &body);
  await(before + 1);
}

static Connection *greeted(enum Protocol protocol, int port) {
  int64_t before = answered;
  Connection *c = open_connection(protocol, port);
  if (protocol == KAFKA) kafka_api_versions(c);
  await(before + 1);
  return c;
}

int main(int argc, char **argv) {
  if (argc < 5) die("arguments", "load PROTOCOL MODE PORT TOPIC …");
  enum Protocol protocol = !strcmp(argv[1], "odradek") ? ODRADEK : !strcmp(argv[1], "nats") ? NATS : KAFKA;
  const char *mode = argv[2];
  int port = atoi(argv[3]);
  topic = argv[4];
  struct rlimit files = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &files);
  epoll = epoll_create1(0);
  if (!strcmp(mode, "idle")) {
    int64_t count = atoll(argv[5]);
    Connection **all = calloc(count, sizeof *all);
    for (int64_t i = 0; i < count; i++) all[i] = greeted(protocol, port);
    /* Each with one reader at the end of the topic, as a page that waits for news. */
    for (int64_t i = 0; i < count; i++) {
      int64_t before = answered;
      if (protocol == KAFKA) {
        kafka_fetch(all[i]);
        continue;
      }
      subscribe(all[i], "latest");
      await(before + 1);
    }
    for (int64_t until = now_ns() + 1000000000; now_ns() < until;) turn(100);
    printf("ready\n");
    fflush(stdout);
    struct epoll_event event = {EPOLLIN, {.ptr = NULL}};
    fcntl(0, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    for (;;) {
      struct epoll_event one;
      if (epoll_wait(epoll, &one, 1, -1) < 1) continue;
      if (!one.data.ptr) return 0;
      Connection *c = one.data.ptr;
      reserve(&c->in, 1 << 16);
      ssize_t got = recv(c->socket, c->in.data + c->in.length, c->in.capacity - c->in.length, 0);
      if (got == 0) die("connection", "closed by the server");
      if (got > 0) c->in.length += got, take(c);
    }
  }
  size = atoi(argv[5]);
  int64_t count = atoll(argv[6]);
  uint8_t *payload = malloc(size);
  for (int i = 0; i < size; i++) payload[i] = 'a' + i % 26;

  if (!strcmp(mode, "latency")) {
    Connection *c = greeted(protocol, port);
    if (protocol == NATS) nats_setup(c, 0);
    int64_t warm = count / 10 + 10;
    for (int64_t i = 0; i < warm + count; i++) {
      int64_t start = now_ns(), before = answered;
      publish(c, 100 + i, 1, payload);
      await(before + 1);
      if (i >= warm) note_late(c->last_ack_ns - start);
    }
    printf("{");
    print_late("ackMicroseconds");
    printf("}\n");
  } else if (!strcmp(mode, "produce")) {
    int batch = atoi(argv[7]), depth = atoi(argv[8]);
    Connection *c = greeted(protocol, port);
    if (protocol == NATS) nats_setup(c, 0);
    int64_t acks = protocol == NATS ? batch : 1, before = answered, sent = 0, start = now_ns();
    for (int64_t done = 0; done * batch < count; done = (answered - before) / acks) {
      while (sent * batch < count && sent - done < depth) publish(c, 100 + sent++, batch, payload);
      turn(10000);
    }
    printf("{\"recordsPerSecond\":%.0f}\n", count / seconds(start));
  } else if (!strcmp(mode, "consume")) {
    Connection *c = greeted(protocol, port);
    if (protocol == NATS) nats_setup(c, 1);
    else subscribe(c, "earliest");
    while (c->received < count) turn(10000);
    printf("{\"recordsPerSecond\":%.0f}\n", count / seconds(first_record_ns));
  } else if (!strcmp(mode, "fanout")) {
    int batch = atoi(argv[7]), readers = atoi(argv[8]);
    Connection *producer = greeted(protocol == KAFKA ? ODRADEK : protocol, protocol == KAFKA ? atoi(argv[9]) : port);
    if (protocol == NATS) nats_setup(producer, 0);
    Connection **all = calloc(readers, sizeof *all);
    for (int i = 0; i < readers; i++) {
      all[i] = greeted(protocol, port);
      int64_t before = answered;
      if (protocol == KAFKA) kafka_fetch(all[i]);
      else subscribe(all[i], "latest"), await(before + 1);
    }
    for (int64_t until = now_ns() + 500000000; now_ns() < until;) turn(100);
    /* First as fast as it goes. */
    first_record_ns = 1;
    int64_t sent = 0, before = answered, acks = protocol == NATS ? batch : 1, start = now_ns();
    for (;;) {
      int64_t done = (answered - before) / acks, least = INT64_MAX;
      for (int i = 0; i < readers; i++) if (all[i]->received < least) least = all[i]->received;
      if (least >= count) break;
      /* What readers have not had yet is what would pile up: a live feed is as fast as its readers. */
      while (sent * batch < count && sent - done < 4 && sent * batch - least < 8 * batch) publish(producer, 100 + sent++, batch, payload);
      turn(10000);
    }
    double took = seconds(start);
    /* Then one record every 20 ms: how late each reader has it. */
    timed = 1;
    late_count = 0;
    for (int i = 0; i < 50; i++) {
      int64_t wanted = late_count + readers;
      publish(producer, 1000000 + i, 1, payload);
      while (late_count < wanted) turn(10000);
      for (int64_t until = now_ns() + 20000000; now_ns() < until;) turn(1);
    }
    printf("{\"deliveredPerSecond\":%.0f,", count / took * readers);
    print_late("lateMicroseconds");
    printf("}\n");
  } else die("mode", mode);
  return 0;
}
