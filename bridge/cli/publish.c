/* SPDX-License-Identifier: MIT */
/* One record through the running daemon, or directly when no daemon runs. */
#include "bridge/cli/publish.h"
#include <unistd.h>
#include "bridge/admin/control_client.h"
#include "bridge/broker/broker.h"
#include "bridge/lib/mailbox.h"

enum { PUBLISH_WAIT_MS = 30000 };

struct publish_wait {
    struct mailbox box;
    int wake_fd;
};

static void publish_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct publish_wait *wait = ctx;
    mailbox_put(&wait->box, tag, (int32_t)o, why);
}

static bool publish_directly(const struct config *config, const struct record *r, struct err *e)
{
    if (config->broker_missing)
        return err_set(e, "the broker's configuration is not whole: %s", config->broker_missing);
    struct publish_wait wait = { .wake_fd = wake_new() };
    struct notice notice = { 0 };
    struct broker *broker = broker_open(&config->broker, e);
    if (!broker) {
        close(wait.wake_fd);
        return false;
    }
    mailbox_open(&wait.box, wait.wake_fd);
    broker_publish(broker,
                   &(struct publication){ .records = r, .record_count = 1, .done = publish_done, .ctx = &wait });
    broker_flush(broker, (struct duration){ PUBLISH_WAIT_MS });
    broker_close(broker); /* whatever was not done by now is reported as unavailable */
    bool stored = mailbox_take(&wait.box, &notice, 1) == 1 && notice.code == OUTCOME_STORED;
    mailbox_close(&wait.box);
    close(wait.wake_fd);
    return stored || err_set(e, "not stored: %s", notice.why[0] ? notice.why : "no answer in time");
}

bool publish_once(const struct config *config, const struct record *r, struct err *e)
{
    bool nobody;
    if (control_publish(config, r, &nobody, e))
        return true;
    return nobody && publish_directly(config, r, e);
}
