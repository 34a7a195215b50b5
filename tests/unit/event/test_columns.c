/* SPDX-License-Identifier: MIT */
/* Events as columns: what libavro reads of them by their schema, what comes back byte for byte, what does not fit a column, and what is broken. */
#include <avro.h>
#include <pthread.h>
#include <stdlib.h>
#include "bridge/event/avro.h"
#include "bridge/event/columns.h"
#include "bridge/lib/buf.h"
#include "tests/support/event.h"

static avro_schema_t schema;
static avro_value_iface_t *class;

static int open_schema(void **state)
{
    (void)state;
    struct str text = event_schema(SCHEMA_COLUMNS).text;
    assert_int_equal(avro_schema_from_json_length(text.at, text.n, &schema), 0);
    class = avro_generic_class_from_schema(schema);
    return 0;
}

static int close_schema(void **state)
{
    (void)state;
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    return 0;
}

/* An event as it is written, and as libavro reads that. */
struct written {
    const struct event *ev;
    struct buf bytes;
    avro_value_t record;
};

static void write_event(struct written *w, struct event fields)
{
    w->ev = event_like(fields);
    w->bytes = buf_new(8 << 20);
    event_to_columns(w->ev, &w->bytes);
    assert_int_equal(avro_generic_value_new(class, &w->record), 0);
    struct str plain = record_without_schema(buf_str(&w->bytes));
    assert_int_equal(plain.n + SCHEMA_HEAD, w->bytes.n);
    avro_reader_t reader = avro_reader_memory(plain.at, (int64_t)plain.n);
    assert_int_equal(avro_value_read(reader, &w->record), 0);
    char more;
    assert_int_not_equal(avro_read(reader, &more, 1), 0); /* nothing is left */
    avro_reader_free(reader);
}

/* And it comes back as it was. */
static void end_written(struct written *w)
{
    struct err e = { "" };
    const struct event *back = event_from_columns(buf_str(&w->bytes), &e);
    if (!back)
        fail_msg("%s", e.text);
    struct event fields = *w->ev;
    fields.datacontenttype = event_content_type(w->ev);
    const struct event *wanted = event_born(&fields);
    assert_true(str_eq(event_types(back), event_types(wanted)));
    fields = *back; /* the partition key is the first extension now, so the bits stand elsewhere */
    fields.integers = wanted->integers;
    fields.booleans = wanted->booleans;
    assert_events_equal(&fields, wanted);
    event_unref(wanted);
    event_unref(back);
    event_unref(w->ev);
    avro_value_decref(&w->record);
    buf_free(&w->bytes);
}

/* The value of a column by its path ("sources.0.name"); false: it is null, or one above it is. */
static bool column(const struct written *w, const char *path, avro_value_t *out)
{
    struct str rest = str_of(path), name;
    *out = w->record;
    while (str_cut(&rest, '.', &name)) {
        char text[64];
        uint64_t index;
        snprintf(text, sizeof text, "%.*s", STR_ARG(name));
        avro_value_t value = *out;
        if (str_to_u64(name, &index))
            assert_int_equal(avro_value_get_by_index(&value, (size_t)index, out, NULL), 0);
        else
            assert_int_equal(avro_value_get_by_name(&value, text, out, NULL), 0);
        value = *out;
        if (avro_value_get_type(&value) == AVRO_UNION)
            assert_int_equal(avro_value_get_current_branch(&value, out), 0);
        if (avro_value_get_type(out) == AVRO_NULL)
            return false;
    }
    return true;
}

static void assert_null_column(const struct written *w, const char *path)
{
    avro_value_t value;
    if (column(w, path, &value))
        fail_msg("%s is not null", path);
}

static void assert_text(const struct written *w, const char *path, struct str text)
{
    avro_value_t value;
    const char *at = NULL;
    size_t n = 0;
    assert_true(column(w, path, &value));
    assert_int_equal(avro_value_get_string(&value, &at, &n), 0);
    if (!str_eq((struct str){ at, n - 1 }, text))
        fail_msg("%s: %.*s", path, (int)n, at);
}

