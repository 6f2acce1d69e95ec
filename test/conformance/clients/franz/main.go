// franz-go against a broker: `franz produce HOST:PORT TOPIC COUNT CODEC` sends values v0 … to partition 0, idempotently;
// `franz consume HOST:PORT TOPIC COUNT` assigns partition 0 and prints one value a line;
// `franz formats` needs no broker.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "formats" {
		formats()
		return
	}
	verb, broker, topic := os.Args[1], os.Args[2], os.Args[3]
	count, err := strconv.Atoi(os.Args[4])
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	options := []kgo.Opt{kgo.SeedBrokers(broker), kgo.ClientID("franz"), kgo.AllowAutoTopicCreation()}
	switch verb {
	case "produce":
		options = append(options, kgo.ProducerBatchCompression(codecs[os.Args[5]]), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond))
		client, err := kgo.NewClient(options...)
		check(err)
		defer client.Close()
		for i := 0; i < count; i++ {
			record := &kgo.Record{Topic: topic, Partition: 0, Key: []byte(fmt.Sprintf("k%d", i)), Value: []byte(fmt.Sprintf("v%d", i))}
			client.Produce(ctx, record, func(_ *kgo.Record, err error) { check(err) })
		}
		check(client.Flush(ctx))
	case "consume":
		from := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
		client, err := kgo.NewClient(append(options, kgo.ConsumePartitions(from))...)
		check(err)
		defer client.Close()
		out := bufio.NewWriter(os.Stdout)
		for read := 0; read < count; {
			fetches := client.PollFetches(ctx)
			check(fetches.Err())
			fetches.EachRecord(func(record *kgo.Record) {
				fmt.Fprintf(out, "%s\n", record.Value)
				read++
			})
		}
		check(out.Flush())
	default:
		check(fmt.Errorf("unknown verb %s", verb))
	}
}
