/* SPDX-License-Identifier: MIT */
/* How much each address, each path and each key may send: token buckets (bridge/lib/bucket.h).
 *
 *   limits_arrive    the head is there, the body not yet: the address, and whether the path has room
 *   limits_failed    the request could not be verified: the address's bucket of such requests
 *   limits_verified  it is from who it claims to be, and nothing is stored yet: the path and the key
 *
 * What was not verified takes nothing of a path or a key, so nobody without a key uses up what others have. A bucket of
 * failures refuses failures alone: who has a right key is served, whatever others behind the same address try.
 *
 * Addresses and keys have a place each in a table of bounded size, known by a digest that nobody outside can steer. A
 * place whose buckets are full again is free for another. When none is, newcomers share buckets among each other, and take
 * nobody's. Any thread, once the paths are added: the copies of a source share their limits. */
#pragma once
#include "bridge/lib/bucket.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/option.h"

struct limit_options {
    double rate;        /* requests a second; 0: no limit */
    int64_t burst;      /* most at once; 0: what comes in two seconds */
    struct bytes bytes; /* of bodies, a second; 0: no limit */
};
struct limits_options { /* `limits:` of a source */
    struct limit_options per_address, per_key, per_path, failures;
    int64_t addresses;
};
struct limits_path_options { /* `limits:` of a path */
    struct limit_options per_address, per_key, per_path;
};
extern const struct option limits_rows[], limits_path_rows[];

enum limited { LIMITED_NOT, LIMITED_ADDRESS, LIMITED_PATH, LIMITED_KEY, LIMITED_FAILURES, LIMITED_KINDS };

struct limited_by {
    enum limited what;
    int64_t wait_us; /* until it may come again */
};

struct limits;

bool limit_is_asked(const struct limit_options *o); /* is there a rate, or one of bytes? */
bool limits_check(const struct limits_options *o, struct err *e);
bool limits_check_path(const struct limits_path_options *o, struct err *e);
struct limits *limits_new(const struct limits_options *o, const char *source_id);
void limits_free(struct limits *l); /* accepts NULL */
/* The next path; its number is how many came before. `label`: of metrics. */
void limits_add_path(struct limits *l, const struct limits_path_options *o, const char *label);

enum { LIMITS_NO_PATH = -1 };

struct limited_by limits_arrive(struct limits *l, int path, struct str network);
struct limited_by limits_failed(struct limits *l, int path, struct str network);
/* key: what it is called, absent: it has no name. bytes: of the body. */
struct limited_by limits_verified(struct limits *l, int path, struct str network, struct str key, size_t bytes);
/* A body came that was not verified. */
void limits_spend(struct limits *l, int path, struct str network, size_t bytes);

const char *limited_name(enum limited l); /* "address", as metrics have it */
const char *limited_text(enum limited l); /* what the sender hears */
