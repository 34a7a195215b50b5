/* SPDX-License-Identifier: MIT */
/* What the copies of a source have in common: the memory of events, and how one hears what another one's publication came to. */
#include <stdlib.h>
#include "bridge/intake/private.h"
#include "bridge/lib/mem.h"

#define SHARED_REPEAT (UINT64_C(1) << 32) /* in a notice's tag: of a slot that waits for another intake's */

struct shared *shared_new(const struct source_config *source)
{
    const struct source_ops *ops = source->source->ops;
    struct shared *sh = mem_alloc(sizeof *sh);
    sh->source = source;
    sh->intakes = mem_alloc((size_t)(source->threads > 1 ? source->threads : 1) * sizeof(struct intake *));
    if (source->threads > 1) {
        CHECK(ops->copies && !ops->ordered && !ops->restore);
        sh->fresh = memcpy(mem_alloc(ops->size), source->source, ops->size);
    }
    pthread_mutex_init(&sh->lock, NULL);
    if (ops->dedupe && source->dedupe_size > 0)
        sh->seen = seen_new((size_t)source->dedupe_size, source->dedupe_window);
    return sh;
}

void shared_join(struct shared *sh, struct intake *in)
{
    in->shared = sh;
    in->number = sh->count++;
    sh->left++;
    sh->intakes[in->number] = in;
    in->s->copies = (size_t)sh->source->threads;
    in->s->first = in->number ? sh->intakes[0]->s : NULL;
}

void shared_leave(struct intake *in)
{
    struct shared *sh = in->shared;
    if (!sh || --sh->left)
        return;
    if (sh->filled_by)
        routing_give(sh->filled_by);
    seen_free(sh->seen);
    pthread_mutex_destroy(&sh->lock);
    free(sh->intakes);
    free(sh->fresh);
    free(sh);
}

static int64_t shared_intakes(const struct shared *sh)
{
    return sh->source->threads > 1 ? sh->source->threads : 1;
}

int64_t shared_part(const struct intake *in, int64_t whole)
{
    int64_t among = shared_intakes(in->shared);
    return whole / among + ((int64_t)in->number < whole % among);
}

int32_t shared_number(const struct intake *in, int32_t slot)
{
    return slot * (int32_t)shared_intakes(in->shared) + (int32_t)in->number;
}

static struct intake *shared_owner(const struct intake *in, int32_t number)
{
    return in->shared->intakes[number % (int32_t)shared_intakes(in->shared)];
}

static int32_t shared_index(const struct intake *in, int32_t number)
{
    return number / (int32_t)shared_intakes(in->shared);
}

struct slot *shared_slot(const struct intake *in, int32_t number)
{
    return &shared_owner(in, number)->slots[shared_index(in, number)];
}

void shared_begin(struct shared *sh)
{
    atomic_store(&sh->filled, true);
    for (size_t i = 0; i < sh->count; i++)
        wake_up(sh->intakes[i]->wake_fd);
}

void shared_tell(const struct intake *in, int32_t number, enum outcome o, const char *why)
{
    mailbox_put(&shared_owner(in, number)->done, SHARED_REPEAT | (uint32_t)shared_index(in, number), (int32_t)o, why);
}

bool shared_is_told(uint64_t tag, int32_t *slot)
{
    *slot = (int32_t)(uint32_t)tag;
    return tag & SHARED_REPEAT;
}
