/*
 * Copies a topic to another one, exactly once, with librdkafka: `copier HOST:PORT INPUT OUTPUT GROUP TRANSACTIONAL-ID SIZE SEED`.
 * A member of GROUP reads INPUT and writes each record to the same partition of OUTPUT, SIZE records a transaction, the group's
 * offsets with them; one transaction in three is aborted, by SEED. It runs until SIGTERM and prints how many records it has
 * committed, a line per commit. Exit code 3: another instance has taken its place.
 */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t go_on = 1;
static rd_kafka_t *producer, *consumer;
static int open_transaction, copied;

static void stop(int signal) {
  (void)signal;
  go_on = 0;
}

static void die(const char *what, const char *why) {
  fprintf(stderr, "copier: %s: %s\n", what, why);
  exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
  char why[300];
  if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) die(name, why);
}

/* Answers whether all is well. What needs an abort is left to the caller; a producer that was replaced ends here. */
static int well(const char *what, rd_kafka_error_t *error) {
  if (!error) return 1;
  fprintf(stderr, "copier: %s: %s\n", what, rd_kafka_error_string(error));
  if (rd_kafka_error_is_fatal(error)) exit(3);
  int requires_abort = rd_kafka_error_txn_requires_abort(error);
  if (!requires_abort && !rd_kafka_error_is_retriable(error)) die(what, rd_kafka_error_name(error));
  rd_kafka_error_destroy(error);
  return 0;
}

/* Back to where the group is: what was read since is read again. */
static void rewind_to_committed(void) {
  rd_kafka_topic_partition_list_t *assigned;
  if (rd_kafka_assignment(consumer, &assigned)) die("assignment", "none");
  while (go_on && assigned->cnt > 0 && rd_kafka_committed(consumer, assigned, 5000)) {}
  for (int i = 0; i < assigned->cnt; i++) {
    if (assigned->elems[i].offset < 0) assigned->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
  }
  if (go_on && assigned->cnt > 0) well("seek", rd_kafka_seek_partitions(consumer, assigned, 10000));
  rd_kafka_topic_partition_list_destroy(assigned);
}

static void abort_transaction(void) {
  while (!well("abort", rd_kafka_abort_transaction(producer, -1))) {}
  open_transaction = 0;
  copied = 0;
}

static void on_rebalance(rd_kafka_t *handle, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *partitions, void *opaque) {
  (void)opaque;
  /* What was read of partitions that another member gets now is its to copy. */
  if (open_transaction) abort_transaction();
  rd_kafka_assign(handle, what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? partitions : NULL);
}

/* Sends the offsets and commits; 0 when the transaction has to be aborted. */
static int commit(void) {
  rd_kafka_topic_partition_list_t *offsets;
  if (rd_kafka_assignment(consumer, &offsets)) die("assignment", "none");
  rd_kafka_position(consumer, offsets);
  rd_kafka_consumer_group_metadata_t *member = rd_kafka_consumer_group_metadata(consumer);
  rd_kafka_error_t *error;
  while ((error = rd_kafka_send_offsets_to_transaction(producer, offsets, member, -1)) && rd_kafka_error_is_retriable(error)) {
    rd_kafka_error_destroy(error);
  }
  int good = well("offsets", error);
  while (good && (error = rd_kafka_commit_transaction(producer, -1)) && rd_kafka_error_is_retriable(error)) {
    rd_kafka_error_destroy(error);
  }
  if (good) good = well("commit", error);
  rd_kafka_consumer_group_metadata_destroy(member);
  rd_kafka_topic_partition_list_destroy(offsets);
  return good;
}

static void end_transaction(void) {
  static int total;
  int now = copied;
  if (rand() % 3 == 0 || !commit()) {
    abort_transaction();
    rewind_to_committed();
    return;
  }
  open_transaction = 0;
  copied = 0;
  total += now;
  printf("%d\n", total);
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc != 8) die("usage", "copier HOST:PORT INPUT OUTPUT GROUP TRANSACTIONAL-ID SIZE SEED");
  char why[300];
  int size = atoi(argv[6]);
  srand((unsigned)atoi(argv[7]));
  signal(SIGTERM, stop);

  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", argv[1]);
  set(conf, "transactional.id", argv[5]);
  set(conf, "transaction.timeout.ms", "10000");
  set(conf, "linger.ms", "1");
  /* Several batches of a transaction are under way at once. */
  set(conf, "batch.num.messages", "20");
  if (!(producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why))) die("producer", why);

  conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", argv[1]);
  set(conf, "group.id", argv[4]);
  set(conf, "enable.auto.commit", "false");
  set(conf, "auto.offset.reset", "earliest");
  set(conf, "session.timeout.ms", "6000");
  set(conf, "heartbeat.interval.ms", "500");
  rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
  if (!(consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why))) die("consumer", why);
  rd_kafka_poll_set_consumer(consumer);
  rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(topics, argv[2], RD_KAFKA_PARTITION_UA);

  while (!well("init", rd_kafka_init_transactions(producer, -1))) {}
  if (rd_kafka_subscribe(consumer, topics)) die("subscribe", argv[2]);
  while (go_on) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);
    rd_kafka_poll(producer, 0);
    if (message && !message->err) {
      if (!open_transaction) {
        if (!well("begin", rd_kafka_begin_transaction(producer))) die("begin", "refused");
        open_transaction = 1;
      }
      rd_kafka_resp_err_t error = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(argv[3]), RD_KAFKA_V_PARTITION(message->partition),
                                                    RD_KAFKA_V_VALUE(message->payload, message->len),
                                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
      /* Refused once the transaction has failed; its end says so. */
      if (error) fprintf(stderr, "copier: produce: %s\n", rd_kafka_err2str(error));
      copied++;
    }
    if (open_transaction && (copied >= size || !message)) end_transaction();
    if (message) rd_kafka_message_destroy(message);
  }
  if (open_transaction) abort_transaction();
  rd_kafka_consumer_close(consumer);
  rd_kafka_destroy(consumer);
  rd_kafka_destroy(producer);
  return 0;
}
