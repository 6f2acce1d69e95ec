// What users of sarama and of segmentio's kafka-go do in a day, told in one line of JSON: see suites/Libraries.ts.
// LIBRARY BOOTSTRAP TOPIC [VERSION], where VERSION is the oldest Kafka sarama is to speak to.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
)

const perCodec = 1000

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func check(err error) { must(0, err) }

// reader is a member of a group that ends when it has read what there is.
type reader struct {
	want          int
	consumed      int
	kept, dropped int
	done          chan struct{}
}

func (*reader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (r *reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		switch string(message.Value) {
		case "kept":
			r.kept++
		case "dropped":
			r.dropped++
		}
		session.MarkMessage(message, "")
		r.consumed++
		if r.consumed == r.want {
			session.Commit()
			close(r.done)
		}
	}
	return nil
}

func withSarama(bootstrap, topic, version string) map[string]any {
	brokers := []string{bootstrap}
	config := sarama.NewConfig()
	config.Version = must(sarama.ParseKafkaVersion(version))
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	// One reader for all partitions counts without a lock.
	config.ChannelBufferSize = 0
	admin := must(sarama.NewClusterAdmin(brokers, config))
	check(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false))

	acked := 0
	for _, codec := range []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	} {
		if codec == sarama.CompressionZSTD && !config.Version.IsAtLeast(sarama.V2_1_0_0) {
			continue
		}
		config.Producer.Compression = codec
		producer := must(sarama.NewSyncProducer(brokers, config))
		messages := make([]*sarama.ProducerMessage, perCodec)
		for i := range messages {
			key := sarama.StringEncoder(fmt.Sprint(i))
			messages[i] = &sarama.ProducerMessage{Topic: topic, Key: key, Value: sarama.StringEncoder("value")}
		}
		check(producer.SendMessages(messages))
		check(producer.Close())
		acked += perCodec
	}

	transactional := *config
	transactional.Producer.Transaction.ID = "id-" + topic
	producer := must(sarama.NewSyncProducer(brokers, &transactional))
	for _, transaction := range []struct {
		value string
		end   func() error
	}{{"kept", producer.CommitTxn}, {"dropped", producer.AbortTxn}} {
		check(producer.BeginTxn())
		for range 10 {
			value := sarama.StringEncoder(transaction.value)
			_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: value})
			check(err)
		}
		check(transaction.end())
	}
	check(producer.Close())

	name := "group-" + topic
	group := must(sarama.NewConsumerGroup(brokers, name, config))
	read := &reader{want: acked + 10, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{topic}, read); err != nil {
				log.Fatal(err)
			}
		}
	}()
	<-read.done
	cancel()
	check(group.Close())
	state := must(admin.DescribeConsumerGroups([]string{name}))[0].State
	offset := must(admin.ListConsumerGroupOffsets(name, nil)).Blocks[topic][0].Offset
	check(admin.DeleteTopic(topic))
	check(admin.Close())
	return map[string]any{
		"acked": acked, "consumed": read.consumed, "kept": read.kept, "dropped": read.dropped, "state": state,
		// Behind the ten aborted records and at most two markers.
		"committed": offset >= int64(acked+10) && offset <= int64(acked+22),
	}
}

func withKafkaGo(bootstrap, topic string) map[string]any {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	connection := must(kafka.Dial("tcp", bootstrap))
	check(connection.CreateTopics(kafka.TopicConfig{Topic: topic, NumPartitions: 3, ReplicationFactor: 1}))
	acked := 0
	for _, codec := range []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		writer := &kafka.Writer{
			Addr: kafka.TCP(bootstrap), Topic: topic, Balancer: kafka.Murmur2Balancer{}, Compression: codec,
			RequiredAcks: kafka.RequireAll, BatchTimeout: 10 * time.Millisecond,
		}
		messages := make([]kafka.Message, perCodec)
		for i := range messages {
			header := kafka.Header{Key: "n", Value: []byte(fmt.Sprint(i))}
			messages[i] = kafka.Message{Key: []byte(fmt.Sprint(i)), Value: []byte("value"), Headers: []kafka.Header{header}}
		}
		check(writer.WriteMessages(ctx, messages...))
		check(writer.Close())
		acked += perCodec
	}
	name := "group-" + topic
	read := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, GroupID: name, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 500 * time.Millisecond,
	})
	consumed := 0
	for consumed < acked {
		message := must(read.FetchMessage(ctx))
		consumed++
		if consumed%perCodec == 0 {
			check(read.CommitMessages(ctx, message))
		}
	}
	check(read.Close())
	check(connection.DeleteTopics(topic))
	return map[string]any{"acked": acked, "consumed": consumed}
}

func main() {
	var seen map[string]any
	switch arguments := os.Args[1:]; arguments[0] {
	case "sarama":
		seen = withSarama(arguments[1], arguments[2], arguments[3])
	case "kafka-go":
		seen = withKafkaGo(arguments[1], arguments[2])
	}
	check(json.NewEncoder(os.Stdout).Encode(seen))
}
