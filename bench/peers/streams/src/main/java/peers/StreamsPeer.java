package peers;

import java.util.*;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.processor.api.*;
import org.apache.kafka.streams.state.*;

/** usage: StreamsPeer W1|W2 single|batch THREADS */
public final class StreamsPeer {
    public static void main(String[] a) throws Exception {
        boolean window = a[0].equals("W1"), batch = a[1].equals("batch");
        String id = System.getenv("RUN_ID");
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BROKER"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("PEERS_HOME") + "/state/" + id);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, a[2]);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);   // commit interval: 100 ms
        p.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        p.put(StreamsConfig.consumerPrefix("max.poll.records"), "4000");

        StoreBuilder<KeyValueStore<String, byte[]>> cards = Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore("cards"), Serdes.String(), Serdes.ByteArray());
        if (!"false".equals(System.getProperty("cache"))) cards.withCachingEnabled();   // one changelog record a card and commit
        Topology t = new Topology();
        t.addSource("in", new StringDeserializer(), new ByteArrayDeserializer(), "bench.tx");
        t.addProcessor("score", new ProcessorSupplier<String, byte[], String, byte[]>() {
            @Override public Processor<String, byte[], String, byte[]> get() { return batch ? new Batching(window) : new Single(window); }
            @Override public Set<StoreBuilder<?>> stores() { return batch ? new LinkedHashSet<>(List.of(new Batching.BeforeCommitBuilder(), cards)) : Set.of(cards); }
        }, "in");
        t.addSink("out", "bench.scored", new StringSerializer(), new ByteArraySerializer(), "score");

        KafkaStreams streams = new KafkaStreams(t, p);
        CountDownLatch done = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { streams.close(java.time.Duration.ofSeconds(15)); done.countDown(); }));
        streams.start();
        done.await();
    }
}
