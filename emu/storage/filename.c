/*
 * File names as the tools see them: plain paths, "json:{...}", "nbd:..." and URIs, and
 * "driver:rest" for protocols.
 */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "emu/storage/open.h"

/* The part of name before ':' when it looks like a protocol, as length; else 0. */
static size_t protocol_len(const char *name)
{
    size_t colon = strcspn(name, ":");

    if (!name[colon] || memchr(name, '/', colon))
        return 0;
    return colon;
}

static struct err *unescape(const char *text, size_t len, char **out)
{
    struct str s = { 0 };

    for (size_t i = 0; i < len; i++) {
        unsigned value = 0;

        if (text[i] != '%') {
            str_addc(&s, text[i]);
            continue;
        }
        for (int k = 1; k <= 2; k++) {
            char c = i + (size_t)k < len ? text[i + (size_t)k] : 0;

            value <<= 4;
            if (c >= '0' && c <= '9')
                value |= (unsigned)(c - '0');
            else if ((c | 32) >= 'a' && (c | 32) <= 'f')
                value |= (unsigned)((c | 32) - 'a' + 10);
            else
                value = 0x10000;
        }
        if (value == 0 || value > 255) {
            str_fini(&s);
            return err_new("Invalid URI");
        }
        str_addc(&s, (char)value);
        i += 2;
    }
    *out = str_steal(&s);
    return NULL;
}

static struct json *server_inet(const char *host, const char *port)
{
    struct json *server = json_object();

    json_object_set_str(server, "type", "inet");
    json_object_set_str(server, "host", host);
    json_object_set_str(server, "port", port);
    return server;
}

static struct json *server_unix(const char *path)
{
    struct json *server = json_object();

    json_object_set_str(server, "type", "unix");
    json_object_set_str(server, "path", path);
    return server;
}

/* "host:port" with brackets around IPv6 numbers; either may be missing. */
static void split_host(const char *text, size_t len, const char *default_port, char **host,
                       char **port)
{
    const char *end = text + len, *host_end = end, *colon = NULL;

    if (len && *text == '[') {
        const char *close = memchr(text, ']', len);

        if (close) {
            *host = xstrndup(text + 1, (size_t)(close - text) - 1);
            *port = close + 1 < end && close[1] == ':' && close + 2 < end
                        ? xstrndup(close + 2, (size_t)(end - close) - 2)
                        : xstrdup(default_port);
            return;
        }
    }
    for (const char *c = text; c < end; c++)
        if (*c == ':')
            colon = c;
    if (colon)
        host_end = colon;
    *host = host_end > text ? xstrndup(text, (size_t)(host_end - text)) : xstrdup("localhost");
    *port = colon && colon + 1 < end ? xstrndup(colon + 1, (size_t)(end - colon) - 1)
                                     : xstrdup(default_port);
}

/* nbd://host:port/export, nbd+tcp://, nbd+unix:///export?socket=path */
static struct err *parse_nbd_uri(const char *uri, struct json *out)
{
    const char *rest = strstr(uri, "://");
    bool is_unix = str_has_prefix(uri, "nbd+unix:");
    size_t authority, path;
    const char *query;
    char *export = NULL;

    if (!rest || !(str_has_prefix(uri, "nbd:") || str_has_prefix(uri, "nbd+tcp:") || is_unix))
        return err_new("Invalid URI");
    rest += 3;
    authority = strcspn(rest, "/?");
    path = strcspn(rest + authority, "?");
    query = rest + authority + path;
    const char *name = rest + authority;
    size_t name_len = path;

    while (name_len && *name == '/') {
        name++;
        name_len--;
    }
    TRY(unescape(name, name_len, &export));
    if (*export)
        json_object_set_str(out, "export", export);
    xfree(export);
    if (is_unix) {
        const char *value = str_after_prefix(query, "?socket=");
        char *socket = NULL;

        if (authority || !value)
            return err_new("Invalid URI");
        TRY(unescape(value, strlen(value), &socket));
        json_object_set(out, "server", server_unix(socket));
        xfree(socket);
        return NULL;
    }
    if (*query)
        return err_new("Invalid URI");
    char *host, *port;

    split_host(rest, authority, "10809", &host, &port);
    json_object_set(out, "server", server_inet(host, port));
    xfree(host);
    xfree(port);
    return NULL;
}

/* nbd:host:port[:exportname=x], nbd:unix:path[:exportname=x] */
static struct err *parse_nbd_old(const char *name, struct json *out)
{
    const char *spec = name + strlen("nbd:");
    const char *export = strstr(spec, ":exportname=");
    size_t len = export ? (size_t)(export - spec) : strlen(spec);
    char *host, *port;

    if (export && export[strlen(":exportname=")])
        json_object_set_str(out, "export", export + strlen(":exportname="));
    if (str_has_prefix(spec, "unix:")) {
        char *path = xstrndup(spec + 5, len - 5);

        json_object_set(out, "server", server_unix(path));
        xfree(path);
        return NULL;
    }
    if (!memchr(spec, ':', len))
        return err_new("host '%s' not found", spec);
    split_host(spec, len, "10809", &host, &port);
    json_object_set(out, "server", server_inet(host, port));
    xfree(host);
    xfree(port);
    return NULL;
}

static struct err *protocol_options(const char *filename, struct json **out);

/* blkdebug:CONFIG:IMAGE; the configuration may be empty. */
static struct err *parse_blkdebug(const char *rest, struct json *out)
{
    const char *colon = strchr(rest, ':');
    struct json *image = NULL;

