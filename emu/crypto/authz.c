/* Authorization: one identity, or rules. */
#include "emu/crypto/authz.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "emu/base/log.h"
#include "emu/base/str.h"
#include "emu/base/vec.h"

enum { FILE_BYTES_MAX = 4 << 20, RULES_MAX = 100000 };
enum policy { POLICY_DENY, POLICY_ALLOW };
enum format { FORMAT_EXACT, FORMAT_GLOB };

struct rule {
    char *match; /* owned */
    int policy, format;
};

struct rules {
    int policy; /* Of those whom no rule matches. */
    VEC(struct rule) rules;
};

struct authz {
    struct object object;
    char *identity; /* owned; authz-simple. */
    struct rules rules;
    /* authz-list-file. */
    char *filename; /* owned */
    bool refresh;
    struct timespec modified;
    uint64_t inode, size;
};

static struct authz *authz_of(struct object *object)
{
    return container_of(object, struct authz, object);
}

static void rules_fini(struct rules *rules)
{
    for (size_t i = 0; i < vec_len(&rules->rules); i++)
        xfree(vec_at(&rules->rules, i).match);
    vec_fini(&rules->rules);
}

/* '*' stands for any text, '?' for one character. Linear but for the last star, which alone is tried again. */
static bool glob_match(const char *pattern, const char *text)
{
    const char *star = NULL, *again = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            again = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++again;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

static bool rules_allow(const struct rules *rules, const char *identity)
{
    for (size_t i = 0; i < vec_len(&rules->rules); i++) {
        const struct rule *rule = &vec_at(&rules->rules, i);

        if (rule->format == FORMAT_GLOB ? glob_match(rule->match, identity)
                                        : str_eq(rule->match, identity))
            return rule->policy == POLICY_ALLOW;
    }
    return rules->policy == POLICY_ALLOW;
}

/* ---- Reading rules ---- */

static struct err *parse_policy(struct opts *opts, int *policy)
{
    static const char *const names[] = { "deny", "allow" };

    return opts_enum_opt(opts, "policy", names, ARRAY_LEN(names), policy);
}

static struct err *parse_rule(const struct json *json, struct rule *rule)
{
    static const char *const formats[] = { "exact", "glob" };
    CLEANUP(opts_fini) struct opts opts;
    const char *match;

    if (json_type_of(json) != JSON_OBJECT)
        return err_new("Invalid parameter type for 'rules', expected: object");
    opts_init_prefix(&opts, json, "rules.");
    TRY(opts_str(&opts, "match", &match));
    if (!opts_has(&opts, "policy"))
        return err_new("Parameter 'rules.policy' is missing");
    TRY(parse_policy(&opts, &rule->policy));
    TRY(opts_enum_opt(&opts, "format", formats, ARRAY_LEN(formats), &rule->format));
    TRY(opts_check_unused(&opts));
    rule->match = xstrdup(match);
    return NULL;
}

/* out is zeroed and freed by the caller, also after an error. */
static struct err *parse_rules(struct opts *opts, struct rules *out)
{
    const struct json *list = NULL;

    TRY(parse_policy(opts, &out->policy));
    TRY(opts_array_opt(opts, "rules", &list));
    if (!list)
        return NULL;
    if (json_array_len(list) > RULES_MAX)
        return err_new("A list has at most %d rules", RULES_MAX);
    for (size_t i = 0; i < json_array_len(list); i++) {
        struct rule rule = { 0 };

        TRY(parse_rule(json_array_get(list, i), &rule));
        vec_push(&out->rules, rule);
    }
    return NULL;
}

/* Small files only: objects are made, and identities looked at, at once. */
static struct err *read_text(const char *path, struct stat *st, struct str *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct err *err = NULL;
    ssize_t n = 1;

    if (fd < 0)
        return err_new_errno(errno, "Unable to read '%s'", path);
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode) || st->st_size > FILE_BYTES_MAX)
        err = err_new("Unable to read '%s': expected a file of at most %d bytes", path,
                      FILE_BYTES_MAX);
    while (!err && n != 0 && out->len <= FILE_BYTES_MAX) {
        n = read(fd, str_reserve(out, 4096), 4096);
        if (n > 0)
            str_added(out, (size_t)n);
        else if (n < 0 && errno != EINTR)
            err = err_new_errno(errno, "Unable to read '%s'", path);
    }
    close(fd);
    return err;
}

