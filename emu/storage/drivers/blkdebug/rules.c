#include "emu/storage/drivers/blkdebug/rules.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"

static const char *const events[] = {
    "l1_update",
    "l1_grow_alloc_table",
    "l1_grow_write_table",
    "l1_grow_activate_table",
    "l2_load",
    "l2_update",
    "l2_update_compressed",
    "l2_alloc_cow_read",
    "l2_alloc_write",
    "read_aio",
    "read_backing_aio",
    "read_compressed",
    "write_aio",
    "write_compressed",
    "vmstate_load",
    "vmstate_save",
    "cow_read",
    "cow_write",
    "reftable_load",
    "reftable_grow",
    "reftable_update",
    "refblock_load",
    "refblock_update",
    "refblock_update_part",
    "refblock_alloc",
    "refblock_alloc_hookup",
    "refblock_alloc_write",
    "refblock_alloc_write_blocks",
    "refblock_alloc_write_table",
    "refblock_alloc_switch_table",
    "cluster_alloc",
    "cluster_alloc_bytes",
    "cluster_free",
    "flush_to_os",
    "flush_to_disk",
    "pwritev_rmw_head",
    "pwritev_rmw_after_head",
    "pwritev_rmw_tail",
    "pwritev_rmw_after_tail",
    "pwritev",
    "pwritev_zero",
    "pwritev_done",
    "empty_image_prepare",
    "l1_shrink_write_table",
    "l1_shrink_free_l2_clusters",
    "cor_write",
    "cluster_alloc_space",
    "none",
};

static const char *const io_types[] = { "read",    "write", "write-zeroes",
                                        "discard", "flush", "block-status" };
static const enum req_kind io_kinds[] = { REQ_READ,    REQ_WRITE, REQ_ZERO,
                                          REQ_DISCARD, REQ_FLUSH, REQ_STATUS };

enum { SECTOR_BYTES = 512, ANY_STATE = 0, FIRST_STATE = 1 };

enum action { INJECT_ERROR, SET_STATE, SUSPEND, ACTION_COUNT };

struct rule {
    struct list link;
    enum action action;
    const char *event; /* In events. */
    uint64_t state;
    bool armed; /* INJECT_ERROR: acts on requests now. */
    /* INJECT_ERROR */
    uint32_t kinds; /* Bits 1 << enum req_kind. */
    int error;
    bool once, anywhere;
    uint64_t offset; /* Unless anywhere. */
    /* SET_STATE */
    uint64_t new_state;
    /* SUSPEND */
    char *tag; /* Owned. */
};

static void rule_free(struct rule *rule)
{
    list_del(&rule->link);
    xfree(rule->tag);
    xfree(rule);
}

void blkdebug_rules_init(struct blkdebug_rules *rules)
{
    memset(rules, 0, sizeof(*rules));
    list_init(&rules->rules);
    rules->state = FIRST_STATE;
}

void blkdebug_rules_fini(struct blkdebug_rules *rules)
{
    if (!rules->rules.next)
        return;
    list_for_each_safe(rule, &rules->rules, struct rule, link)
        rule_free(rule);
    xfree(rules->pending);
    rules->pending = NULL;
}

static const char *find_event(const char *name)
{
    const int i = str_index(name, events, ARRAY_LEN(events));

    return i < 0 ? NULL : events[i];
}

/* ---- Reading rules ---- */

static struct err *read_inject(struct opts *opts, struct rule *rule)
{
    int64_t error = EIO, sector = -1;
    bool immediately = false;
    const char *type = NULL;
    int kind;

    TRY(opts_i64_opt(opts, "errno", &error));
    TRY(opts_i64_opt(opts, "sector", &sector));
    TRY(opts_bool_opt(opts, "once", &rule->once));
    TRY(opts_bool_opt(opts, "immediately", &immediately)); /* Here errors always come at once. */
    TRY(opts_str_opt(opts, "iotype", &type));
    if (error < 0 || error > 4095)
        return err_new("invalid errno %lld in a rule, expected 0 to 4095", (long long)error);
    rule->error = (int)error;
    rule->anywhere = sector < 0;
    rule->offset = rule->anywhere ? 0 : (uint64_t)sector * SECTOR_BYTES;
    for (size_t i = 0; i < ARRAY_LEN(io_kinds); i++)
        if (io_kinds[i] != REQ_STATUS)
            rule->kinds |= 1u << io_kinds[i];
    if (!type)
        return NULL;
    kind = str_index(type, io_types, ARRAY_LEN(io_types));
    if (kind < 0)
        return err_new("invalid parameter value: %s", type);
    rule->kinds = 1u << io_kinds[kind];
    return NULL;
}

static struct err *read_rule(enum action action, const struct json *object, struct rule *rule)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };
    const char *event = NULL;

    opts_init(&opts, object);
    TRY(opts_str_opt(&opts, "event", &event));
    if (!event)
        return err_new("Missing event name for rule");
    rule->action = action;
    rule->event = find_event(event);
    if (!rule->event)
        return err_new("invalid parameter value: %s", event);
    TRY(opts_u64_opt(&opts, "state", &rule->state));
    if (action == INJECT_ERROR)
        TRY(read_inject(&opts, rule));
    else
        TRY(opts_u64_opt(&opts, "new_state", &rule->new_state));
    if (opts_unused(&opts))
        return err_new("[%s] section doesn't support the option '%s'",
                       action == INJECT_ERROR ? "inject-error" : "set-state", opts_unused(&opts));
    return NULL;
}

static struct err *add_rule(struct blkdebug_rules *rules, enum action action,
                            const struct json *object)
{
    struct rule *rule = NEW(struct rule);
    struct err *err;

    list_add_tail(&rules->rules, &rule->link);
    err = read_rule(action, object, rule);
    if (err)
        rule_free(rule);
    return err;
}