static int64_t number(const struct written *w, const char *path)
{
    avro_value_t value;
    int64_t n = 0;
    assert_true(column(w, path, &value));
    assert_int_equal(avro_value_get_long(&value, &n), 0);
    return n;
}

static double real(const struct written *w, const char *path)
{
    avro_value_t value;
    double d = 0;
    assert_true(column(w, path, &value));
    assert_int_equal(avro_value_get_double(&value, &d), 0);
    return d;
}

static bool flag(const struct written *w, const char *path)
{
    avro_value_t value;
    int yes = 0;
    assert_true(column(w, path, &value));
    assert_int_equal(avro_value_get_boolean(&value, &yes), 0);
    return yes;
}

static size_t nulls(const struct written *w)
{
    size_t count = 0;
    avro_value_t value;
    for (const struct column *c = columns_table; c->name; c++)
        count += !column(w, c->name, &value);
    return count;
}

static size_t columns_of_data(void)
{
    size_t n = 0;
    while (columns_table[n].name)
        n++;
    return n;
}

#define ANSWER .type = STR("chat.response.generated")

TEST(attributes_are_columns)
{
    const struct header x[] = { { STR("flag"), STR("true") },
                                { STR("partitionkey"), STR("k") },
                                { STR("n"), STR("-65") } };
    struct written w;
    write_event(&w, (struct event){ .id = STR("1"),
                                    .source = STR("/s"),
                                    .type = STR("t.u"),
                                    .subject = STR("a/b"),
                                    .time = STR("2026-11-20T11:00:00.1239+01:00"),
                                    .dataschema = STR("urn:x"),
                                    .datacontenttype = STR("text/plain"),
                                    .extensions = x,
                                    .extension_count = 3,
                                    .booleans = 1 << 0,
                                    .integers = 1 << 2,
                                    .data = STR("\xff\0hi") });
    assert_text(&w, "id", STR("1"));
    assert_text(&w, "source", STR("/s"));
    assert_text(&w, "type", STR("t.u"));
    assert_text(&w, "subject", STR("a/b"));
    assert_int_equal(number(&w, "time"), 1795168800123);
    assert_text(&w, "time_text", STR("2026-11-20T11:00:00.1239+01:00"));
    assert_text(&w, "dataschema", STR("urn:x"));
    assert_text(&w, "datacontenttype", STR("text/plain"));
    assert_text(&w, "partitionkey", STR("k"));
    assert_text(&w, "extensions.flag", STR("true"));
    assert_text(&w, "extensions.n", STR("-65"));
    assert_text(&w, "extension_types", STR("flag=boolean,n=integer"));
    assert_int_equal(nulls(&w), columns_of_data());
    const struct event *back = event_from_columns(buf_str(&w.bytes), NULL);
    assert_str(event_types(back), "flag=boolean,n=integer");
    event_unref(back);
    end_written(&w);
}

TEST(what_is_absent_is_null)
{
    for (int empty = 0; empty < 2; empty++) {
        struct written w;
        write_event(&w, (struct event){ .data = empty ? STR("") : STR_ABSENT });
        static const char *const names[] = { "subject",      "time",       "time_text",      "dataschema",
                                             "partitionkey", "extensions", "extension_types" };
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            assert_null_column(&w, names[i]);
        avro_value_t data;
        assert_int_equal(column(&w, "data", &data), empty);
        end_written(&w);
    }
}

static const char answer[] =
    "{\"app\":{\"name\":\"open-webui\"},\"message\":{\"id\":\"m\"},\"user\":{\"active\":true},\"document\":{\"id\":\"d\",\"bytes\":9007199254740993,"
    "\"pinned\":false},\"run\":{\"started_at\":\"2026-11-20T10:00:00.123Z\"},\"channel\":\"ui\",\"input\":{\"text\":\"Gr\\u00fc\\u00dfe\\n\\\"\\ud83d\\ude00\\\"\","
    "\"chars\":5},\"output\":{\"text\":\"ECHO: Gr\xc3\xbc\xc3\x9f"
    "e\"},\"usage\":{\"input_tokens\":0,\"total_tokens\":12},\"duration_ms\":1500,"
    "\"sources\":[{\"document\":\"d1\",\"score\":0.5},{\"name\":\"n\",\"score\":-2}],\"feedback\":{\"score\":-1},"
    "\"audit\":{\"detail\":{\"a\": [1, null]}},\"before\":{\"user\":{\"role\":\"x\"}},\"raw\":{\"table\":\"t\",\"row\":{\"c\":\"\\u0000\"},\"body\":[1]}}";