static struct err *load_file(struct authz *authz)
{
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(str_fini) struct str text = { 0 };
    CLEANUP(opts_fini) struct opts opts = { 0 };
    struct rules rules = { 0 };
    struct stat st;
    struct err *err;

    TRY(read_text(authz->filename, &st, &text));
    authz->modified = st.st_mtim;
    authz->inode = st.st_ino;
    authz->size = (uint64_t)st.st_size;
    TRY(json_parse_text(str_cstr(&text), &json));
    if (json_type_of(json) != JSON_OBJECT)
        return err_new("File '%s' must contain a JSON object", authz->filename);
    opts_init(&opts, json);
    err = parse_rules(&opts, &rules);
    if (!err)
        err = opts_check_unused(&opts);
    if (err) {
        rules_fini(&rules);
        return err;
    }
    rules_fini(&authz->rules);
    authz->rules = rules;
    return NULL;
}

/* A file that cannot be read any more, or is wrong, lets nobody in. */
static void refresh(struct authz *authz)
{
    struct stat st;
    struct err *err;

    if (!authz->filename || !authz->refresh)
        return;
    if (stat(authz->filename, &st) == 0 && (uint64_t)st.st_ino == authz->inode &&
        (uint64_t)st.st_size == authz->size && st.st_mtim.tv_sec == authz->modified.tv_sec &&
        st.st_mtim.tv_nsec == authz->modified.tv_nsec)
        return;
    err = load_file(authz);
    if (!err)
        return;
    log_err("authorization list", err);
    rules_fini(&authz->rules);
    authz->rules = (struct rules){ .policy = POLICY_DENY };
}

/* ---- Objects ---- */

static struct err *complete_simple(struct object *object, struct opts *props)
{
    const char *identity;

    TRY(opts_str(props, "identity", &identity));
    authz_of(object)->identity = xstrdup(identity);
    return NULL;
}

static struct err *complete_list(struct object *object, struct opts *props)
{
    return parse_rules(props, &authz_of(object)->rules);
}

static struct err *complete_list_file(struct object *object, struct opts *props)
{
    struct authz *authz = authz_of(object);
    const char *filename;

    authz->refresh = true;
    TRY(opts_str(props, "filename", &filename));
    TRY(opts_bool_opt(props, "refresh", &authz->refresh));
    authz->filename = xstrdup(filename);
    return load_file(authz);
}

static void finalize(struct object *object)
{
    struct authz *authz = authz_of(object);

    xfree(authz->identity);
    xfree(authz->filename);
    rules_fini(&authz->rules);
}

struct err *authz_check(struct objects *objects, const char *id, const char *identity,
                        bool *allowed)
{
    struct object *object = objects_find(objects, id);
    struct authz *authz;

    if (!object)
        return err_new("Cannot find QAuthZ object ID %s", id);
    if (object->type != &authz_simple_type && object->type != &authz_list_type &&
        object->type != &authz_list_file_type)
        return err_new("Object '%s' is not a QAuthZ subclass", id);
    authz = authz_of(object);
    refresh(authz);
    *allowed =
        authz->identity ? str_eq(authz->identity, identity) : rules_allow(&authz->rules, identity);
    return NULL;
}

static const struct object_property simple_properties[] = {
    { "identity", "string" },
    { NULL, NULL },
};
static const struct object_property list_properties[] = {
    { "policy", "QAuthZListPolicy" },
    { "rules", "QAuthZListRule" },
    { NULL, NULL },
};
static const struct object_property list_file_properties[] = {
    { "filename", "string" },
    { "refresh", "bool" },
    { NULL, NULL },
};

const struct object_type authz_simple_type = {
    .name = "authz-simple",
    .properties = simple_properties,
    .size = sizeof(struct authz),
    .complete = complete_simple,
    .finalize = finalize,
};

const struct object_type authz_list_type = {
    .name = "authz-list",
    .properties = list_properties,
    .size = sizeof(struct authz),
    .complete = complete_list,
    .finalize = finalize,
};

const struct object_type authz_list_file_type = {
    .name = "authz-list-file",
    .properties = list_file_properties,
    .size = sizeof(struct authz),
    .complete = complete_list_file,
    .finalize = finalize,
};
