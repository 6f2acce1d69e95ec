/* The load generator of the benchmark: one client, librdkafka, the same for every broker.
 *
 *   load produce HOST:PORT TOPIC PARTITIONS SIZE COUNT [KEY=VALUE ...]   records of SIZE bytes round-robin over the partitions
 *   load consume HOST:PORT TOPIC PARTITIONS SIZE COUNT [KEY=VALUE ...]   reads COUNT records from the beginning, by assignment
 *   load latency HOST:PORT TOPIC COUNT [KEY=VALUE ...]                   one record at a time: to the ack, then to a consumer
 *
 *   load echo HOST:PORT SIZE COUNT DEPTH                                 raw frames against the echo server, DEPTH in flight
 *   load repeat HOST:PORT FILE CONNECTIONS COUNT                         FILE's frame again and again, one in flight on each
 *                                                                        connection; every answer must be the same
 *
 * KEY=VALUE are librdkafka properties. Prints one line of JSON. Any failed delivery is an error exit. The clock starts when the
 * first record is handed over (produce) or arrives (consume), so that connecting and metadata are not measured.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
  char error[512];
  if (rd_kafka_conf_set(conf, key, value, error, sizeof error) != RD_KAFKA_CONF_OK) die(key, error);
}

static void set_all(rd_kafka_conf_t *conf, char **pairs, int count) {
  for (int i = 0; i < count; i++) {
    char *equals = strchr(pairs[i], '=');
    if (!equals) die("not KEY=VALUE", pairs[i]);
    *equals = 0;
    set(conf, pairs[i], equals + 1);
    *equals = '=';
  }
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
  char error[512];
  rd_kafka_t *handle = rd_kafka_new(type, conf, error, sizeof error);
  if (!handle) die("rd_kafka_new", error);
  return handle;
}

static rd_kafka_topic_t *topic_of(rd_kafka_t *handle, const char *name) {
  rd_kafka_topic_t *topic = rd_kafka_topic_new(handle, name, NULL);
  if (!topic) die("topic", rd_kafka_err2str(rd_kafka_last_error()));
  return topic;
}

/* Connected and the topic known before the clock starts; creates the topic where the broker does that. */
static void wait_for_topic(rd_kafka_t *handle, rd_kafka_topic_t *topic, int partitions) {
  for (int attempt = 0; attempt < 200; attempt++) {
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(handle, 0, topic, &metadata, 5000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
      int ready = metadata->topic_cnt == 1 && !metadata->topics[0].err && metadata->topics[0].partition_cnt >= partitions;
      for (int i = 0; ready && i < metadata->topics[0].partition_cnt; i++) ready = metadata->topics[0].partitions[i].leader >= 0;
      rd_kafka_metadata_destroy(metadata);
      if (ready) return;
    }
    struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
  }
  die("topic", "no leader");
}

static int64_t delivered, failed;
static volatile int64_t acked_at;

static void on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque) {
  (void)handle;
  (void)opaque;
  acked_at = now_ns();
  if (message->err) {
    if (failed++ == 0) fprintf(stderr, "delivery: %s\n", rd_kafka_err2str(message->err));
  } else delivered++;
}

static int64_t wall_ns_of(int64_t began) { return now_ns() - began; }

static int produce(int argc, char **argv) {
  if (argc < 7) die("usage", "produce HOST:PORT TOPIC PARTITIONS SIZE COUNT");
  int partitions = atoi(argv[4]);
  size_t size = (size_t)atol(argv[5]);
  int64_t count = atoll(argv[6]);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", argv[2]);
  set(conf, "acks", "all");
  set(conf, "message.timeout.ms", "30000");
  set(conf, "linger.ms", "5");
  set(conf, "batch.size", "1000000");
  set(conf, "queue.buffering.max.messages", "500000");
  set(conf, "queue.buffering.max.kbytes", "512000");
  set_all(conf, argv + 7, argc - 7);
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t *topic = topic_of(producer, argv[3]);
  wait_for_topic(producer, topic, partitions);
  char *body = malloc(size);
  /* Not all equal bytes, not random either: about what JSON lines look like to a checksum. */
  for (size_t i = 0; i < size; i++) body[i] = (char)('a' + (i * 7 + i / 13) % 26);
  int64_t began = now_ns();
  for (int64_t i = 0; i < count; i++) {
    while (rd_kafka_produce(topic, (int32_t)(i % partitions), RD_KAFKA_MSG_F_COPY, body, size, NULL, 0, NULL) == -1) {
      if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("produce", rd_kafka_err2str(rd_kafka_last_error()));
      rd_kafka_poll(producer, 5);
    }
    if ((i & 1023) == 0) rd_kafka_poll(producer, 0);
  }
  while (rd_kafka_outq_len(producer) > 0) rd_kafka_poll(producer, 10);
  double seconds = (double)wall_ns_of(began) / 1e9;
  if (failed || delivered != count) {
    fprintf(stderr, "%lld delivered, %lld failed of %lld\n", (long long)delivered, (long long)failed, (long long)count);
    return 1;
  }
  printf("{\"seconds\":%.4f,\"recordsPerSecond\":%.0f,\"megabytesPerSecond\":%.2f}\n", seconds, (double)count / seconds,
         (double)count * (double)size / seconds / 1e6);
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(producer);
  free(body);
  return 0;
}

