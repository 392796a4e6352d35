/* info block, blockstats and block-jobs. */
#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/qmp/handlers/hmp.h"

static bool flag_of(const struct json *object, const char *name)
{
    bool on = false;

    return json_as_bool(json_object_get(object, name), &on) && on;
}

static int64_t number_of(const struct json *object, const char *name)
{
    int64_t number;

    return json_as_int64(json_object_get(object, name), &number) ? number : 0;
}

/* ---- info block ---- */

static void print_limits(struct hmp_call *call, const struct json *inserted)
{
    static const char *const names[] = { "bps",         "bps_rd",     "bps_wr",      "bps_max",
                                         "bps_rd_max",  "bps_wr_max", "iops",        "iops_rd",
                                         "iops_wr",     "iops_max",   "iops_rd_max", "iops_wr_max",
                                         "iops_size" };
    bool any = false;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        any |= number_of(inserted, names[i]) != 0;
    if (!any)
        return;
    hmp_print(call, "    I/O throttling:  ");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        hmp_print(call, " %s=%" PRId64, names[i], number_of(inserted, names[i]));
    hmp_print(call, " group=%s\n", json_object_get_str(inserted, "group"));
}

static void print_device(struct hmp_call *call, const struct json *info)
{
    if (!info)
        return;
    if (json_object_get_str(info, "qdev"))
        hmp_print(call, "    Attached to:      %s\n", json_object_get_str(info, "qdev"));
    if (json_object_has(info, "io-status") && !str_eq(json_object_get_str(info, "io-status"), "ok"))
        hmp_print(call, "    I/O status:       %s\n", json_object_get_str(info, "io-status"));
    if (flag_of(info, "removable"))
        hmp_print(call, "    Removable device: %slocked, tray %s\n",
                  flag_of(info, "locked") ? "" : "not ",
                  flag_of(info, "tray_open") ? "open" : "closed");
}

static void print_disk(struct hmp_call *call, const struct json *inserted)
{
    const struct json *cache = json_object_get(inserted, "cache");
    const char *detect = json_object_get_str(inserted, "detect_zeroes");

    hmp_print(call, "    Cache mode:       %s%s%s\n",
              flag_of(cache, "writeback") ? "writeback" : "writethrough",
              flag_of(cache, "direct") ? ", direct" : "",
              flag_of(cache, "no-flush") ? ", ignore flushes" : "");
    if (json_object_get_str(inserted, "backing_file"))
        hmp_print(call, "    Backing file:     %s (chain depth: %" PRId64 ")\n",
                  json_object_get_str(inserted, "backing_file"),
                  number_of(inserted, "backing_file_depth"));
    if (detect && !str_eq(detect, "off"))
        hmp_print(call, "    Detect zeroes:    %s\n", detect);
    print_limits(call, inserted);
}

/* info: of a device, or NULL; inserted: of its disk or of a node, or NULL. */
static void print_block(struct hmp_call *call, const struct json *info, const struct json *inserted)
{
    const char *device = info ? json_object_get_str(info, "device") : NULL;
    const char *node = inserted ? json_object_get_str(inserted, "node-name") : NULL;

    if (device && *device) {
        hmp_print(call, "%s", device);
        if (node)
            hmp_print(call, " (%s)", node);
    } else {
        hmp_print(call, "%s",
                  node                                        ? node
                  : info && json_object_get_str(info, "qdev") ? json_object_get_str(info, "qdev")
                                                              : "<anonymous>");
    }
    if (inserted)
        hmp_print(call, ": %s (%s%s%s)\n", json_object_get_str(inserted, "file"),
                  json_object_get_str(inserted, "drv"),
                  flag_of(inserted, "ro") ? ", read-only" : "",
                  flag_of(inserted, "encrypted") ? ", encrypted" : "");
    else
        hmp_print(call, ": [not inserted]\n");
    print_device(call, info);
    if (inserted)
        print_disk(call, inserted);
}

