/* SPDX-License-Identifier: MIT */
/* A publication as the embedded broker keeps it: its records are encoded by the thread that publishes, not by the
 * writer. */
#include <stdlib.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

/* One allocation: the struct, the items, the changes, then the bytes, which this counts. */
static size_t publication_bytes(const struct publication *p)
{
    size_t n = p->state_of ? strlen(p->state_of) : 0;
    for (size_t i = 0; i < p->record_count; i++)
        n += p->records[i].topic.n + local_record_size(&p->records[i]);
    for (size_t i = 0; i < p->change_count; i++)
        n += p->changes[i].key.n + p->changes[i].value.n;
    return n;
}

static struct str publication_copy(unsigned char **at, struct str s)
{
    if (!s.at)
        return s;
    struct str copy = { (const char *)*at, s.n };
    memcpy(*at, s.at, s.n);
    *at += s.n;
    return copy;
}

static void publication_encode(struct item *to, const struct record *r, bool as_kafka, unsigned char **at)
{
    to->topic = publication_copy(at, r->topic);
    to->partition = r->partition;
    to->keyed = r->key.at != NULL;
    to->hash = !to->keyed ? 0 : as_kafka ? str_kafka_hash(r->key) : str_hash(r->key);
    to->size = local_record_size(r);
    to->blob = *at;
    to->crc = local_record_encode(r, to->blob);
    *at += to->size;
}

struct local_publication *local_publication_new(const struct publication *p, bool as_kafka)
{
    size_t bytes = publication_bytes(p);
    struct local_publication *q = malloc(sizeof *q + p->record_count * sizeof *q->items
                                         + p->change_count * sizeof *q->changes + bytes);
    CHECK(q);
    *q = (struct local_publication){ .done = p->done,
                                     .ctx = p->ctx,
                                     .tag = p->tag,
                                     .bytes = bytes,
                                     .item_count = p->record_count,
                                     .change_count = p->change_count };
    q->items = (struct item *)(q + 1);
    q->changes = (struct change *)(q->items + p->record_count);
    unsigned char *at = (unsigned char *)(q->changes + p->change_count);
    for (size_t i = 0; i < p->record_count; i++)
        publication_encode(&q->items[i], &p->records[i], as_kafka, &at);
    q->state_of = publication_copy(&at, str_of(p->state_of));
    for (size_t i = 0; i < p->change_count; i++) {
        q->changes[i] = (struct change){ .key = publication_copy(&at, p->changes[i].key) };
        q->changes[i].value = publication_copy(&at, p->changes[i].value);
    }
    return q;
}