static int consume(int argc, char **argv) {
  if (argc < 7) die("usage", "consume HOST:PORT TOPIC PARTITIONS SIZE COUNT");
  int partitions = atoi(argv[4]);
  size_t size = (size_t)atol(argv[5]);
  int64_t count = atoll(argv[6]);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", argv[2]);
  set(conf, "queued.min.messages", "1000000");
  set(conf, "fetch.message.max.bytes", "4000000");
  set_all(conf, argv + 7, argc - 7);
  rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, conf);
  rd_kafka_topic_t *topic = topic_of(consumer, argv[3]);
  wait_for_topic(consumer, topic, partitions);
  rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer);
  for (int partition = 0; partition < partitions; partition++) {
    if (rd_kafka_consume_start_queue(topic, partition, RD_KAFKA_OFFSET_BEGINNING, queue) == -1) {
      die("consume", rd_kafka_err2str(rd_kafka_last_error()));
    }
  }
  enum { room = 10000 };
  rd_kafka_message_t **messages = malloc(room * sizeof *messages);
  int64_t read = 0, bytes = 0, began = now_ns();
  double last = (double)began;
  while (read < count) {
    ssize_t got = rd_kafka_consume_batch_queue(queue, 1000, messages, room);
    if (got < 0) die("consume", rd_kafka_err2str(rd_kafka_last_error()));
    if (got == 0 && (double)now_ns() - last > 30e9) die("consume", "nothing for 30 s");
    for (ssize_t i = 0; i < got; i++) {
      if (messages[i]->err && messages[i]->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) die("consume", rd_kafka_message_errstr(messages[i]));
      if (!messages[i]->err) {
        if (messages[i]->len != size) die("consume", "a record of another size");
        read++;
        bytes += (int64_t)messages[i]->len;
      }
      rd_kafka_message_destroy(messages[i]);
    }
    if (got > 0) last = (double)now_ns();
  }
  double seconds = (double)wall_ns_of(began) / 1e9;
  printf("{\"seconds\":%.4f,\"recordsPerSecond\":%.0f,\"megabytesPerSecond\":%.2f}\n", seconds, (double)read / seconds, (double)bytes / seconds / 1e6);
  /* The handles are left to the end of the process: stopping a hundred partitions only takes time. */
  fflush(stdout);
  _Exit(0);
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

static void report(const char *name, int64_t *values, int64_t count, const char *after) {
  qsort(values, (size_t)count, sizeof *values, ascending);
  printf("\"%s\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}%s", name, (double)values[count / 2] / 1e3,
         (double)values[count * 99 / 100] / 1e3, (double)values[count * 999 / 1000] / 1e3, (double)values[count - 1] / 1e3, after);
}

static void send_one(rd_kafka_topic_t *topic, char *body, size_t size) {
  if (rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, body, size, NULL, 0, NULL) == -1) {
    die("produce", rd_kafka_err2str(rd_kafka_last_error()));
  }
}

static int latency(int argc, char **argv) {
  if (argc < 5) die("usage", "latency HOST:PORT TOPIC COUNT");
  int64_t count = atoll(argv[4]);
  const int64_t warm = count / 5 + 100;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", argv[2]);
  set(conf, "acks", "all");
  set(conf, "message.timeout.ms", "30000");
  set(conf, "linger.ms", "0");
  set(conf, "socket.nagle.disable", "true");
  set_all(conf, argv + 5, argc - 5);
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t *out = topic_of(producer, argv[3]);
  wait_for_topic(producer, out, 1);
  char body[100];
  memset(body, 'x', sizeof body);
  int64_t *acks = calloc((size_t)count, sizeof *acks), *ends = calloc((size_t)count, sizeof *ends);

  for (int64_t i = -warm; i < count; i++) {
    acked_at = 0;
    int64_t began = now_ns();
    send_one(out, body, sizeof body);
    while (!acked_at) rd_kafka_poll(producer, 100);
    if (failed) return 1;
    if (i >= 0) acks[i] = acked_at - began;
  }

  conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", argv[2]);
  set(conf, "fetch.wait.max.ms", "500");
  set(conf, "fetch.min.bytes", "1");
  set(conf, "socket.nagle.disable", "true");
  rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, conf);
  rd_kafka_topic_t *in = topic_of(consumer, argv[3]);
  wait_for_topic(consumer, in, 1);
  int64_t low = 0, high = 0;
  if (rd_kafka_query_watermark_offsets(consumer, argv[3], 0, &low, &high, 5000)) die("watermarks", "no answer");
  if (rd_kafka_consume_start(in, 0, high) == -1) die("consume", rd_kafka_err2str(rd_kafka_last_error()));
  for (int64_t i = -warm; i < count; i++) {
    acked_at = 0;
    int64_t began = now_ns();
    send_one(out, body, sizeof body);
    rd_kafka_message_t *message = NULL;
    for (;;) {
      message = rd_kafka_consume(in, 0, 10000);
      if (!message) die("consume", "no record in 10 s");
      int good = !message->err;
      rd_kafka_message_destroy(message);
      if (good) break;
    }
    int64_t arrived = now_ns();
    while (!acked_at) rd_kafka_poll(producer, 100);
    if (i >= 0) ends[i] = arrived - began;
  }
  if (failed) return 1;
  printf("{");
  report("ackMicroseconds", acks, count, ",");
  report("consumerMicroseconds", ends, count, "}\n");
  fflush(stdout);
  _Exit(0);
}