    if (!colon)
        return err_new("blkdebug requires both config file and image path");
    TRY(protocol_options(colon + 1, &image));
    if (colon > rest)
        json_object_set(out, "config", json_strn(rest, (size_t)(colon - rest)));
    json_object_set(out, "image", image);
    return NULL;
}

/* blkverify:RAW:TEST; the format of the second is probed. */
static struct err *parse_blkverify(const char *rest, struct json *out)
{
    const char *colon = strchr(rest, ':');
    CLEANUP(xfree) char *raw_name = colon ? xstrndup(rest, (size_t)(colon - rest)) : NULL;
    struct json *raw = NULL, *test = NULL;

    if (!colon)
        return err_new("blkverify requires raw copy and original image file path");
    TRY(protocol_options(raw_name, &raw));
    json_object_set(out, "raw", raw);
    TRY(node_options_from_filename(colon + 1, NULL, &test));
    json_object_set(out, "test", test);
    return NULL;
}

/* The options of the protocol alone. */
static struct err *protocol_options(const char *filename, struct json **out)
{
    size_t len = protocol_len(filename);
    struct json *options = json_object();
    struct err *err = NULL;

    if (str_has_prefix(filename, "nbd:") || str_has_prefix(filename, "nbd+")) {
        json_object_set_str(options, "driver", "nbd");
        err = strstr(filename, "://") ? parse_nbd_uri(filename, options)
                                      : parse_nbd_old(filename, options);
    } else if (str_has_prefix(filename, "null-co://") || str_has_prefix(filename, "null-aio://")) {
        char *driver = xstrndup(filename, len);

        json_object_set_str(options, "driver", driver);
        xfree(driver);
    } else if (str_has_prefix(filename, "blkdebug:")) {
        json_object_set_str(options, "driver", "blkdebug");
        err = parse_blkdebug(filename + len + 1, options);
    } else if (str_has_prefix(filename, "blkverify:")) {
        json_object_set_str(options, "driver", "blkverify");
        err = parse_blkverify(filename + len + 1, options);
    } else if (str_has_prefix(filename, "host_device:") ||
               str_has_prefix(filename, "host_cdrom:")) {
        json_object_set(options, "driver", json_strn(filename, len));
        json_object_set_str(options, "filename", filename + len + 1);
    } else if (str_has_prefix(filename, "file:") || !len) {
        const char *path = len ? filename + len + 1 : filename;
        /* A path with a colon must not be taken for a protocol when it is read again. */
        char *plain = protocol_len(path) ? xasprintf("./%s", path) : xstrdup(path);

        /* What is in /dev is looked at when it is opened: a disk, or a file after all. */
        if (!str_has_prefix(path, "/dev/"))
            json_object_set_str(options, "driver", "file");
        json_object_set_str(options, "filename", plain);
        xfree(plain);
    } else {
        err = err_new("Unknown protocol '%.*s'", (int)len, filename);
    }
    if (err) {
        json_free(options);
        options = NULL;
    }
    *out = options;
    return err;
}

/* Both {"file": {"filename": ...}} and {"file.filename": ...} are in use, at any depth. */
static bool has_dotted_key(const struct json *value)
{
    const char *key;
    struct json *inner;

    if (json_type_of(value) != JSON_OBJECT)
        return false;
    json_object_for_each(value, i, key, inner) {
        if (strchr(key, '.') || has_dotted_key(inner))
            return true;
    }
    return false;
}

static struct err *json_options(const char *text, const char *format, struct json **out)
{
    struct json *parsed = NULL, *nested = NULL;
    struct err *err = json_parse_text(text, &parsed);

    if (!err && json_type_of(parsed) != JSON_OBJECT)
        err = err_new("Invalid JSON object given");
    if (err) {
        json_free(parsed);
        return err_prefix(err, "Could not parse the JSON options: ");
    }
    if (has_dotted_key(parsed)) {
        CLEANUP(json_free) struct json *flat = keyval_flatten(parsed);

        json_free(parsed);
        TRY(keyval_nest(flat, &nested));
    } else {
        nested = parsed;
    }
    if (format && !json_object_has(nested, "driver"))
        json_object_set_str(nested, "driver", format);
    *out = nested;
    return NULL;
}

static bool is_file_driver(const char *name)
{
    return str_eq(name, "file") || str_eq(name, "host_device") || str_eq(name, "host_cdrom");
}

struct err *node_options_from_filename(const char *filename, const char *format, struct json **out)
{
    const char *rest = str_after_prefix(filename, "json:");
    struct json *protocol, *options;
    const char *implied;

    if (rest)
        return json_options(rest, format, out);
    if (!format && (rest = str_after_prefix(filename, "raw:"))) {
        format = "raw";
        filename = rest;
    }
    TRY(protocol_options(filename, &protocol));
    /* The caller wants the protocol itself. */
    implied = json_object_get_str(protocol, "driver");
    if (format && (str_eq(format, implied) || (!implied && is_file_driver(format)))) {
        json_object_set_str(protocol, "driver", format);
        *out = protocol;
        return NULL;
    }
    options = json_object();
    if (format)
        json_object_set_str(options, "driver", format);
    json_object_set(options, "file", protocol);
    *out = options;
    return NULL;
}

char *filename_resolve(const char *image, const char *backing)
{
    const char *slash = strrchr(image, '/');

    if (*backing == '/' || protocol_len(backing) || !slash || protocol_len(image))
        return xstrdup(backing);
    return xasprintf("%.*s%s", (int)(slash - image) + 1, image, backing);
}
