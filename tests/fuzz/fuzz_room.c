/* SPDX-License-Identifier: MIT */
/* Who gives way when connections are short (room.c), as a state machine: whatever connections do before, the newcomer gets
 * in or not by the rules that room.c states, and at most one other goes for it.
 *
 * Input: bytes, each an action (the low three bits) and whom it is about (the others). The server has a round after each,
 * but not when 0xff follows: then bytes may still lie in the kernel when room is made. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"
#include "tests/fuzz/address.h"

enum { LIMIT = 5, PER_ADDRESS = 3, CLIENTS = 24, MOST = 512, ACTIONS = 400, HEAD_MS = 1000 }; /* of room.c: HEAD_MS */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const networks[] = { "10.0.0.1", "10.0.0.2", "10.0.0.3", "unix" };
enum { NETWORKS = sizeof networks / sizeof *networks };

static struct room {
    struct http_server *server;
    int clients[CLIENTS]; /* their ends; -1: none */
    uint64_t waiting[MOST];
    size_t asked, answered, taken, closed;
    struct http_stream *streams[MOST];
} room;

/* ---- the server's user: /l is answered later, /s becomes a stream, anything else is answered at once ---- */

static void user_on_request(void *ctx, const struct http_request *r)
{
    (void)ctx;
    char first = r->path.n > 1 ? r->path.at[1] : 0;
    if (first == 'l' && room.asked < MOST)
        room.waiting[room.asked++] = r->id;
    else if (first == 's' && room.taken < MOST)
        room.taken += (room.streams[room.taken] = http_server_stream(room.server, r, 200, NULL, 0, &room)) != NULL;
    else
        http_server_reply(room.server, r->id, 200, NULL, 0, STR("ok"));
}

static void user_on_closed(void *ctx, struct http_stream *st)
{
    (void)ctx;
    CHECK(http_stream_user(st) == &room);
    for (size_t i = 0; i < room.taken; i++)
        if (room.streams[i] == st)
            room.streams[i] = NULL;
    room.closed++;
}

static void user_on_writable(void *ctx, struct http_stream *st)
{
    (void)ctx;
    CHECK(http_stream_user(st) == &room);
}

/* ---- what stands there before room is made ---- */

struct seen {
    const struct http_conn *c;
    size_t network, of_network; /* which, and how many connections that has */
    bool idle, protected;
    int64_t due_ms, head_ms; /* head_ms: how long its head has been incomplete; -1: it has none */
};

struct view {
    struct seen at[MOST];
    size_t count, of[NETWORKS];
};

static size_t network_index(struct str network)
{
    size_t i = 0;
    while (!str_eq(str_of(networks[i]), network))
        CHECK(++i < NETWORKS);
    return i;
}

