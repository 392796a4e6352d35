#include "emu/storage/throttle/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/arith.h"
#include "emu/base/attrs.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"

static const uint64_t rate_max = UINT64_C(1000000000000000);

enum { NAME_MAX_BYTES = 64 };

const char *const throttle_bucket_names[THROTTLE_BUCKET_COUNT] = {
    [THROTTLE_BPS_TOTAL] = "bps-total",   [THROTTLE_BPS_READ] = "bps-read",
    [THROTTLE_BPS_WRITE] = "bps-write",   [THROTTLE_IOPS_TOTAL] = "iops-total",
    [THROTTLE_IOPS_READ] = "iops-read",   [THROTTLE_IOPS_WRITE] = "iops-write",
};

void throttle_limits_init(struct throttle_limits *limits)
{
    *limits = (struct throttle_limits){ 0 };
    for (size_t i = 0; i < THROTTLE_BUCKET_COUNT; i++)
        limits->rates[i].length = 1;
}

bool throttle_limits_any(const struct throttle_limits *limits)
{
    for (size_t i = 0; i < THROTTLE_BUCKET_COUNT; i++)
        if (limits->rates[i].rate)
            return true;
    return false;
}

/* ---- Checks ---- */

static bool total_and_part(const struct throttle_rate *total)
{
    const struct throttle_rate *read = total + 1, *write = total + 2;

    return (total->rate && (read->rate || write->rate)) ||
           (total->burst && (read->burst || write->burst));
}

static struct err *check_rate(const struct throttle_rate *rate)
{
    if (rate->rate > rate_max || rate->burst > rate_max)
        return err_new("bps/iops/max values must be within [0, %" PRIu64 "]", rate_max);
    if (rate->length == 0)
        return err_new("the burst length cannot be 0");
    if (rate->length > 1 && !rate->burst)
        return err_new("burst length set without burst rate");
    if (rate->burst && rate->length > rate_max / rate->burst)
        return err_new("burst length too high for this burst rate");
    if (rate->burst && !rate->rate)
        return err_new("bps_max/iops_max require corresponding bps/iops values");
    if (rate->burst && rate->burst < rate->rate)
        return err_new("bps_max/iops_max cannot be lower than bps/iops");
    return NULL;
}

struct err *throttle_limits_check(const struct throttle_limits *limits)
{
    const struct throttle_rate *rates = limits->rates;

    if (total_and_part(&rates[THROTTLE_BPS_TOTAL]) || total_and_part(&rates[THROTTLE_IOPS_TOTAL]))
        return err_new("bps/iops/max total values and read/write values cannot be used at the "
                       "same time");
    if (limits->iops_size && !rates[THROTTLE_IOPS_TOTAL].rate && !rates[THROTTLE_IOPS_READ].rate &&
        !rates[THROTTLE_IOPS_WRITE].rate)
        return err_new("iops size requires an iops value to be set");
    for (size_t i = 0; i < THROTTLE_BUCKET_COUNT; i++)
        TRY(check_rate(&rates[i]));
    return NULL;
}

/* ---- To and from options ---- */

struct err *throttle_limits_read(struct throttle_limits *limits, struct opts *opts,
                                 const char *prefix)
{
    static const char *const ends[] = { "", "-max", "-max-length" };
    char name[NAME_MAX_BYTES];
    struct throttle_rate *rate;
    int64_t value;

    for (size_t i = 0; i < THROTTLE_BUCKET_COUNT; i++) {
        rate = &limits->rates[i];
        for (size_t j = 0; j < ARRAY_LEN(ends); j++) {
            uint64_t *out = j == 0 ? &rate->rate : j == 1 ? &rate->burst : &rate->length;

            snprintf(name, sizeof(name), "%s%s%s", prefix, throttle_bucket_names[i], ends[j]);
            value = (int64_t)*out;
            TRY(opts_i64_opt(opts, name, &value));
            /* Negative ones are more than any limit. */
            if (j == 2 && value > UINT32_MAX)
                return err_new("%s value must be in the range [0, %" PRIu32 "]", name, UINT32_MAX);
            *out = (uint64_t)value;
        }
    }
    snprintf(name, sizeof(name), "%siops-size", prefix);
    value = (int64_t)limits->iops_size;
    TRY(opts_i64_opt(opts, name, &value));
    limits->iops_size = (uint64_t)value;
    return NULL;
}

