package peers;

import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

/** The limit with no work at all: bytes from bench.tx to bench.scored, one transaction every 100 ms. */
public final class RawCopy {
    public static void main(String[] a) {
        String id = System.getenv("RUN_ID");
        var bytesIn = new ByteArrayDeserializer();
        var bytesOut = new ByteArraySerializer();
        try (var in = new KafkaConsumer<>(Map.<String, Object>of("bootstrap.servers", System.getenv("BROKER"), "group.id", id, "enable.auto.commit", false,
                 "auto.offset.reset", "earliest", "max.poll.records", 4000, "isolation.level", "read_committed"), bytesIn, bytesIn);
             var out = new KafkaProducer<>(Map.<String, Object>of("bootstrap.servers", System.getenv("BROKER"), "transactional.id", id,
                 "compression.type", "lz4", "linger.ms", 20, "batch.size", 262144, "buffer.memory", 134217728), bytesOut, bytesOut)) {
            out.initTransactions();
            in.subscribe(List.of("bench.tx"));
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            long began = 0;
            while (true) {
                var records = in.poll(Duration.ofMillis(20));
                if (!records.isEmpty() && offsets.isEmpty()) { out.beginTransaction(); began = System.nanoTime(); }
                for (TopicPartition tp : records.partitions()) {
                    var list = records.records(tp);
                    for (var r : list) out.send(new ProducerRecord<>("bench.scored", tp.partition(), r.key(), r.value()));
                    offsets.put(tp, new OffsetAndMetadata(list.get(list.size() - 1).offset() + 1));
                }
                if (!offsets.isEmpty() && System.nanoTime() - began > 100_000_000) {
                    out.sendOffsetsToTransaction(offsets, in.groupMetadata());
                    out.commitTransaction();
                    offsets.clear();
                }
            }
        }
    }
}
