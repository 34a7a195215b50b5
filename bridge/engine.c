/* SPDX-License-Identifier: MIT */
/* The kinds of engines. */
#include "bridge/engine.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/waiter.h"
#include "bridge/intake/intake.h"

enum {
    ENGINE_TURN_MS = 1000, /* longest wait of a sink's or the waiter's turn */
    /* Beside 100 busy sinks on two cores, HTTP in took 2,000 events a second with 0 (p99 213 ms), 3,700 with 3 (183 ms) and
     * 3,200 with 5 (155 ms), medians of 13 runs, but 1,800 with 10: what hardly runs holds up others in what they share. */
    DELIVERY_NICE = 3,
};

static bool engine_intake_step(void *engine)
{
    return intake_step(engine);
}

static bool engine_intake_failed(void *engine, struct err *why)
{
    return intake_failed(engine, why);
}

static void engine_intake_stop(void *engine)
{
    intake_stop(engine);
}

static void engine_intake_abandon(void *engine)
{
    intake_abandon(engine);
}

static void engine_intake_close(void *engine)
{
    intake_close(engine);
}

static void engine_intake_free(void *engine)
{
    intake_free(engine);
}

const struct engine_ops engine_intake = {
    .kind = "source",
    .step = engine_intake_step,
    .failed = engine_intake_failed,
    .stop = engine_intake_stop,
    .abandon = engine_intake_abandon,
    .close = engine_intake_close,
    .free = engine_intake_free,
    .rank = 2,
};

static bool engine_delivery_step(void *engine)
{
    return delivery_step(engine, (struct duration){ ENGINE_TURN_MS });
}

static void engine_delivery_leave(void *engine, struct duration limit)
{
    delivery_drain(engine, limit);
}

static void engine_delivery_stop(void *engine)
{
    delivery_stop(engine);
}

static void engine_delivery_abandon(void *engine)
{
    delivery_abandon(engine);
}

static void engine_delivery_close(void *engine)
{
    delivery_close(engine);
}

static void engine_delivery_free(void *engine)
{
    delivery_free(engine);
}

const struct engine_ops engine_delivery = {
    .kind = "sink",
    .nice = DELIVERY_NICE,
    .step = engine_delivery_step,
    .leave = engine_delivery_leave,
    .stop = engine_delivery_stop,
    .abandon = engine_delivery_abandon,
    .close = engine_delivery_close,
    .free = engine_delivery_free,
};

static bool engine_waiter_step(void *engine)
{
    return waiter_step(engine, (struct duration){ ENGINE_TURN_MS });
}

static void engine_waiter_stop(void *engine)
{
    waiter_stop(engine);
}

static void engine_waiter_abandon(void *engine)
{
    waiter_abandon(engine);
}

static void engine_waiter_close(void *engine)
{
    waiter_close(engine);
}

static void engine_waiter_free(void *engine)
{
    waiter_free(engine);
}

const struct engine_ops engine_waiter = {
    .kind = "engine",
    .nice = DELIVERY_NICE,
    .step = engine_waiter_step,
    .stop = engine_waiter_stop,
    .abandon = engine_waiter_abandon,
    .close = engine_waiter_close,
    .free = engine_waiter_free,
    .rank = 1,
};