static void nodes_known(struct hmp_call *call, struct json *ret)
{
    const char *wanted = hmp_word(call, "device");

    for (size_t i = 0; i < json_array_len(ret); i++) {
        const struct json *node = json_array_get(ret, i);

        if (wanted && !str_eq(json_object_get_str(node, "node-name"), wanted))
            continue;
        if (i || (!wanted && call->out.len))
            hmp_print(call, "\n");
        print_block(call, NULL, node);
    }
    hmp_end(call);
}

static void devices_known(struct hmp_call *call, struct json *ret)
{
    const char *wanted = hmp_word(call, "device");
    bool printed = false;

    for (size_t i = 0; i < json_array_len(ret); i++) {
        const struct json *info = json_array_get(ret, i);

        if (wanted && !str_eq(json_object_get_str(info, "device"), wanted))
            continue;
        if (i)
            hmp_print(call, "\n");
        print_block(call, info, json_object_get(info, "inserted"));
        printed = true;
    }
    if ((wanted && !printed) || hmp_flag(call, "nodes"))
        hmp_qmp(call, "query-named-block-nodes", NULL, nodes_known);
    else
        hmp_end(call);
}

static void info_block(struct hmp_call *call) { hmp_qmp(call, "query-block", NULL, devices_known); }

/* ---- info blockstats ---- */

static void stats_known(struct hmp_call *call, struct json *ret)
{
    static const char *const names[] = {
        "rd_bytes",          "wr_bytes",          "rd_operations",       "wr_operations",
        "flush_operations",  "wr_total_time_ns",  "rd_total_time_ns",    "flush_total_time_ns",
        "rd_merged",         "wr_merged",         "idle_time_ns",
    };

    for (size_t i = 0; i < json_array_len(ret); i++) {
        const struct json *one = json_array_get(ret, i);
        const struct json *stats = json_object_get(one, "stats");

        if (!json_object_get_str(one, "device"))
            continue;
        hmp_print(call, "%s:", json_object_get_str(one, "device"));
        for (size_t n = 0; n < ARRAY_LEN(names); n++)
            hmp_print(call, " %s=%" PRId64, names[n], number_of(stats, names[n]));
        hmp_print(call, "\n");
    }
    hmp_end(call);
}

static void info_blockstats(struct hmp_call *call)
{
    hmp_qmp(call, "query-blockstats", NULL, stats_known);
}

/* ---- info block-jobs ---- */

static void jobs_known(struct hmp_call *call, struct json *ret)
{
    if (!json_array_len(ret))
        hmp_print(call, "No active jobs\n");
    for (size_t i = 0; i < json_array_len(ret); i++) {
        const struct json *job = json_array_get(ret, i);
        const char *type = json_object_get_str(job, "type");

        if (str_eq(type, "stream"))
            hmp_print(call,
                      "Streaming device %s: Completed %" PRId64 " of %" PRId64
                      " bytes, speed limit %" PRId64 " bytes/s\n",
                      json_object_get_str(job, "device"), number_of(job, "offset"),
                      number_of(job, "len"), number_of(job, "speed"));
        else
            hmp_print(call,
                      "Type %s, device %s: Completed %" PRId64 " of %" PRId64
                      " bytes, speed limit %" PRId64 " bytes/s\n",
                      type, json_object_get_str(job, "device"), number_of(job, "offset"),
                      number_of(job, "len"), number_of(job, "speed"));
    }
    hmp_end(call);
}

static void info_block_jobs(struct hmp_call *call)
{
    hmp_qmp(call, "query-block-jobs", NULL, jobs_known);
}

const struct hmp_command hmp_block_info[] = {
    { "block", "nodes:-n,verbose:-v,device:s?", "[-n] [-v] [device]",
      "show info of one block device or all block devices (-n: show named nodes; -v: show details)",
      info_block },
    { "blockstats", "", "", "show block device statistics", info_blockstats },
    { "block-jobs", "", "", "show progress of ongoing block device operations", info_block_jobs },
    { 0 },
};
