/* SPDX-License-Identifier: MIT */
/* Records through the running daemon, or directly when no daemon runs. */
#include "bridge/cli/publish.h"
#include <stdlib.h>
#include <unistd.h>
#include "bridge/admin/control_client.h"
#include "bridge/broker/broker.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

enum { PUBLISH_WAIT_MS = 30000 };

struct publisher {
    const struct config *config;
    struct broker *broker; /* NULL: a daemon does it, as far as is known */
    struct mailbox box;
    int wake_fd;
    uint64_t tag;
};

struct publisher *publisher_new(const struct config *config)
{
    struct publisher *p = mem_alloc(sizeof *p);
    *p = (struct publisher){ .config = config, .wake_fd = wake_new() };
    mailbox_open(&p->box, p->wake_fd);
    return p;
}

static void publish_close(struct publisher *p)
{
    if (p->broker)
        broker_close(p->broker); /* whatever was not done by now is reported as unavailable */
    p->broker = NULL;
}

void publisher_rest(struct publisher *p)
{
    if (broker_facts(&p->config->broker).own_folder)
        publish_close(p);
}

void publisher_free(struct publisher *p)
{
    publish_close(p);
    mailbox_close(&p->box);
    close(p->wake_fd);
    free(p);
}

static void publish_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct publisher *p = ctx;
    mailbox_put(&p->box, tag, (int32_t)o, why);
}

/* Opens the log, which no daemon owns. */
static bool publish_open(struct publisher *p, struct err *e)
{
    if (p->config->broker_missing)
        return err_set(e, "the broker's configuration is not whole: %s", p->config->broker_missing);
    p->broker = p->broker ? p->broker : broker_open(&p->config->broker, e);
    return p->broker != NULL;
}

static enum outcome publish_directly(struct publisher *p, const struct record *records, size_t count, struct err *e)
{
    struct notice notice = { 0 };
    if (!publish_open(p, e))
        return OUTCOME_UNAVAILABLE;
    broker_publish(p->broker,
                   &(struct publication){
                       .records = records, .record_count = count, .done = publish_done, .ctx = p, .tag = ++p->tag });
    broker_flush(p->broker, (struct duration){ PUBLISH_WAIT_MS });
    while (mailbox_take(&p->box, &notice, 1) == 1 && notice.tag != p->tag)
        continue; /* one that was given up */
    bool known = notice.tag == p->tag;
    if (known && notice.code == OUTCOME_STORED)
        return OUTCOME_STORED;
    err_set(e, "not stored: %s", known && notice.why[0] ? notice.why : "no answer in time");
    return known ? (enum outcome)notice.code : OUTCOME_UNAVAILABLE;
}

enum outcome publisher_put(struct publisher *p, const struct record *records, size_t count, struct err *e)
{
    bool nobody = true;
    enum outcome o = p->broker ? OUTCOME_UNAVAILABLE : control_publish(p->config, records, count, &nobody, e);
    return o != OUTCOME_STORED && nobody ? publish_directly(p, records, count, e) : o;
}

bool publisher_topic(struct publisher *p, const struct topic_config *topic, struct err *e)
{
    return broker_facts(&p->config->broker).own_folder || (publish_open(p, e) && broker_topic(p->broker, topic, e));
}

bool publisher_forget(struct publisher *p, const char *group, const char *topic, struct err *e)
{
    bool nobody = true;
    if (!p->broker && control_forget(p->config, group, topic, &nobody, e))
        return true;
    return nobody && publish_open(p, e) && broker_forget(p->broker, group, topic, e);
}
