// SPDX-License-Identifier: MIT
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Counts answers and tokens of each application and model per minute, by the time of the events, which is that of their records: one that
 * comes late, or out of order, counts in the minute in which it happened. Prints what it counts as JSON, and keeps it in the topic `usage.minutes`.
 *
 *     java -cp 'jars/*' Usage.java SERVERS TOPIC FOLDER
 */
public class Usage {
    /** How late an event may come: as long as the bridge may have been away. */
    static final Duration GRACE = Duration.ofDays(1);
    static final ObjectMapper JSON = new ObjectMapper();

    record Model(String app, String model) {}
    record Count(long answers, long input_tokens, long output_tokens) {
        Count with(Count more) {
            return new Count(answers + more.answers, input_tokens + more.input_tokens, output_tokens + more.output_tokens);
        }
    }

    /** An attribute of an event in binary mode; null: it has none. */
    static String attribute(Headers headers, String name) {
        Header header = headers.lastHeader("ce_" + name);
        return header == null ? null : new String(header.value(), StandardCharsets.UTF_8);
    }

    /** Answers alone, each once, with what they cost. An event may come twice, with the same source and id, as long as it may be late. */
    static class Answers extends ContextualProcessor<byte[], byte[], Model, Count> {
        private WindowStore<String, byte[]> seen;

        @Override
        public void init(ProcessorContext<Model, Count> context) {
            super.init(context);
            seen = context.getStateStore("seen");
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            if (!"chat.response.generated".equals(attribute(record.headers(), "type")))
                return;
            String id = attribute(record.headers(), "source") + " " + attribute(record.headers(), "id");
            if (seen.fetch(id, record.timestamp()) != null)
                return;
            seen.put(id, new byte[0], record.timestamp());
            JsonNode data = read(record.value(), JsonNode.class);
            JsonNode usage = data.path("usage");        // absent is unknown: not every application tells it, nor the model
            context().forward(record.withKey(new Model(data.path("app").path("name").asText(), data.path("model").path("name").asText("?")))
                .withValue(new Count(1, usage.path("input_tokens").asLong(), usage.path("output_tokens").asLong())));
        }
    }

    static <T> T read(byte[] bytes, Class<T> type) {
        try {
            return bytes == null ? null : JSON.readValue(bytes, type);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static byte[] write(Object value) {
        try {
            return value == null ? null : JSON.writeValueAsBytes(value);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static <T> Serde<T> json(Class<T> type) {
        return Serdes.serdeFrom((topic, value) -> write(value), (topic, bytes) -> read(bytes, type));
    }

    record Minute(String minute, String app, String model, long answers, long input_tokens, long output_tokens) {}

    static StreamsBuilder counting(String topic) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.windowStoreBuilder(
            Stores.persistentWindowStore("seen", GRACE.plusMinutes(1), Duration.ofMinutes(1), false), Serdes.String(), Serdes.ByteArray()));
        builder.stream(topic, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
            .process(Answers::new, "seen")
            .groupByKey(Grouped.with("usage", json(Model.class), json(Count.class)))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), GRACE))
            .aggregate(() -> new Count(0, 0, 0), (of, one, all) -> all.with(one), Materialized
                .<Model, Count, WindowStore<Bytes, byte[]>>as("minutes").withKeySerde(json(Model.class)).withValueSerde(json(Count.class)))
            .toStream()
            .map((at, all) -> new KeyValue<>(at.window().startTime() + " " + at.key().app + " " + at.key().model, new Minute(
                at.window().startTime().toString(), at.key().app, at.key().model, all.answers, all.input_tokens, all.output_tokens)))
            .peek((key, minute) -> System.out.println(new String(write(minute), StandardCharsets.UTF_8)))
            .to("usage.minutes", Produced.with(Serdes.String(), json(Minute.class)));
        return builder;
    }

    public static void main(String[] words) throws InterruptedException, ExecutionException {
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, words[0]);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "usage-per-minute");
        properties.put(StreamsConfig.STATE_DIR_CONFIG, words[2]);
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);   // of counts and positions
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);     // each change is told; else those of a commit together
        properties.put("auto.offset.reset", "earliest");
        try (Admin admin = Admin.create(properties)) {
            NewTopic minutes = new NewTopic("usage.minutes", Optional.empty(), Optional.empty()).configs(Map.of("cleanup.policy", "compact"));
            admin.createTopics(List.of(minutes)).all().get();
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof TopicExistsException))
                throw e;
        }
        KafkaStreams streams = new KafkaStreams(counting(words[1]).build(), properties);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        streams.start();
    }
}