static bool seen_is_idle(const struct http_conn *c)
{
    char byte;
    bool empty = recv(c->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
    return c->state == HTTP_OPEN && c->due == DUE_IDLE && !c->work && !c->readable && !c->is_later && empty;
}

static void view_take(struct view *v)
{
    const struct http_server *s = room.server;
    *v = (struct view){ 0 };
    for (size_t i = 0; i < s->slots; i++) {
        const struct http_conn *c = s->conns[i];
        if (!c || !c->holder)
            continue;
        CHECK(v->count < MOST);
        bool begun = c->protocol != &http_requests || c->request == REQUEST_WAITING;
        struct seen *at = &v->at[v->count++];
        *at = (struct seen){ .c = c,
                             .network = network_index(str_of(c->holder->network)),
                             .of_network = c->holder->connections,
                             .idle = seen_is_idle(c),
                             .protected = c->state == HTTP_OPEN && begun,
                             .due_ms = c->due_ms,
                             .head_ms = c->due == DUE_HEAD ? s->now_ms - (c->due_ms - s->lasts[DUE_HEAD]) : -1 };
        v->of[at->network]++;
    }
    CHECK(v->count == s->count);
    for (size_t i = 0; i < v->count; i++)
        CHECK(v->at[i].of_network == v->of[v->at[i].network]);
}

/* Is some connection idle, or some head incomplete for long? */
static bool view_has_easy(const struct view *v, bool *idle)
{
    bool slow = false;
    *idle = false;
    for (size_t i = 0; i < v->count; i++) {
        *idle = *idle || v->at[i].idle;
        slow = slow || v->at[i].head_ms >= HEAD_MS;
    }
    return *idle || slow;
}

/* ---- the rules ---- */

static bool view_is_full(const struct view *v, size_t network)
{
    return v->of[network] >= PER_ADDRESS && strcmp(networks[network], "unix") != 0;
}

/* Was it right that this one went? `full`: the newcomer's address had all that it may have. */
static void check_gone(const struct view *v, const struct seen *gone, size_t network, bool full)
{
    CHECK(!gone->protected);
    if (full) {
        CHECK(gone->idle && gone->network == network);
        return;
    }
    for (size_t i = 0; i < v->count; i++) {
        const struct seen *other = &v->at[i];
        if (gone->idle)
            CHECK(!other->idle || other->due_ms >= gone->due_ms);
        else if (gone->head_ms >= HEAD_MS)
            CHECK(!other->idle && other->head_ms <= gone->head_ms);
        else
            CHECK(!other->idle && other->head_ms < HEAD_MS && other->of_network <= gone->of_network);
    }
    CHECK(gone->idle || gone->head_ms >= HEAD_MS || gone->of_network > v->of[network] + 1);
}

/* Of the address with most, can no connection go? When several have as many, one of them is asked. */
static bool largest_is_protected(const struct view *v, size_t most)
{
    size_t protected[NETWORKS] = { 0 };
    for (size_t i = 0; i < v->count; i++)
    protected[v->at[i].network] += v->at[i].protected;
    for (size_t i = 0; i < NETWORKS; i++)
        if (v->of[i] == most && protected[i] == most)
            return true;
    return false;
}

static void check_refused(const struct view *v, int status, size_t network)
{
    bool idle;
    size_t most = 0;
    for (size_t i = 0; i < NETWORKS; i++)
        most = v->of[i] > most ? v->of[i] : most;
    if (status == 429) {
        CHECK(view_is_full(v, network));
        for (size_t i = 0; i < v->count; i++)
            CHECK(v->at[i].network != network || !v->at[i].idle);
        return;
    }
    CHECK(status == 503 && v->count >= LIMIT && !view_has_easy(v, &idle));
    CHECK(most <= v->of[network] + 1 || largest_is_protected(v, most));
}

/* Takes out of the view who went; false: nobody, or nobody more. Connections that are refused count as well until they
 * are through, so that one of the newcomer's address and one of all may have to go. */
static bool view_take_gone(struct view *v, bool full, size_t network, struct seen *gone)
{
    size_t which = v->count;
    for (size_t i = 0; i < v->count; i++)
        if (!v->at[i].c->holder && (which == v->count || !full || (v->at[i].idle && v->at[i].network == network)))
            which = i;
    if (which == v->count)
        return false;
    *gone = v->at[which];
    v->at[which] = v->at[--v->count];
    v->of[gone->network]--;
    for (size_t i = 0; i < v->count; i++)
        v->at[i].of_network -= v->at[i].network == gone->network;
    return true;
}

static int room_try(size_t network)
{
    static struct view v, before;
    struct seen gone;
    room.server->now_ms = clock_mono_ms();
    view_take(&v);
    bool full = view_is_full(&v, network);
    int status = http_room_make(room.server, str_of(networks[network]), true);
    for (int i = 0; i < 1 + full && (before = v, view_take_gone(&v, full && i == 0, network, &gone)); i++)
        check_gone(&before, &gone, network, full && i == 0);
    CHECK(room.server->count == v.count);
    if (status)
        check_refused(full && status == 429 ? &before : &v, status, network);
    return status;
}

/* Descriptors are short: one for nobody in particular. */
static void room_try_for_none(void)
{
    static struct view v;
    room.server->now_ms = clock_mono_ms();
    view_take(&v);
    size_t most = 0;
    for (size_t i = 0; i < NETWORKS; i++)
        most = v.of[i] > most ? v.of[i] : most;
    bool one = http_room_give_way(room.server, STR(""));
    struct seen gone;
    bool idle, easy = view_has_easy(&v, &idle);
    CHECK(one == view_take_gone(&v, false, 0, &gone) && room.server->count == v.count);
    if (one)
        CHECK(!gone.protected && (gone.idle || !idle) && (gone.idle || gone.head_ms >= HEAD_MS || !easy));
    else
        CHECK(!easy && (most <= 1 || largest_is_protected(&v, most)));
}

/* ---- the clients ---- */

static void run(void)
{
    for (int i = 0; i < 3; i++)
        http_server_run(room.server, -1, 0);
}

static void client_come(size_t network)
{
    int ends[2];
    size_t i = 0;
    while (i < CLIENTS && room.clients[i] >= 0)
        i++;
    if (i == CLIENTS || room.server->count > LIMIT + CLIENTS)
        return;
    int status = room_try(network);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    room.clients[i] = ends[1];
    http_conn_new(room.server, ends[0], "somebody", str_of(networks[network]), status);
}

static void client_send(size_t i, const char *text)
{
    if (room.clients[i] >= 0)
        (void)!send(room.clients[i], text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_read(size_t i)
{
    char bytes[4096];
    ssize_t n;
    while (room.clients[i] >= 0 && (n = recv(room.clients[i], bytes, sizeof bytes, MSG_DONTWAIT)) >= 0)
        if (n == 0) { /* the server has closed it */
            close(room.clients[i]);
            room.clients[i] = -1;
        }
}

static void client_leave(size_t i)
{
    if (room.clients[i] >= 0)
        close(room.clients[i]);
    room.clients[i] = -1;
}

/* ---- the play ---- */

static void room_act(unsigned what, size_t whom)
{
    static const char *const texts[] = { "GET /l HTTP/1.1\r\nHost: a\r\n\r\n",
                                         "GET /s HTTP/1.1\r\nHost: a\r\n\r\n",
                                         "GET /n HTTP/1.1\r\n",
                                         "Host: a\r\n\r\n",
                                         "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
                                         "x" };
    size_t client = whom % CLIENTS;
    switch (what) {
    case 0: client_come(whom % NETWORKS); break;
    case 1: client_send(client, texts[0]); break;
    case 2: client_send(client, texts[1]); break;
    case 3: client_send(client, texts[2]); break;
    case 4: client_send(client, texts[3 + whom / 8 % 3]); break;
    case 5: whom % 2 ? client_leave(client) : client_read(client); break;
    case 6: clock_fake_advance((int64_t)whom * 100); break;
    case 7:
        if (whom == 0)
            room_try_for_none();
        else if (room.answered < room.asked)
            http_server_reply(room.server, room.waiting[room.answered++], 200, NULL, 0, STR("ok"));
        break;
    }
}

static void room_begin(void)
{
    static const struct http_events events = { .request = user_on_request,
                                               .writable = user_on_writable,
                                               .closed = user_on_closed };
    struct http_server_options o = {
        .listen = address(), .max_connections = LIMIT, .max_per_address = PER_ADDRESS, .reserved = true
    };
    clock_fake(1000000, 1700000000000);
    room = (struct room){ .server = http_server_new(&o, &events, NULL) };
    CHECK(room.server);
    for (size_t i = 0; i < CLIENTS; i++)
        room.clients[i] = -1;
}

/* When all have left, nothing stays behind. */
static void room_end(void)
{
    for (size_t i = 0; i < CLIENTS; i++)
        client_leave(i);
    run();
    CHECK(http_server_connections(room.server) == 0 && room.server->held == 0);
    for (size_t i = 0; i < HTTP_HOLDER_BUCKETS; i++)
        CHECK(!room.server->holders[i]);
    CHECK(room.taken == room.closed);
    http_server_free(room.server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    room_begin();
    for (size_t i = 0; i < size && i < ACTIONS; i++) {
        if (data[i] != 0xff)
            room_act(data[i] & 7, data[i] >> 3);
        if (i + 1 >= size || data[i + 1] != 0xff)
            run();
    }
    room_end();
    return 0;
}
