/* SPDX-License-Identifier: MIT */
/* Removes the topics and groups of a throwaway run, known by their names. */
#include <stdlib.h>
#include <time.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum { REMOVE_ASK_MS = 10000, REMOVE_WAIT_MS = 30000, REMOVE_AGAIN_MS = 500, REMOVE_END_MS = 2000 };

struct remove_names {
    char **at;
    size_t count;
};

static void remove_add(struct remove_names *names, const char *name, const char *prefix)
{
    if (!str_starts(str_of(name), str_of(prefix)))
        return;
    names->at = mem_grow(names->at, names->count + 1, sizeof *names->at);
    names->at[names->count++] = str_dup(str_of(name));
}

static void remove_free(struct remove_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->at[i]);
    free(names->at);
}

static rd_kafka_resp_err_t remove_topics(rd_kafka_t *rk, const char *prefix)
{
    const struct rd_kafka_metadata *md = NULL;
    struct remove_names names = { 0 };
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &md, REMOVE_ASK_MS);
    for (int i = 0; md && i < md->topic_cnt; i++)
        remove_add(&names, md->topics[i].topic, prefix);
    rd_kafka_DeleteTopic_t **gone = mem_alloc((names.count + 1) * sizeof *gone);
    for (size_t i = 0; i < names.count; i++)
        gone[i] = rd_kafka_DeleteTopic_new(names.at[i]);
    if (names.count) {
        size_t n = 0;
        rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
        rd_kafka_DeleteTopics(rk, gone, names.count, NULL, q);
        rd_kafka_event_t *ev = rd_kafka_queue_poll(q, REMOVE_WAIT_MS);
        code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        const rd_kafka_topic_result_t **results = NULL;
        if (!code)
            results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev), &n);
        for (size_t i = 0; i < n && !code; i++)
            code = rd_kafka_topic_result_error(results[i]);
        if (ev)
            rd_kafka_event_destroy(ev);
        rd_kafka_queue_destroy(q);
        rd_kafka_DeleteTopic_destroy_array(gone, names.count);
    }
    if (md)
        rd_kafka_metadata_destroy(md);
    free(gone);
    remove_free(&names);
    return code;
}

static rd_kafka_resp_err_t remove_group(rd_kafka_t *rk, const char *name)
{
    size_t n = 0;
    rd_kafka_DeleteGroup_t *gone = rd_kafka_DeleteGroup_new(name);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_DeleteGroups(rk, &gone, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, REMOVE_ASK_MS);
    rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    const rd_kafka_group_result_t **results = NULL;
    if (!code)
        results = rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(ev), &n);
    if (n == 1 && rd_kafka_group_result_error(results[0]))
        code = rd_kafka_error_code(rd_kafka_group_result_error(results[0]));
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_DeleteGroup_destroy(gone);
    return code == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND ? RD_KAFKA_RESP_ERR_NO_ERROR : code;
}

static rd_kafka_resp_err_t remove_groups(rd_kafka_t *rk, const char *prefix)
{
    const struct rd_kafka_group_list *list = NULL;
    struct remove_names names = { 0 };
    rd_kafka_resp_err_t code = rd_kafka_list_groups(rk, NULL, &list, REMOVE_ASK_MS);
    for (int i = 0; list && i < list->group_cnt; i++)
        remove_add(&names, list->groups[i].group, prefix);
    if (list)
        rd_kafka_group_list_destroy(list);
    code = names.count ? RD_KAFKA_RESP_ERR_NO_ERROR : code;
    for (size_t i = 0; i < names.count && !code; i++)
        code = remove_group(rk, names.at[i]);
    remove_free(&names);
    return code;
}

bool kafka_remove(const struct broker_config *config, struct err *e)
{
    rd_kafka_t *rk = kafka_client_reader(config, NULL, e);
    if (!rk)
        return false;
    int64_t until = clock_mono_ms() + config->session_timeout.ms + REMOVE_WAIT_MS;
    rd_kafka_resp_err_t code;
    while ((code = remove_groups(rk, config->group_prefix)) == RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP
           && clock_mono_ms() < until) /* a member that was killed is in it until its session ends */
        nanosleep(&(struct timespec){ .tv_nsec = REMOVE_AGAIN_MS * 1000000L }, NULL);
    rd_kafka_resp_err_t topics = remove_topics(rk, config->prefix);
    kafka_client_end(rk, (struct duration){ REMOVE_END_MS });
    code = code ? code : topics;
    return !code
           || err_set(e, "Kafka at %s: not all topics %s* and groups %s* could be removed: %s", config->servers,
                      config->prefix, config->group_prefix, rd_kafka_err2str(code));
}
