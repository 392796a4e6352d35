/* Reading the descriptor: lines of KEY=VALUE, and of extents. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/storage/drivers/vmdk/vmdk.h"

enum { LINE_MAX_LEN = 2048, EXTENTS_MAX = 4096 };

void vmdk_descriptor_fini(struct vmdk_descriptor *d) { vec_fini(&d->extents); }

/* The value of a line 'key=value' or 'key="value"' anywhere in text. */
static bool find_value(const char *text, const char *key, char *out, size_t cap)
{
    size_t len = strlen(key), n = 0;

    for (const char *at = text; (at = strstr(at, key)); at += len) {
        const char *end;

        if ((at != text && at[-1] != '\n') || at[len] != '=')
            continue;
        at += len + 1;
        end = at + strcspn(at, "\r\n");
        if (*at == '"') {
            at++;
            end = at + strcspn(at, "\"\r\n");
        }
        n = (size_t)(end - at);
        if (n >= cap)
            return false;
        memcpy(out, at, n);
        out[n] = '\0';
        return true;
    }
    return false;
}

static uint32_t find_cid(const char *text, const char *key)
{
    char value[32];

    return find_value(text, key, value, sizeof(value)) ? (uint32_t)strtoul(value, NULL, 16)
                                                       : VMDK_NO_CID;
}

static bool known_type(const char *type)
{
    static const char *const types[] = {
        "FLAT", "SPARSE", "ZERO", "VMFS", "VMFSSPARSE", "SESPARSE"
    };

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (strcmp(type, types[i]) == 0)
            return true;
    }
    return false;
}

/*
 * 'RW 4192256 SPARSE "name.vmdk"', or with a sector number behind a FLAT file's name. Lines of other kinds are not of
 * interest: *taken is false.
 */
static struct err *parse_extent(const char *line, struct vmdk_extent_line *x, bool *taken)
{
    char access[11], type[11];
    long long sectors = 0, offset = -1;
    int n;

    memset(x, 0, sizeof(*x));
    *taken = false;
    n = sscanf(line, "%10s %lld %10s \"%511[^\n\r\"]\" %lld", access, &sectors, type, x->name,
               &offset);
    if (n < 4 || strcmp(access, "RW") != 0)
        return NULL;
    if (strcmp(type, "FLAT") == 0 ? n != 5 || offset < 0
                                  : n != 4 && !(strcmp(type, "VMFS") == 0 && n == 4))
        return err_new("Invalid extent line: %s", line);
    if (sectors <= 0)
        return NULL;
    if (!known_type(type) || strcmp(type, "ZERO") == 0)
        return err_new("Invalid extent line: %s", line);
    if (sectors > INT64_MAX / VMDK_SECTOR || offset > INT64_MAX / VMDK_SECTOR / 2)
        return err_new("Invalid extent line: %s", line);
    x->sectors = (uint64_t)sectors;
    x->offset = n == 5 ? (uint64_t)offset : 0;
    memcpy(x->type, type, sizeof(type));
    *taken = true;
    return NULL;
}

static struct err *parse_extents(const char *text, struct vmdk_descriptor *d)
{
    char line[LINE_MAX_LEN];

    while (*text) {
        size_t len = strcspn(text, "\r\n");
        struct vmdk_extent_line x;
        bool taken;

        if (len < sizeof(line)) {
            memcpy(line, text, len);
            line[len] = '\0';
            TRY(parse_extent(line, &x, &taken));
            if (taken && d->extents.len == EXTENTS_MAX)
                return err_new("VMDK descriptor has more than %d extents", EXTENTS_MAX);
            if (taken)
                vec_push(&d->extents, x);
        }
        text += len + (text[len] != '\0');
    }
    return NULL;
}

struct err *vmdk_descriptor_parse(const char *text, bool with_extents, struct vmdk_descriptor *out)
{
    static const char *const types[] = { "monolithicFlat",       "vmfs",
                                         "vmfsSparse",           "seSparse",
                                         "twoGbMaxExtentSparse", "twoGbMaxExtentFlat" };
    bool have_type = find_value(text, "createType", out->create_type, sizeof(out->create_type));

    out->cid = find_cid(text, "CID");
    out->parent_cid = find_cid(text, "parentCID");
    if (out->parent_cid == VMDK_NO_CID ||
        !find_value(text, "parentFileNameHint", out->parent_hint, sizeof(out->parent_hint)))
        out->parent_hint[0] = '\0';
    if (!with_extents)
        return NULL;
    if (!have_type)
        return err_new("invalid VMDK image descriptor");
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (strcmp(out->create_type, types[i]) == 0)
            return parse_extents(text, out);
    }
    return err_new("Unsupported image type '%s'", out->create_type);
}