TEST(data_of_the_vocabulary_is_columns)
{
    struct written w;
    write_event(&w, (struct event){ ANSWER, .data = STR(answer) });
    assert_text(&w, "app.name", STR("open-webui"));
    assert_null_column(&w, "app.version");
    assert_null_column(&w, "conversation");
    assert_text(&w, "message.id", STR("m"));
    assert_true(flag(&w, "user.active") && !flag(&w, "document.pinned"));
    assert_int_equal(number(&w, "document.bytes"), 9007199254740993);
    assert_int_equal(number(&w, "run.started_at"), 1795168800123);
    assert_text(&w, "channel", STR("ui"));
    assert_text(&w, "input.text",
                STR("Gr\xc3\xbc\xc3\x9f"
                    "e\n\"\xf0\x9f\x98\x80\""));
    assert_text(&w, "output.text",
                STR("ECHO: Gr\xc3\xbc\xc3\x9f"
                    "e"));
    assert_int_equal(number(&w, "usage.input_tokens"), 0);
    assert_null_column(&w, "usage.output_tokens");
    assert_int_equal(number(&w, "duration_ms"), 1500);
    assert_text(&w, "sources.0.document", STR("d1"));
    assert_null_column(&w, "sources.0.name");
    assert_text(&w, "sources.1.name", STR("n"));
    assert_true(real(&w, "sources.0.score") == 0.5 && real(&w, "sources.1.score") == -2);
    assert_int_equal(number(&w, "feedback.score"), -1);
    assert_text(&w, "audit.detail", STR("{\"a\": [1, null]}"));
    assert_text(&w, "before", STR("{\"user\":{\"role\":\"x\"}}"));
    assert_text(&w, "raw.table", STR("t"));
    assert_text(&w, "raw.row", STR("{\"c\":\"\\u0000\"}"));
    assert_text(&w, "raw.body", STR("[1]"));
    end_written(&w);
}

