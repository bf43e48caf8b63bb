package peers;

import java.time.Duration;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.state.*;
import org.apache.flink.api.common.typeinfo.*;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.*;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.*;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.CheckpointingMode;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Flink mini-cluster, keyed state, exactly-once Kafka sink, one checkpoint a second.   usage: FlinkPeer W1|W2
 *  env: FLINK_STATE=hashmap|rocksdb (default hashmap), PARALLELISM (2) */
public final class FlinkPeer {
    static final class Score extends KeyedProcessFunction<String, Json.Tx, Tuple2<byte[], byte[]>> {
        private final boolean window;
        private transient Model model;
        private transient float[] f;
        private transient ValueState<byte[]> state;

        Score(boolean window) { this.window = window; }

        @Override public void open(OpenContext c) {
            model = new Model(window, 1);
            f = new float[Card.F];
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("card", PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
        }

        @Override public void processElement(Json.Tx tx, Context c, Collector<Tuple2<byte[], byte[]>> out) throws Exception {
            Card card = Card.of(state.value(), window);
            card.add(tx.amount(), tx.ts(), f);
            if (window) card.window(model.x, 0);
            else { model.x.put(0, f); model.h.put(0, card.h); }
            model.run(1);
            if (!window) model.h2.get(0, card.h);
            state.update(card.toBytes());
            out.collect(Tuple2.of(tx.cardId().getBytes(), Json.write(tx.id(), tx.cardId(), model.score.get(0))));
        }
    }

    static final class TxSchema extends AbstractDeserializationSchema<Json.Tx> {
        @Override public Json.Tx deserialize(byte[] b) { return Json.read(b); }
    }

    public static void main(String[] a) throws Exception {
        String id = System.getenv("RUN_ID"), broker = System.getenv("BROKER");
        Configuration conf = new Configuration();
        conf.set(StateBackendOptions.STATE_BACKEND, System.getenv().getOrDefault("FLINK_STATE", "hashmap"));
        conf.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        conf.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + System.getenv("PEERS_HOME") + "/state/" + id);
        conf.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, true);
        if (System.getenv("ALIGNED") == null) {                       // plain aligned checkpoints: W1 10,000 events/s instead of 24,000
            conf.set(TaskManagerOptions.BUFFER_DEBLOAT_ENABLED, true);
            conf.set(CheckpointingOptions.ENABLE_UNALIGNED, true);
        }
        conf.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(256));
        var env = StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(System.getenv().getOrDefault("PARALLELISM", "2")), conf);
        env.enableCheckpointing(1000, CheckpointingMode.EXACTLY_ONCE);
        env.getConfig().enableObjectReuse();

        var source = KafkaSource.<Json.Tx>builder().setBootstrapServers(broker).setTopics("bench.tx").setGroupId(id)
            .setStartingOffsets(OffsetsInitializer.earliest()).setValueOnlyDeserializer(new TxSchema()).build();
        Properties p = new Properties();
        p.put("transaction.timeout.ms", "60000");
        p.put("compression.type", "lz4");
        p.put("linger.ms", "20");
        var sink = KafkaSink.<Tuple2<byte[], byte[]>>builder().setBootstrapServers(broker).setKafkaProducerConfig(p)
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE).setTransactionalIdPrefix(id)
            .setRecordSerializer((KafkaRecordSerializationSchema<Tuple2<byte[], byte[]>>) (t, c, ts) -> new ProducerRecord<>("bench.scored", t.f0, t.f1)).build();
        env.fromSource(source, WatermarkStrategy.noWatermarks(), "tx")
            .keyBy(Json.Tx::cardId)
            .process(new Score(a[0].equals("W1")))
            .returns(Types.TUPLE(PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO))
            .sinkTo(sink);
        env.execute(id);
    }
}
