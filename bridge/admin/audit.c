/* SPDX-License-Identifier: MIT */
/* Tells of changes. */
#include "bridge/admin/audit.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/event.h"
#include "bridge/event/trail.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"
#include "bridge/lib/log.h"

METRIC_COUNTER(aqueduct_audit_omitted_total, "Events about changes through the API that were not stored.", NULL);

enum { AUDIT_BYTES = 4096 };
#define AUDIT_RETENTION_MS (400 * INT64_C(86400000)) /* a year, and some time to look at it */

bool audit_topic(const struct config *config, struct broker *b, struct err *e)
{
    if (!config->admin.audit)
        return true;
    char *name = topic_name(config->broker.prefix, TOPIC_AUDIT, NULL);
    bool made = broker_topic(b,
                             &(struct topic_config){
                                 .name = name, .partitions = 1, .retention = { AUDIT_RETENTION_MS } },
                             e);
    free(name);
    return made;
}

static void audit_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx, (void)tag;
    if (o == OUTCOME_STORED)
        return;
    metric_add(metric_get(&aqueduct_audit_omitted_total, NULL), 1);
    LOG(WARN, "an event about a change is not stored", LOG_C("reason", why));
}

static const char *audit_outcome(int status)
{
    return status < 400 ? "done" : status == 401 || status == 403 || status == 409 ? "refused" : "failed";
}

static void audit_data(const struct audit *a, struct buf *out)
{
    buf_add_char(out, '{');
    json_add_text(out, "operation", str_of(a->operation));
    json_add_text(out, "who", str_of(a->who));
    json_add_text(out, "role", str_of(a->role));
    json_add_text(out, "via", str_of(a->via));
    json_add_text(out, "address", str_of(a->address));
    json_add_text(out, "object", str_of(a->object));
    buf_printf(out, ",\"status\":%d", a->status);
    json_add_text(out, "outcome", str_of(audit_outcome(a->status)));
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)a->result, name, value)
    {
        char *text = json_short(value, JSON_COMPACT | JSON_ENCODE_ANY);
        buf_printf(out, ",\"%s\":%s", name, text ? text : "null");
        free(text);
    }
    buf_add_char(out, '}');
}

static void audit_publish(const struct config *config, struct broker *b, const struct audit *a)
{
    char id[UUID_TEXT], time[CLOCK_TEXT];
    struct header headers[EVENT_HEADERS];
    struct buf data = buf_new(AUDIT_BYTES);
    audit_data(a, &data);
    uuid_random(id);
    clock_text(clock_wall_ms(), time);
    char *topic = topic_name(config->broker.prefix, TOPIC_AUDIT, NULL);
    const struct event *ev = event_new(&(struct event){ .id = str_of(id),
                                                        .source = STR("/aqueduct/api"),
                                                        .type = STR(AUDIT_TYPE),
                                                        .time = str_of(time),
                                                        .datacontenttype = STR("application/json"),
                                                        .data = buf_str(&data) },
                                       NULL);
    if (ev) {
        const struct record r = { .topic = str_of(topic),
                                  .partition = -1,
                                  .value = ev->data,
                                  .headers = headers,
                                  .header_count = event_to_headers(ev, headers) };
        broker_publish(b, &(struct publication){ .records = &r, .record_count = 1, .done = audit_done });
    } else
        audit_done(NULL, 0, OUTCOME_INVALID, "it is no event");
    event_unref(ev);
    free(topic);
    buf_free(&data);
}

/* "998 of 1000, refused 2, pages 4"; "": nobody counted. */
static void audit_counts(const json_t *result, char out[128])
{
    static const struct {
        const char *name, *before;
    } parts[] = { { "done", "" }, { "matched", " of " }, { "refused", ", refused " }, { "pages", ", pages " } };
    int n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json_t *count = json_object_get(result, parts[i].name);
        if (count && n < 100)
            n += snprintf(out + n, 128 - (size_t)n, "%s%" JSON_INTEGER_FORMAT, parts[i].before,
                          json_integer_value(count));
    }
}

void audit_note(const struct config *config, struct broker *b, const struct audit *a)
{
    char counts[128];
    char *asked = a->result ? json_short(json_object_get(a->result, "asked"), JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    audit_counts(a->result, counts);
    LOG(INFO, "audit", LOG_C("operation", a->operation), LOG_C("who", a->who), LOG_C("via", a->via),
        LOG_C("role", a->role), LOG_C("object", a->object), LOG_INT("status", a->status), LOG_C("address", a->address),
        LOG_SOME("asked", asked), LOG_SOME("state", json_string_value(json_object_get(a->result, "state"))),
        LOG_SOME("done", counts[0] ? counts : NULL));
    free(asked);
    if (config->admin.audit && b)
        audit_publish(config, b, a);
}