struct json *throttle_limits_json(const struct throttle_limits *limits)
{
    struct json *all = json_object();
    char name[NAME_MAX_BYTES];

    for (size_t i = 0; i < THROTTLE_BUCKET_COUNT; i++) {
        json_object_set_uint(all, throttle_bucket_names[i], limits->rates[i].rate);
        snprintf(name, sizeof(name), "%s-max", throttle_bucket_names[i]);
        json_object_set_uint(all, name, limits->rates[i].burst);
        snprintf(name, sizeof(name), "%s-max-length", throttle_bucket_names[i]);
        json_object_set_uint(all, name, limits->rates[i].length);
    }
    json_object_set_uint(all, "iops-size", limits->iops_size);
    return all;
}

const uint64_t *throttle_limit(const struct throttle_limits *limits, const char *name)
{
    const struct throttle_rate *rate;
    const char *rest;

    if (str_eq(name, "iops-size"))
        return &limits->iops_size;
    for (size_t i = 0; i < THROTTLE_BUCKET_COUNT; i++) {
        rate = &limits->rates[i];
        if (!str_has_prefix(name, throttle_bucket_names[i]))
            continue;
        rest = name + strlen(throttle_bucket_names[i]);
        if (!*rest)
            return &rate->rate;
        if (str_eq(rest, "-max"))
            return &rate->burst;
        if (str_eq(rest, "-max-length"))
            return &rate->length;
    }
    return NULL;
}

/* ---- Buckets ---- */

void throttle_leak(const struct throttle_limits *limits, struct throttle_buckets *buckets,
                   int64_t now_ns)
{
    double seconds = (double)(now_ns - buckets->leaked_ns) / (double)NS_PER_SEC;

    if (now_ns <= buckets->leaked_ns)
        return;
    buckets->leaked_ns = now_ns;
    for (size_t i = 0; i < THROTTLE_BUCKET_COUNT; i++) {
        const struct throttle_rate *rate = &limits->rates[i];
        struct throttle_level *level = &buckets->levels[i];

        level->level = MAX(level->level - (double)rate->rate * seconds, 0.0);
        level->burst_level = MAX(level->burst_level - (double)rate->burst * seconds, 0.0);
    }
}

static int64_t time_to_leak(double extra, uint64_t rate)
{
    return extra > 0 ? (int64_t)(extra * (double)NS_PER_SEC / (double)rate) : 0;
}

static int64_t bucket_delay(const struct throttle_rate *rate, const struct throttle_level *level)
{
    double size = (double)rate->rate / 10;
    int64_t delay;

    if (!rate->rate)
        return 0;
    if (rate->burst)
        size = (double)rate->burst * (double)rate->length;
    delay = time_to_leak(level->level - size, rate->rate);
    if (delay == 0 && rate->length > 1)
        delay = time_to_leak(level->burst_level - (double)rate->burst / 10, rate->burst);
    return delay;
}

int64_t throttle_delay(const struct throttle_limits *limits, const struct throttle_buckets *buckets,
                       bool is_write)
{
    const unsigned own = is_write ? 2 : 1;
    const unsigned all[] = { THROTTLE_BPS_TOTAL, THROTTLE_BPS_TOTAL + own, THROTTLE_IOPS_TOTAL,
                             THROTTLE_IOPS_TOTAL + own };
    int64_t delay = 0;

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        delay = MAX(delay, bucket_delay(&limits->rates[all[i]], &buckets->levels[all[i]]));
    return delay;
}

static void pour(const struct throttle_limits *limits, struct throttle_buckets *buckets, unsigned i,
                 double amount)
{
    buckets->levels[i].level += amount;
    if (limits->rates[i].length > 1)
        buckets->levels[i].burst_level += amount;
}

void throttle_pour(const struct throttle_limits *limits, struct throttle_buckets *buckets,
                   bool is_write, uint64_t bytes)
{
    const unsigned own = is_write ? 2 : 1;
    double operations = 1;

    if (limits->iops_size && bytes > limits->iops_size)
        operations = (double)bytes / (double)limits->iops_size;
    pour(limits, buckets, THROTTLE_BPS_TOTAL, (double)bytes);
    pour(limits, buckets, THROTTLE_BPS_TOTAL + own, (double)bytes);
    pour(limits, buckets, THROTTLE_IOPS_TOTAL, operations);
    pour(limits, buckets, THROTTLE_IOPS_TOTAL + own, operations);
}