static struct err *add_rules(struct blkdebug_rules *rules, enum action action,
                             const struct json *array)
{
    for (size_t i = 0; array && i < json_array_len(array); i++) {
        if (json_type_of(json_array_get(array, i)) != JSON_OBJECT)
            return err_new("rule %zu is no object", i);
        TRY(add_rule(rules, action, json_array_get(array, i)));
    }
    return NULL;
}

struct err *blkdebug_rules_from_options(struct blkdebug_rules *rules, struct opts *opts)
{
    const struct json *inject = NULL, *set = NULL;

    TRY(opts_array_opt(opts, "inject-error", &inject));
    TRY(opts_array_opt(opts, "set-state", &set));
    TRY(add_rules(rules, INJECT_ERROR, inject));
    return add_rules(rules, SET_STATE, set);
}

/* One line of a file: a section's name, key = "value", or nothing. */
static struct err *config_line(const char *line, char **section, struct json *values, bool *ended)
{
    const size_t key = strcspn(line, " \t=");
    const char *rest = line + key, *end;

    rest += strspn(rest, " \t");
    *ended = *line == '[';
    if (*line == '[') {
        xfree(*section);
        *section = xstrndup(line + 1, strcspn(line + 1, " ]"));
        if (!str_eq(*section, "inject-error") && !str_eq(*section, "set-state"))
            return err_new("There is no option group '%s'", *section);
        return NULL;
    }
    if (!*line || *line == '#')
        return NULL;
    if (*rest != '=')
        return err_new("cannot read the line '%s'", line);
    rest += 1 + strspn(rest + 1, " \t");
    end = *rest == '"' ? strchr(rest + 1, '"') : NULL;
    if (!end)
        return err_new("the value in the line '%s' is not in quotes", line);
    if (!*section)
        return err_new("no group defined");
    char *name = xstrndup(line, key);

    json_object_set(values, name, json_strn(rest + 1, (size_t)(end - rest) - 1));
    xfree(name);
    return NULL;
}

static struct err *end_section(struct blkdebug_rules *rules, const char *section,
                               struct json **values)
{
    struct err *err = NULL;

    if (section)
        err = add_rule(rules, str_eq(section, "inject-error") ? INJECT_ERROR : SET_STATE, *values);
    json_free(*values);
    *values = json_object();
    return err;
}

struct err *blkdebug_rules_from_text(struct blkdebug_rules *rules, const char *text)
{
    CLEANUP(xfree) char *copy = xstrdup(text);
    CLEANUP(xfree) char *section = NULL;
    CLEANUP(json_free) struct json *values = json_object();
    char *rest = copy, *line;
    struct err *err;
    bool new_section;

    while ((line = strsep(&rest, "\n"))) {
        line += strspn(line, " \t\r");
        if (*line == '[') {
            err = end_section(rules, section, &values);
            if (err)
                return err;
        }
        TRY(config_line(line, &section, values, &new_section));
    }
    return end_section(rules, section, &values);
}

/* ---- Breakpoints ---- */

int blkdebug_rules_break(struct blkdebug_rules *rules, const char *event, const char *tag)
{
    const char *known = find_event(event);
    struct rule *rule;

    if (!known)
        return -ENOENT;
    rule = NEW(struct rule);
    rule->action = SUSPEND;
    rule->event = known;
    rule->tag = xstrdup(tag);
    list_add_tail(&rules->rules, &rule->link);
    return 0;
}

bool blkdebug_rules_unbreak(struct blkdebug_rules *rules, const char *tag)
{
    bool found = false;

    list_for_each_safe(rule, &rules->rules, struct rule, link) {
        if (rule->action == SUSPEND && str_eq(rule->tag, tag)) {
            rule_free(rule);
            found = true;
        }
    }
    return found;
}

/* ---- Acting ---- */

static void arm(struct blkdebug_rules *rules, struct rule *rule, bool first)
{
    if (first) {
        list_for_each(other, &rules->rules, struct rule, link)
            other->armed = false;
    }
    rule->armed = rules->armed = true;
}

void blkdebug_rules_event(struct blkdebug_rules *rules, const char *event)
{
    uint64_t new_state = rules->state;
    bool first = true;

    list_for_each_safe(rule, &rules->rules, struct rule, link) {
        if (!str_eq(rule->event, event) ||
            (rule->state != ANY_STATE && rule->state != rules->state))
            continue;
        switch (rule->action) {
        case INJECT_ERROR:
            arm(rules, rule, first);
            first = false;
            break;
        case SET_STATE: new_state = rule->new_state; break;
        case SUSPEND:
            xfree(rules->pending);
            rules->pending = rule->tag;
            rule->tag = NULL;
            rule_free(rule);
            break;
        case ACTION_COUNT: break;
        }
    }
    rules->state = new_state;
}

void blkdebug_rules_start(struct blkdebug_rules *rules) { blkdebug_rules_event(rules, "none"); }

static bool applies(const struct rule *rule, const struct req *req)
{
    if (rule->action != INJECT_ERROR || !rule->armed || !(rule->kinds & 1u << req->kind))
        return false;
    return rule->anywhere || (rule->offset >= req->offset && rule->offset - req->offset < req->len);
}

int blkdebug_rules_check(struct blkdebug_rules *rules, const struct req *req)
{
    int error;

    if (!rules->armed)
        return 0;
    list_for_each_safe(rule, &rules->rules, struct rule, link) {
        if (!applies(rule, req))
            continue;
        error = rule->error;
        if (rule->once)
            rule_free(rule);
        return -error;
    }
    return 0;
}