TEST(what_does_not_fit_is_null_and_what_stands_beside_it_is_not)
{
    static const struct {
        const char *data, *path;
    } cases[] = {
        { "{\"channel\":\"ui\",\"duration_ms\":\"1500\"}", "duration_ms" },
        { "{\"channel\":\"ui\",\"duration_ms\":1.5}", "duration_ms" },
        { "{\"channel\":\"ui\",\"duration_ms\":9223372036854775808}", "duration_ms" },
        { "{\"channel\":\"ui\",\"duration_ms\":null}", "duration_ms" },
        { "{\"channel\":\"ui\",\"usage\":{\"input_tokens\":true}}", "usage.input_tokens" },
        { "{\"channel\":\"ui\",\"usage\":[]}", "usage" },
        { "{\"channel\":\"ui\",\"finish_reason\":{}}", "finish_reason" },
        { "{\"channel\":\"ui\",\"sources\":{}}", "sources" },
        { "{\"channel\":\"ui\",\"sources\":[{\"name\":\"n\"},1]}", "sources" },
        { "{\"channel\":\"ui\",\"sources\":[{\"score\":1e999}]}", "sources.0.score" },
        { "{\"channel\":\"ui\",\"sources\":[{\"score\":0.0000000000000000000000000000000000000000000000000000000000000000001}]}",
          "sources.0.score" },
        { "{\"channel\":\"ui\",\"run\":{\"started_at\":\"yesterday\"}}", "run.started_at" },
        { "{\"channel\":\"ui\",\"run\":{\"started_at\":\"0000-12-31T23:59:59Z\"}}", "run.started_at" },
        { "{\"channel\":\"ui\",\"run\":{\"started_at\":\"0001-01-01T00:00:00+00:01\"}}", "run.started_at" },
        { "{\"channel\":\"ui\",\"run\":{\"ended_at\":\"9999-12-31T23:59:59-00:01\"}}", "run.ended_at" },
        { "{\"channel\":\"ui\",\"user\":{\"active\":\"true\"}}", "user.active" },
        { "{\"channel\":\"ui\",\"output\":{\"text\":7}}", "output.text" },
        { "{\"channel\":\"api\",\"duration_ms\":7,\"channel\":\"ui\",\"duration_ms\":\"x\"}", "duration_ms" },
        { "{\"duration_ms\":7,\"channel\":\"ui\",\"duration_ms\":null}", "duration_ms" },
        { "{\"channel\":\"ui\",\"id\":7,\"data\":8,\"unknown\":9}", "usage" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct written w;
        write_event(&w, (struct event){ ANSWER, .data = str_of(cases[i].data) });
        assert_null_column(&w, cases[i].path);
        assert_text(&w, "channel", STR("ui"));
        assert_text(&w, "id", STR("1"));
        end_written(&w);
    }
}

/* Python's datetime and SQL's timestamps end there, and a reader that has none of it loses the whole record. */
TEST(times_that_readers_cannot_have_are_null)
{
    static const struct {
        const char *time;
        int64_t ms; /* 0: null */
    } cases[] = { { "0000-06-01T00:00:00Z", 0 },
                  { "0001-01-01T00:00:00+00:01", 0 },
                  { "0001-01-01T00:00:00Z", -62135596800000 },
                  { "1969-12-31T23:59:59.9999Z", -1 },
                  { "2016-12-31T23:59:60Z", 1483228799999 },
                  { "9999-12-31T23:59:59.9999Z", 253402300799999 },
                  { "9999-12-31T23:59:59-00:01", 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct written w;
        write_event(&w, (struct event){ ANSWER, .time = str_of(cases[i].time) });
        if (cases[i].ms)
            assert_int_equal(number(&w, "time"), cases[i].ms);
        else
            assert_null_column(&w, "time");
        assert_text(&w, "time_text", str_of(cases[i].time));
        end_written(&w);
    }
}

TEST(members_that_are_no_columns_cost_those_that_are_nothing)
{
    enum { OTHERS = 1000 };
    struct buf data = buf_new(64 << 10);
    struct written w;
    buf_add_char(&data, '{');
    for (int i = 0; i < OTHERS; i++)
        buf_printf(&data, "\"x%d\":%d,", i, i);
    buf_add_c(&data, "\"channel\":\"ui\"}");
    write_event(&w, (struct event){ ANSWER, .data = buf_str(&data) });
    assert_text(&w, "channel", STR("ui"));
    end_written(&w);
    buf_free(&data);
}

TEST(other_events_have_no_columns)
{
    const struct event cases[] = {
        { .type = STR("test.happened"), .data = STR(answer) },
        { ANSWER, .dataschema = STR("urn:other"), .data = STR(answer) },
        { ANSWER, .dataschema = STR("urn:aqueduct:event/chat.response.generated/0"), .data = STR(answer) },
        { ANSWER, .datacontenttype = STR("text/plain"), .data = STR(answer) },
        { ANSWER, .data = STR("{\"channel\":\"ui\"") },
        { ANSWER, .data = STR("[\"channel\",\"ui\"]") },
        { ANSWER, .data = STR("{\"a\":\"\xff\"}") },
        { ANSWER, .data = STR_ABSENT },
    };
    struct written w;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_event(&w, cases[i]);
        assert_int_equal(nulls(&w), columns_of_data());
        end_written(&w);
    }
    write_event(&w, (struct event){ .type = STR("com.example.chat.edited"),
                                    .dataschema = STR("https://example.com/chat.edited/1"),
                                    .data = STR(answer) });
    assert_text(&w, "channel", STR("ui")); /* by its schema, whatever the type begins with */
    end_written(&w);
}

/* Data with a text of so many bytes behind its model. */
static struct str long_data(struct buf *out, size_t n)
{
    buf_add_c(out, "{\"model\":{\"name\":\"m\"},\"input\":{\"text\":\"");
    memset(buf_room(out, n), 'x', n);
    out->n += n;
    buf_add_c(out, "\"},\"channel\":\"ui\"}");
    return buf_str(out);
}

TEST(long_texts_are_columns_as_far_as_a_broker_takes_the_record)
{
    static const struct {
        size_t bytes;
        bool column;
    } cases[] = { { 400 << 10, true }, { 500 << 10, false }, { 1000 << 10, false }, { 3 << 20, false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf data = buf_new(4 << 20);
        struct written w;
        avro_value_t text;
        write_event(&w, (struct event){ ANSWER, .data = long_data(&data, cases[i].bytes) });
        assert_int_equal(column(&w, "input.text", &text), cases[i].column);
        assert_text(&w, "model.name", STR("m"));
        assert_text(&w, "channel", STR("ui"));
        assert_true(w.bytes.n < 1000000 || w.bytes.n < data.n + 1024);
        end_written(&w);
        buf_free(&data);
    }
}

/* A record that is as large as a broker takes in binary mode is not too large for its columns. */
TEST(long_attributes_leave_columns_less_room)
{
    enum { EXTENSIONS = 60, EACH = 8000 };
    struct header x[EXTENSIONS];
    char names[EXTENSIONS][8], value[EACH];
    struct buf data = buf_new(1 << 20);
    struct written w;
    memset(value, 'v', sizeof value);
    for (int i = 0; i < EXTENSIONS; i++) {
        snprintf(names[i], sizeof names[i], "x%d", i);
        x[i] = (struct header){ str_of(names[i]), { value, sizeof value } };
    }
    write_event(&w, (struct event){ ANSWER, .extensions = x, .extension_count = EXTENSIONS,
                                    .data = long_data(&data, 400 << 10) });
    assert_null_column(&w, "input.text");
    assert_text(&w, "channel", STR("ui"));
    assert_true(w.bytes.n < 1000000);
    end_written(&w);
    buf_free(&data);
}

TEST(lists_have_an_end)
{
    for (size_t more = 0; more < 2; more++) {
        struct buf data = buf_new(1 << 20);
        struct written w;
        avro_value_t list;
        buf_add_c(&data, "{\"channel\":\"ui\",\"sources\":[{}");
        for (size_t i = 1; i < COLUMNS_ITEMS + more; i++)
            buf_add_c(&data, ",{}");
        buf_add_c(&data, "]}");
        write_event(&w, (struct event){ ANSWER, .data = buf_str(&data) });
        assert_int_equal(column(&w, "sources", &list), !more);
        assert_text(&w, "channel", STR("ui"));
        end_written(&w);
        buf_free(&data);
    }
}

static void assert_same_columns(avro_schema_t record, size_t first, const struct column *table)
{
    size_t n = 0;
    for (; table[n].name; n++) {
        assert_string_equal(avro_schema_record_field_name(record, (int)(first + n)), table[n].name);
        avro_schema_t below = avro_schema_union_branch(avro_schema_record_field_get_by_index(record, (int)(first + n)),
                                                       1);
        if (avro_typeof(below) == AVRO_ARRAY)
            below = avro_schema_array_items(below);
        assert_int_equal(avro_typeof(below) == AVRO_RECORD, table[n].below != NULL);
        if (table[n].below)
            assert_same_columns(below, 0, table[n].below);
    }
    assert_int_equal(avro_schema_record_size(record), first + n);
}

TEST(schema_and_table_have_the_same_columns)
{
    assert_string_equal(avro_schema_name(schema), "Event");
    assert_string_equal(event_schema(SCHEMA_COLUMNS).name, "aqueduct.Event");
    assert_same_columns(schema, avro_schema_record_size(schema) - columns_of_data(), columns_table);
}

TEST(every_cut_before_the_columns_is_refused)
{
    const struct header x[] = { { STR("partitionkey"), STR("k") }, { STR("b"), STR("2") } };
    struct written w;
    write_event(&w, (struct event){ ANSWER, .subject = STR("s"), .extensions = x, .extension_count = 2,
                                    .data = STR(answer) });
    const char *end = memmem(w.bytes.at, w.bytes.n, answer, sizeof answer - 1);
    assert_non_null(end);
    size_t whole = (size_t)(end - w.bytes.at) + sizeof answer - 1;
    for (size_t n = 0; n < whole; n++)
        assert_null(event_from_columns((struct str){ w.bytes.at, n }, NULL));
    const struct event *back = event_from_columns((struct str){ w.bytes.at, whole }, NULL);
    assert_str(back->data, answer);
    event_unref(back);
    end_written(&w);
}

static void assert_refused(struct str value, const char *said)
{
    struct err e = { "" };
    assert_null(event_from_columns(value, &e));
    assert_says(e.text, said);
}

#define NAMED                                                                                                          \
    "\x02"                                                                                                             \
    "1"                                                                                                                \
    "\x04/s"                                                                                                           \
    "\x02"                                                                                                             \
    "t"

TEST(what_lies_about_its_size)
{
    const char *const none = "not an event in Avro, by the schema of its columns";
    assert_refused(STR("\xfe\xff\xff\xff\x0f"
                       "1"),
                   none);                    /* an id so long */
    assert_refused(STR("\x01"), none);       /* below 0 */
    assert_refused(STR(NAMED "\x04"), none); /* no such branch */
    assert_refused(STR(NAMED "\0\x03"), none);
    assert_refused(STR(NAMED "\0\0\0\0\0\0\x02\xff\xff\x03"), none); /* so many extensions */
    assert_refused(STR(NAMED "\0\0\0\0\0\0\x02\x04\x02"
                             "a\x02"
                             "1\x02"
                             "a\x02"
                             "2\0\0\0"),
                   "stands twice");
    assert_refused(STR(NAMED "\0\0\0\0\0\0\x02\x02\x02"
                             "A\x02"
                             "1\0\0\0"),
                   "event attribute");
    assert_refused(STR("\0\0\0\0\0"
                       "\0"
                       "\x04/s"
                       "\x02"
                       "t"
                       "\0\0\0\0\0\0\0\0\0"),
                   "event attribute");
    struct err e = { "" };
    const struct event *ev = event_from_columns(STR(NAMED "\0\0\0\0\0\0\x02\x01\x08\x02"
                                                          "a\x02"
                                                          "1\0\0\0"),
                                                &e); /* a block with its bytes */
    if (!ev)
        fail_msg("%s", e.text);
    assert_str(event_attribute(ev, STR("a")), "1");
    event_unref(ev);
}

static void *write_many(void *wanted)
{
    const struct event *ev = event_like((struct event){ ANSWER, .data = STR(answer) });
    bool same = true;
    for (int i = 0; i < 500; i++) {
        struct buf out = buf_new(1 << 20);
        event_to_columns(ev, &out);
        same = same && str_eq(buf_str(&out), buf_str(wanted));
        buf_free(&out);
    }
    event_unref(ev);
    return same ? wanted : NULL;
}

TEST(threads_write_at_once)
{
    pthread_t threads[4];
    struct written w;
    write_event(&w, (struct event){ ANSWER, .data = STR(answer) });
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &w.bytes), 0);
    for (size_t i = 0; i < 4; i++) {
        void *same;
        assert_int_equal(pthread_join(threads[i], &same), 0);
        assert_ptr_equal(same, &w.bytes);
    }
    end_written(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_are_columns),
        cmocka_unit_test(what_is_absent_is_null),
        cmocka_unit_test(data_of_the_vocabulary_is_columns),
        cmocka_unit_test(what_does_not_fit_is_null_and_what_stands_beside_it_is_not),
        cmocka_unit_test(times_that_readers_cannot_have_are_null),
        cmocka_unit_test(members_that_are_no_columns_cost_those_that_are_nothing),
        cmocka_unit_test(long_attributes_leave_columns_less_room),
        cmocka_unit_test(other_events_have_no_columns),
        cmocka_unit_test(long_texts_are_columns_as_far_as_a_broker_takes_the_record),
        cmocka_unit_test(lists_have_an_end),
        cmocka_unit_test(schema_and_table_have_the_same_columns),
        cmocka_unit_test(every_cut_before_the_columns_is_refused),
        cmocka_unit_test(what_lies_about_its_size),
        cmocka_unit_test(threads_write_at_once),
    };
    return cmocka_run_group_tests(tests, open_schema, close_schema);
}
