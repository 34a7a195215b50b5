/* SPDX-License-Identifier: MIT */
/* The name under which this daemon is a static member of its groups: who comes back with it after a kill has its partitions
 * at once, where others wait until the session of the dead one ends.
 *
 * Two daemons with one name would end each other (the cluster lets the later one in and fences the first). So the name is
 * claimed on this machine with the first consumer of a group (a command beside the daemon needs none), and who finds it taken is a member without a name; a daemon that is fenced from elsewhere goes
 * on without one as well (consumer.c). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/log.h"
#include "bridge/lib/process.h"

/* The name that the configuration says, or the machine's; NULL: none. */
static const char *instance_said(const struct broker_config *config, char *host, size_t room)
{
    const char *said = config->instance;
    if (!said || !*said)
        return NULL;
    if (strcmp(said, "auto") != 0)
        return said;
    return process_host(host, room) ? host : NULL;
}

/* Claims the name; under the lock. */
static void instance_claim(struct kafka *b)
{
    char host[256], claim[64];
    const char *name = instance_said(b->config, host, sizeof host);
    if (!name)
        return;
    uint64_t hash = str_hash(str_of(b->config->servers)) ^ str_hash(str_of(b->config->group_prefix)) * 3;
    snprintf(claim, sizeof claim, "aqueduct-%016llx", (unsigned long long)(hash ^ str_hash(str_of(name)) * 5));
    b->instance_fd = process_claim(claim);
    if (b->instance_fd >= 0)
        b->instance = str_dup(str_of(name));
    else
        LOG(WARN,
            "another daemon on this machine has the same broker.instance and groups: this one goes without, so its "
            "partitions move when it restarts",
            LOG_C("instance", name));
}

void kafka_instance_open(struct kafka *b)
{
    pthread_mutex_init(&b->instance_lock, NULL);
    b->instance_fd = -1;
}

const char *kafka_instance(struct kafka *b)
{
    pthread_mutex_lock(&b->instance_lock);
    if (!b->instance_asked)
        instance_claim(b);
    b->instance_asked = true;
    const char *name = b->instance;
    pthread_mutex_unlock(&b->instance_lock);
    return name;
}

void kafka_instance_close(struct kafka *b)
{
    pthread_mutex_destroy(&b->instance_lock);
    if (b->instance_fd >= 0)
        close(b->instance_fd);
    free(b->instance);
}