static void write_all(int fd, const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t wrote = write(fd, bytes, size);
    if (wrote <= 0) die("write", strerror(errno));
    bytes += wrote;
    size -= (size_t)wrote;
  }
}

static void read_all(int fd, char *bytes, size_t size) {
  while (size > 0) {
    ssize_t got = read(fd, bytes, size);
    if (got <= 0) die("read", got ? strerror(errno) : "closed");
    bytes += got;
    size -= (size_t)got;
  }
}

static int connected(char *where) {
  char *colon = strrchr(where, ':');
  if (!colon) die("not HOST:PORT", where);
  *colon = 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
  if (inet_pton(AF_INET, where, &address.sin_addr) != 1) die("not an IPv4 address", where);
  *colon = ':';
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int echo(int argc, char **argv) {
  if (argc < 6) die("usage", "echo HOST:PORT SIZE COUNT DEPTH");
  size_t size = (size_t)atol(argv[3]) + 4;
  int64_t count = atoll(argv[4]), depth = atoll(argv[5]);
  int fd = connected(argv[2]);
  char *frame = calloc(1, size), *back = malloc(size);
  uint32_t length = htonl((uint32_t)(size - 4));
  memcpy(frame, &length, 4);
  int64_t *times = calloc((size_t)count, sizeof *times), *sent_at = calloc((size_t)(depth + 1), sizeof *sent_at);
  int64_t sent = 0, began = now_ns();
  for (int64_t got = 0; got < count; got++) {
    while (sent < count && sent - got < depth) {
      sent_at[sent % (depth + 1)] = now_ns();
      write_all(fd, frame, size);
      sent++;
    }
    read_all(fd, back, size);
    times[got] = now_ns() - sent_at[got % (depth + 1)];
  }
  double seconds = (double)wall_ns_of(began) / 1e9;
  printf("{\"framesPerSecond\":%.0f,\"megabytesPerSecond\":%.2f,", (double)count / seconds, (double)count * (double)size / seconds / 1e6);
  report("roundTripMicroseconds", times, count, "}\n");
  return 0;
}

/* Reads one answer; the answer is its size without the size field. */
static size_t read_answer(int fd, char *into, size_t room) {
  uint32_t length;
  read_all(fd, (char *)&length, sizeof length);
  size_t size = ntohl(length);
  if (size > room) die("answer", "too large");
  read_all(fd, into, size);
  return size;
}

static int repeat(int argc, char **argv) {
  if (argc < 6) die("usage", "repeat HOST:PORT FILE CONNECTIONS COUNT");
  enum { room = 65536 };
  static char frame[room], first[room], answer[room];
  FILE *file = fopen(argv[3], "rb");
  size_t size = file ? fread(frame, 1, room, file) : 0;
  if (size == 0) die("nothing in", argv[3]);
  fclose(file);
  int connections = atoi(argv[4]);
  int64_t count = atoll(argv[5]), sent = 0, warm = count / 10;
  struct pollfd *all = calloc((size_t)connections, sizeof *all);
  for (int i = 0; i < connections; i++) all[i] = (struct pollfd){.fd = connected(argv[2]), .events = POLLIN};
  write_all(all[0].fd, frame, size);
  size_t expected = read_answer(all[0].fd, first, room);
  for (int i = 0; i < connections; i++, sent++) write_all(all[i].fd, frame, size);
  int64_t began = now_ns();
  for (int64_t got = 0; got < count + warm;) {
    if (poll(all, (nfds_t)connections, 30000) <= 0) die("poll", "nothing for 30 s");
    for (int i = 0; i < connections; i++) {
      if (!all[i].revents) continue;
      if (read_answer(all[i].fd, answer, room) != expected || memcmp(answer, first, expected)) die("answer", "another one");
      if (++got == warm) began = now_ns();
      if (sent++ < count + warm) write_all(all[i].fd, frame, size);
      else all[i].fd = -1;
    }
  }
  double seconds = (double)wall_ns_of(began) / 1e9;
  printf("{\"seconds\":%.4f,\"perSecond\":%.0f}\n", seconds, (double)count / seconds);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "produce")) return produce(argc, argv);
  if (argc > 1 && !strcmp(argv[1], "consume")) return consume(argc, argv);
  if (argc > 1 && !strcmp(argv[1], "latency")) return latency(argc, argv);
  if (argc > 1 && !strcmp(argv[1], "echo")) return echo(argc, argv);
  if (argc > 1 && !strcmp(argv[1], "repeat")) return repeat(argc, argv);
  die("usage", "load produce|consume|latency|echo|repeat ...");
  return 1;
}
