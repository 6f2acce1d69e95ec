/** Where settings come from and which wins; what is a warning and what an error. */
import { expect, test } from "bun:test";
import { keyOfVariable, loadBrokerConfig } from "../../src/config/LoadBrokerConfig.ts";

test("file, then environment, then overrides: later wins", () => {
  const file = { path: "server.properties", text: "num.partitions=2\nmessage.max.bytes=100\nnode.id=5\n" };
  const environment = { KAFKA_NUM_PARTITIONS: "3", KAFKA_MESSAGE_MAX_BYTES: "200", HOME: "/" };
  const loaded = loadBrokerConfig({ file, environment, overrides: ["num.partitions=4", "num.partitions= 6 "] });
  expect(loaded.errors).toEqual([]);
  expect(loaded.warnings).toEqual([]);
  expect(loaded.config?.number("num.partitions")).toBe(6);
  expect(loaded.config?.number("message.max.bytes")).toBe(200);
  expect(loaded.config?.nodeId).toBe(5);
});

test("the environment's names follow the rule of Kafka's image", () => {
  expect(keyOfVariable("KAFKA_LOG_DIRS")).toBe("log.dirs");
  expect(keyOfVariable("KAFKA_A__B_C___D")).toBe("a_b.c-d");
});

test("variables that steer Kafka's image or come from Kubernetes are no settings", () => {
  const environment = {
    KAFKA_HEAP_OPTS: "-Xmx1g",
    KAFKA_OPTS: "",
    KAFKA_JMX_PORT: "9999",
    KAFKA_LOG4J_ROOT_LOGLEVEL: "INFO",
    KAFKA_TOOLS_LOG4J_LOGLEVEL: "INFO",
    KAFKA_VERSION: "4.3.1",
    KAFKA_PORT: "tcp://10.0.0.1:9092",
    KAFKA_PORT_9092_TCP_ADDR: "10.0.0.1",
    KAFKA_SERVICE_HOST: "10.0.0.1",
    CLUSTER_ID: "4L6g3nShT-eMCtK--X86sw",
  };
  const loaded = loadBrokerConfig({ environment });
  expect(loaded).toMatchObject({ warnings: [], errors: [], clusterId: "4L6g3nShT-eMCtK--X86sw" });
  expect(loaded.config?.settings.size).toBe(0);
});

test("an unknown key is a warning that says where it stands", () => {
  const loaded = loadBrokerConfig({ environment: { KAFKA_ZOOKEEPER_CONNECT: "zk:2181" } });
  expect(loaded.errors).toEqual([]);
  expect(loaded.warnings).toEqual([
    "unknown configuration key zookeeper.connect (environment KAFKA_ZOOKEEPER_CONNECT), ignored",
  ]);
  expect(loadBrokerConfig({ overrides: ["listener.name.internal.ssl.client.auth=none"] }).warnings).toEqual([]);
});

test("a wrong value is an error that names key, value, what is allowed and where it stands", () => {
  const loaded = loadBrokerConfig({ overrides: ["num.partitions=many", "log.flush.policy=maybe"] });
  expect(loaded.config).toBeUndefined();
  expect(loaded.errors).toEqual([
    "Invalid value many for configuration num.partitions: Not a number of type INT (allowed: a whole number (32 bits) of at least 1) (--override)",
    "Invalid value maybe for configuration log.flush.policy: String must be one of: ack, interval, os (allowed: one of ack, interval, os) (--override)",
  ]);
});

test.each([
  [["node.id=1", "broker.id=2"], "broker.id"],
  [["process.roles=controller"], "process.roles"],
  [["inter.broker.listener.name=A", "security.inter.broker.protocol=PLAINTEXT"], "Only one of"],
  [["group.consumer.session.timeout.ms=70000"], "group.consumer.session.timeout.ms"],
  [["group.share.min.heartbeat.interval.ms=20000"], "group.share.max.heartbeat.interval.ms"],
  [["broker.id=-5"], "broker.id"],
  [["log.cleaner.dedupe.buffer.size=1048576"], "log.cleaner.dedupe.buffer.size must be at least 1MB"],
  [["log.cleaner.dedupe.buffer.size=2097153", "log.cleaner.threads=2"], "per cleaner thread"],
  [["nonsense"], "expected key=value"],
])("%j is refused as a whole", (overrides, mentions) => {
  const loaded = loadBrokerConfig({ overrides });
  expect(loaded.config).toBeUndefined();
  expect(loaded.errors.join("\n")).toContain(mentions);
});

test("a cleaner has more than 1 MiB to itself: one byte more is enough", () => {
  const overrides = ["log.cleaner.dedupe.buffer.size=2097154", "log.cleaner.threads=2"];
  expect(loadBrokerConfig({ overrides }).errors).toEqual([]);
});

test("what Testcontainers' Kafka module sets is taken without a word", () => {
  const loaded = loadBrokerConfig({
    environment: {
      KAFKA_LISTENERS: "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094",
      KAFKA_ADVERTISED_LISTENERS: "PLAINTEXT://localhost:32768,BROKER://172.17.0.2:9093",
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
      KAFKA_INTER_BROKER_LISTENER_NAME: "BROKER",
      KAFKA_PROCESS_ROLES: "broker,controller",
      KAFKA_CONTROLLER_LISTENER_NAMES: "CONTROLLER",
      KAFKA_NODE_ID: "1",
      KAFKA_CONTROLLER_QUORUM_VOTERS: "1@localhost:9094",
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: "1",
      KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS: "1",
      KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: "1",
      KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: "1",
      KAFKA_LOG_FLUSH_INTERVAL_MESSAGES: "9223372036854775807",
      KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: "0",
    },
  });
  expect(loaded).toMatchObject({ warnings: [], errors: [] });
});

test.each([
  ["num.partition", "num.partitions"],
  ["log.retention.hour", "log.retention.hours"],
  ["log_dirs", "log.dirs"],
  ["autocreate.topics.enable", "auto.create.topics.enable"],
])("a slip is met with the key that was meant: %s", (slip, key) => {
  const { warnings } = loadBrokerConfig({ overrides: [`${slip}=1`] });
  expect(warnings).toEqual([`unknown configuration key ${slip} (--override), ignored; did you mean ${key}?`]);
});
