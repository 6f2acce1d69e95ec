/*
 * Transactions a second with Kafka's own client: `Transactions HOST:PORT TOPIC PRODUCERS RECORDS SECONDS` has that many producers, a
 * transactional id and a thread each, commit transactions of RECORDS records of 100 bytes one after the other, first for a third of
 * the time unmeasured. Prints one line of JSON.
 */
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.InvalidTxnStateException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Transactions {
  private static volatile boolean measuring, running = true;
  private static final AtomicLong committed = new AtomicLong();
  private static volatile Throwable failure;

  public static void main(String[] args) throws Exception {
    String address = args[0], topic = args[1];
    int producers = Integer.parseInt(args[2]), records = Integer.parseInt(args[3]);
    double seconds = Double.parseDouble(args[4]);
    Thread[] threads = new Thread[producers];
    for (int i = 0; i < producers; i++) {
      threads[i] = new Thread(() -> produce(address, topic, records));
      threads[i].start();
    }
    Thread.sleep((long) (seconds * 1000 / 3));
    long began = System.nanoTime();
    measuring = true;
    Thread.sleep((long) (seconds * 1000));
    double took = (System.nanoTime() - began) / 1e9;
    long done = committed.get();
    running = false;
    for (Thread thread : threads) thread.join();
    if (failure != null) throw new Exception(failure);
    System.out.printf("{\"transactionsPerSecond\":%.2f}%n", done / took);
  }

  private static void produce(String address, String topic, int records) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", address);
    properties.put("transactional.id", UUID.randomUUID().toString());
    try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
      producer.initTransactions();
      byte[] value = new byte[100];
      while (running) {
        producer.beginTransaction();
        for (int i = 0; i < records; i++) producer.send(new ProducerRecord<>(topic, 0, null, value));
        producer.commitTransaction();
        if (measuring) committed.incrementAndGet();
      }
    } catch (InvalidTxnStateException thrown) {
      // The client's sender asks whether batches are waiting, and only then for the next request: of a transaction that is begun,
      // filled and committed in between it sends the end before the records, and Kafka and ours refuse it. So does whoever is fast.
      produce(address, topic, records);
    } catch (Throwable thrown) {
      fail(thrown);
    }
  }

  private static void fail(Throwable thrown) {
    failure = thrown;
    running = false;
  }
}
