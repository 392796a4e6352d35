/*
 * A whole server with monitors on real sockets and the real monitor thread. The test is the client:
 * it talks through blocking sockets with a deadline, and runs the main reactor only when it wants.
 */
#include "emu/qmp/server.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"
#include "emu/chardev/cmdline.h"
#include "emu/qmp/monitor.h"
#include "emu/qmp/qmp_job.h" // Generated.
#include "emu/qmp/testing/rig.h"
#include "emu/yank/yank.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

#define DEADLINE_SEC 20

struct place {
    struct rig rig; /* Only what rig_commands touch. */
    struct reactor *reactor;
    struct qmp_events *events;
    struct yank *yank;
    struct chardevs *chardevs;
    struct qmp_server *server;
    bool done;
    char path[100];
};

/* ---- The client ---- */

static int dial(const struct place *p)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct timeval deadline = { .tv_sec = DEADLINE_SEC };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", p->path);
    REQUIRE(fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
    return fd;
}

static void say(int fd, const char *text)
{
    REQUIRE_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* The next line; waits for it without running the main reactor. */
static const char *hear(int fd)
{
    static char line[4096];
    size_t n = 0;

    while (n < sizeof(line) - 1) {
        REQUIRE_EQ(read(fd, line + n, 1), 1);
        if (line[n++] == '\n')
            break;
    }
    line[n] = 0;
    return line;
}

/* Runs the main reactor until bytes are there for the client. */
static const char *run_and_hear(struct place *p, int fd)
{
    char c;

    for (int i = 0; i < 100000 && recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0; i++)
        reactor_run_once(p->reactor, NS_PER_MS);
    return hear(fd);
}

static int negotiate(struct place *p, bool oob)
{
    int fd = dial(p);

    EXPECT_CONTAINS(run_and_hear(p, fd), "\"QMP\"");
    say(fd, oob ? "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}"
                : "{'execute':'qmp_capabilities'}");
    EXPECT_STR(run_and_hear(p, fd), "{\"return\": {}}\r\n");
    return fd;
}

/* ---- The server ---- */

static void added(void *arg, struct err *err, struct chardev *chr)
{
    struct place *p = arg;

    EXPECT_OK(err);
    EXPECT_OK(monitor_add(p->server, chr, false));
    p->done = true;
}

static void run_until_done(struct place *p)
{
    for (int i = 0; i < 100000 && !p->done; i++)
        reactor_run_once(p->reactor, NS_PER_MS);
    REQUIRE(p->done);
    p->done = false;
}

static void open_place(struct place *p)
{
    CLEANUP(qapi_free_chardev_add_args) struct qapi_chardev_add_args *args = NULL;
    CLEANUP(str_fini) struct str line = { 0 };

    memset(p, 0, sizeof(*p));
    snprintf(p->path, sizeof(p->path), "%s/qmp", test_tmpdir());
    REQUIRE_OK(reactor_new(REACTOR_AUTO, &p->reactor));
    p->events = qmp_events_new(p->reactor);
    p->yank = yank_new();
    p->chardevs = chardevs_new(p->reactor, p->yank);
    p->server = qmp_server_new(&(struct qmp_server_config){
        .reactor = p->reactor,
        .events = p->events,
        .sets = rig_sets,
        .world = (struct world *)&p->rig,
        .package = "test",
    });
    str_addf(&line, "socket,id=m,path=%s,server=on,wait=off", p->path);
    REQUIRE_OK(chardev_parse(line.data, &args));
    chardev_add(p->chardevs, args->id, args->backend, added, p);
    run_until_done(p);
}

static void shut(void *arg) { ((struct place *)arg)->done = true; }

static void close_place(struct place *p)
{
    qmp_server_shutdown(p->server, shut, p);
    run_until_done(p);
    qmp_server_free(p->server);
    qmp_events_free(p->events);
    chardevs_free(p->chardevs);
    while (reactor_ops_pending(p->reactor))
        reactor_run_once(p->reactor, NS_PER_SEC);
    vec_fini(&p->rig.held);
    yank_free(p->yank);
    reactor_free(p->reactor);
}

/* ---- Tests ---- */

static void answers_out_of_band_while_the_main_reactor_is_busy(void)
{
    struct place p;
    int fd;

    open_place(&p);
    fd = negotiate(&p, true);
    say(fd, "{'execute':'query-version','id':0}");
    EXPECT_CONTAINS(run_and_hear(&p, fd), "\"id\": 0"); /* It is on the thread by now. */
    /* From here on nobody runs the main reactor. */
    for (int i = 0; i < 7; i++)
        say(fd, "{'execute':'query-version','id':'in-band'}");
    say(fd, "{'exec-oob':'query-yank','id':'oob'}");
    EXPECT_STR(hear(fd), "{\"return\": [], \"id\": \"oob\"}\r\n");
    EXPECT_EQ(p.rig.in_band_calls, 1);
    say(fd, "{'exec-oob':'query-version'}");
    EXPECT_CONTAINS(hear(fd), "does not support OOB");
    for (int i = 0; i < 7; i++)
        EXPECT_CONTAINS(run_and_hear(&p, fd), "\"in-band\"");
    close(fd);
    close_place(&p);
}

static void reads_on_after_the_queue_was_full(void)
{
    CLEANUP(str_fini) struct str many = { 0 };
    struct place p;
    int fd;

    open_place(&p);
    fd = negotiate(&p, true);
    for (int i = 0; i < 500; i++)
        str_add(&many, "{'execute':'query-version','id':'x'}");
    say(fd, many.data); /* At once: it fits the socket, which nobody reads meanwhile. */
    say(fd, "{'exec-oob':'query-yank','id':'last'}");
    for (int i = 0; i < 500; i++)
        EXPECT_CONTAINS(run_and_hear(&p, fd), i < 480 ? "\"id\": \"x\"" : "return");
    EXPECT_CONTAINS(run_and_hear(&p, fd), "return");
    EXPECT_EQ(p.rig.in_band_calls, 500);
    close(fd);
    close_place(&p);
}

static void events_reach_clients_on_the_thread(void)
{
    struct qapi_job_status_change_event e = { .id = "j", .status = QAPI_JOB_STATUS_READY };
    struct place p;
    int fd;

    open_place(&p);
    fd = negotiate(&p, true);
    qapi_event_job_status_change(p.events, &e); /* It is moving or has moved. */
    EXPECT_CONTAINS(run_and_hear(&p, fd), "JOB_STATUS_CHANGE");
    qapi_event_job_status_change(p.events, &e);
    EXPECT_CONTAINS(run_and_hear(&p, fd), "JOB_STATUS_CHANGE");
    close(fd);
    close_place(&p);
}

static void serves_the_next_client_with_any_capability(void)
{
    struct place p;

    open_place(&p);
    for (int i = 0; i < 6; i++) {
        int fd = negotiate(&p, i % 2);

        say(fd, "{'execute':'query-version','id':1}");
        EXPECT_CONTAINS(run_and_hear(&p, fd), "\"id\": 1");
        if (i == 2) {
            say(fd, "{'execute':'job-pause','arguments':{'id':'left'}}");
            while (!p.rig.held.len)
                reactor_run_once(p.reactor, NS_PER_MS);
        }
        close(fd);
    }
    rig_release(&p.rig); /* Its client is long gone. */
    close_place(&p);
}

static void a_client_that_does_not_read_stops_nobody(void)
{
    struct qapi_job_status_change_event e = { .id = "a job with a long name, to fill its socket",
                                              .status = QAPI_JOB_STATUS_READY };
    struct place p;
    int slow;

    open_place(&p);
    slow = negotiate(&p, true);
    for (int i = 0; i < 20000; i++) {
        qapi_event_job_status_change(p.events, &e);
        reactor_run_once(p.reactor, 0);
    }
    close(slow); /* And the next is served, though much was never written. */
    close(negotiate(&p, true));
    close_place(&p);
}

static void yank_cuts_a_connection_on_the_thread(void)
{
    struct qapi_yank_instance_list list = { 0 };
    struct place p;
    char c;
    int fd;

    open_place(&p);
    fd = negotiate(&p, true);
    say(fd, "{'execute':'query-version','id':0}");
    EXPECT_CONTAINS(run_and_hear(&p, fd), "\"id\": 0");
    yank_query(p.yank, &list);
    EXPECT_OK(yank_run(p.yank, &list));
    qapi_yank_instance_list_fini(&list);
    EXPECT_LE(recv(fd, &c, 1, 0), 0);
    close(fd);
    close(negotiate(&p, false));
    close_place(&p);
}

static void refuses_monitors_that_cannot_be(void)
{
    CLEANUP(qapi_free_monitor_options)
    struct qapi_monitor_options *none = NULL, *hmp = NULL, *used = NULL, *bad = NULL;
    struct place p;

    open_place(&p);
    REQUIRE_OK(monitor_parse("nope", &none));
    EXPECT_ERR(monitor_add_from_opts(p.server, p.chardevs, none), "chardev \"nope\" not found");
    REQUIRE_OK(monitor_parse("m,mode=readline", &hmp));
    EXPECT_ERR(monitor_add_from_opts(p.server, p.chardevs, hmp), "Only QMP is supported");
    REQUIRE_OK(monitor_parse("{'chardev':'m','mode':'control','pretty':true}", &used));
    EXPECT_ERR(monitor_add_from_opts(p.server, p.chardevs, used), "Device 'm' is in use");
    EXPECT_ERR(monitor_parse("m,mode=foo", &bad), "Parameter 'mode' does not accept value 'foo'");
    EXPECT_ERR(monitor_parse("m,pretty=maybe", &bad), "Parameter 'pretty' expects 'on' or 'off'");
    EXPECT_ERR(monitor_parse("mode=control", &bad), "Parameter 'chardev' is missing");
    EXPECT_ERR(monitor_parse("m,foo=1", &bad), "Parameter 'foo' is unexpected");
    close_place(&p);
}

TEST_LIST(TEST(answers_out_of_band_while_the_main_reactor_is_busy),
          TEST(reads_on_after_the_queue_was_full), TEST(events_reach_clients_on_the_thread),
          TEST(serves_the_next_client_with_any_capability),
          TEST(a_client_that_does_not_read_stops_nobody),
          TEST(yank_cuts_a_connection_on_the_thread), TEST(refuses_monitors_that_cannot_be));
