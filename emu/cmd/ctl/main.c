/* emuctl: a person's client for QMP servers. */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_write.h"
#include "emu/base/log.h"
#include "emu/base/str.h"
#include "emu/cmd/common/version.h"
#include "emu/cmd/ctl/arguments.h"
#include "emu/cmd/ctl/jobs.h"

static const char help[] =
    "emuctl: talk to an emu daemon or machine\n\n"
    "usage: emuctl SOCK COMMAND [key=value ...]   run a QMP command, print what it returns\n"
    "       emuctl SOCK '{\"execute\": ...}'        send a request as it is\n"
    "       emuctl SOCK jobs [--watch]            list the jobs; --watch follows them with bars, rate and ETA\n"
    "                                             until none is working (mirrors: until they are ready)\n"
    "       emuctl SOCK events                    print events until interrupted\n"
    "       emuctl --help | --version\n\n"
    "SOCK is the path of a unix socket, or host:port. Values take the type that the server's schema asks\n"
    "for (size=1G is a number where a number is expected); dots nest (addr.type=unix); key:=JSON gives a\n"
    "value as it is. Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n\n"
    "examples:\n"
    "  emuctl /run/d.sock blockdev-add driver=file node-name=f filename=disk.img\n"
    "  emuctl /run/d.sock blockdev-mirror job-id=m device=disk target=copy sync=full\n"
    "  emuctl /run/d.sock jobs --watch\n";

static void print_value(const struct json *value)
{
    char *text;

    if (json_type_of(value) == JSON_OBJECT && json_object_size(value) == 0)
        return; /* A command that returns nothing prints nothing. */
    if (json_as_str(value)) {
        printf("%s\n", json_as_str(value));
        return;
    }
    text = json_to_text(value, JSON_PRETTY);
    printf("%s\n", text);
    xfree(text);
}

static struct err *run_raw(struct client *client, const char *text)
{
    CLEANUP(json_free) struct json *request = NULL;
    CLEANUP(json_free) struct json *reply = NULL;

    TRY(json_parse_text(text, &request));
    TRY(client_raw(client, request, &reply));
    print_value(reply);
    return json_object_has(reply, "error") ? err_new("the request was refused") : NULL;
}

static struct err *run_command(struct client *client, int argc, char **argv)
{
    CLEANUP(json_free) struct json *arguments = NULL;
    CLEANUP(json_free) struct json *value = NULL;

    TRY(arguments_build(client, argv[0], argc - 1, argv + 1, &arguments));
    TRY(client_call(client, argv[0], arguments, &value));
    print_value(value);
    return NULL;
}

static void print_event(void *arg, const struct json *event)
{
    char *text = json_to_text(event, JSON_COMPACT);

    (void)arg;
    printf("%s\n", text);
    fflush(stdout);
    xfree(text);
}

static struct err *run_events(struct client *client)
{
    client->on_event = print_event;
    for (;;)
        TRY(client_run_for(client, INT64_C(1000000000)));
}

static struct err *run(struct client *client, int argc, char **argv, bool *failed)
{
    if (argv[0][0] == '{')
        return run_raw(client, argv[0]);
    if (strcmp(argv[0], "events") == 0)
        return run_events(client);
    if (strcmp(argv[0], "jobs") != 0)
        return run_command(client, argc, argv);
    if (argc == 1)
        return jobs_print(client);
    if (strcmp(argv[1], "--watch") == 0 || strcmp(argv[1], "-w") == 0)
        return jobs_watch(client, failed);
    return err_new("jobs: unknown option '%s'", argv[1]);
}

int main(int argc, char **argv)
{
    struct client client = { 0 };
    bool failed = false;
    struct err *err;

    log_set_prefix("emuctl");
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("%s", help);
        return 0;
    }
    if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
        version_print("emuctl");
        return 0;
    }
    if (argc < 3) {
        fprintf(stderr, "%s", help);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    err = client_open(&client, argv[1]);
    if (!err)
        err = run(&client, argc - 2, argv + 2, &failed);
    client_close(&client);
    if (err) {
        fprintf(stderr, "emuctl: %s\n", err_text(err));
        err_free(err);
        return 1;
    }
    return failed ? 1 : 0;
}
