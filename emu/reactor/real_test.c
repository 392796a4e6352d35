/*
 * What only real reactors have: other threads, signals, descriptors, pipes and terminals. Each test
 * runs on both bodies.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "emu/base/nstime.h"
#include "emu/reactor/conformance_testing.h"
#include "tests/harness/expect_err.h"

static const enum reactor_kind kinds[] = { REACTOR_URING, REACTOR_EPOLL };

static void make(struct conf *c, enum reactor_kind kind)
{
    *c = (struct conf){ .dir = test_tmpdir() };
    REQUIRE_OK(reactor_new(kind, &c->r));
    test_note("on %s", reactor_kind_name(c->r));
}

void conf_make(struct conf *c) { make(c, REACTOR_AUTO); }

void conf_drop(struct conf *c)
{
    EXPECT_EQ(reactor_ops_pending(c->r), 0);
    reactor_free(c->r);
}

/* Whether io_uring is there; a kernel without it has but one body to test. */
static bool have(enum reactor_kind kind)
{
    struct reactor *r;
    struct err *err = reactor_new(kind, &r);

    err_free(err);
    reactor_free(r);
    return !err;
}

#define FOR_EACH_BODY(c)                                                                           \
    for (size_t body_ = 0; body_ < ARRAY_LEN(kinds); body_++)                                      \
        if (have(kinds[body_]) && (make(&(c), kinds[body_]), true))

/* ---- Threads ---- */

enum { POSTERS = 4, POSTS = 2000 };

struct poster {
    struct conf *conf;
    pthread_t thread;
    unsigned *got;      /* Home thread only. */
    unsigned sent, last; /* last: home thread only. */
};

struct letter {
    struct poster *from;
    unsigned number;
};

static void receive(void *arg)
{
    struct letter *letter = arg;

    EXPECT(reactor_is_home(letter->from->conf->r));
    EXPECT_EQ(letter->number, letter->from->last + 1); /* In order per thread. */
    letter->from->last = letter->number;
    (*letter->from->got)++;
    free(letter);
}

static void *post_letters(void *arg)
{
    struct poster *poster = arg;

    for (unsigned i = 1; i <= POSTS; i++) {
        struct letter *letter = malloc(sizeof(*letter));

        *letter = (struct letter){ poster, i };
        reactor_post(poster->conf->r, receive, letter);
        if (i % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void gets_posts_of_threads(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct poster posters[POSTERS];
        unsigned got = 0;

        for (int i = 0; i < POSTERS; i++) {
            posters[i] = (struct poster){ .conf = &c, .got = &got };
            pthread_create(&posters[i].thread, NULL, post_letters, &posters[i]);
        }
        while (got < POSTERS * POSTS)
            reactor_run_once(c.r, -1); /* A lost wake-up hangs here. */
        for (int i = 0; i < POSTERS; i++)
            pthread_join(posters[i].thread, NULL);
        conf_drop(&c);
    }
}

static void *stop_soon(void *arg)
{
    usleep(2000);
    reactor_stop(arg);
    return NULL;
}

static void stops_from_a_thread(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        pthread_t thread;

        pthread_create(&thread, NULL, stop_soon, c.r);
        reactor_run(c.r);
        pthread_join(thread, NULL);
        conf_drop(&c);
    }
}

/* A round trip of posts between two reactors. */
struct ball {
    struct reactor *here, *there;
    unsigned rounds;
};

static void play_there(void *arg);

static void play_here(void *arg)
{
    struct ball *ball = arg;

    EXPECT(reactor_is_home(ball->here));
    if (++ball->rounds < 1000)
        reactor_post(ball->there, play_there, ball);
}

static void play_there(void *arg)
{
    struct ball *ball = arg;

    EXPECT(reactor_is_home(ball->there));
    EXPECT(!reactor_is_home(ball->here));
    reactor_post(ball->here, play_here, ball);
}

static void runs_reactors_on_threads(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_thread *t;
        struct ball ball = { .here = c.r };

        REQUIRE_OK(reactor_thread_new(c.r, "worker", &t));
        ball.there = reactor_thread_reactor(t);
        EXPECT_STR(reactor_kind_name(ball.there), reactor_kind_name(c.r));
        reactor_post(ball.there, play_there, &ball);
        while (ball.rounds < 1000)
            reactor_run_once(c.r, -1);
        reactor_thread_stop(t);
        conf_drop(&c);
    }
}

/* ---- Signals ---- */

struct caught {
    unsigned usr1, usr2;
    struct reactor *r;
};

static void catch_signal(void *arg, int signo)
{
    struct caught *caught = arg;

    if (signo == SIGUSR1)
        caught->usr1++;
    else
        caught->usr2++;
    if (signo == SIGUSR2)
        reactor_off_signals(caught->r);
}

static void delivers_signals(void)
{
    static const int signals[] = { SIGUSR1, SIGUSR2, 0 };
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct caught caught = { .r = c.r };

        REQUIRE_OK(reactor_on_signals(c.r, signals, catch_signal, &caught));
        EXPECT_EQ(reactor_ops_pending(c.r), 0);
        for (unsigned i = 1; i <= 3; i++) {
            kill(getpid(), SIGUSR1);
            while (caught.usr1 < i)
                reactor_run_once(c.r, -1);
        }
        kill(getpid(), SIGUSR2);
        while (caught.usr2 < 1)
            reactor_run_once(c.r, -1);
        reactor_off_signals(c.r);
        REQUIRE_OK(reactor_on_signals(c.r, signals, catch_signal, &caught));
        conf_settle(&c);
        conf_drop(&c); /* Still registered. */
    }
}

/* ---- Descriptors ---- */

static void passes_descriptors(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_stream *s[2];
        struct probe w;
        int ends[2], fds[2], got[4] = { -1, -1, -1, -1 };
        char buf[16];

        conf_streams(&c, s);
        REQUIRE(pipe(ends) == 0);
        fds[0] = ends[0];
        fds[1] = ends[1];
        probe_init(&w, NULL);
        stream_write_fds(s[0], &w.op, "two", 3, fds, 2);
        EXPECT_EQ(probe_wait(&c, &w), 3);
        close(ends[0]);
        close(ends[1]);
        EXPECT_EQ(stream_take_fds(s[1], got, 4), 0);
        EXPECT_EQ(conf_read_all(&c, s[1], buf, 3), 3);
        EXPECT_EQ(stream_take_fds(s[1], got, 1), 1);
        EXPECT_EQ(stream_take_fds(s[1], got + 1, 4), 1);
        EXPECT_EQ(stream_take_fds(s[1], got + 2, 4), 0);
        /* They are the pipe, in order. */
        EXPECT_EQ(write(got[1], "x", 1), 1);
        EXPECT_EQ(read(got[0], buf, 1), 1);
        EXPECT(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
        /* What is not taken is closed with the stream: the pipe then has one reader less. */
        stream_write_fds(s[0], &w.op, "one", 3, got, 1);
        EXPECT_EQ(probe_wait(&c, &w), 3);
        close(got[0]);
        EXPECT_EQ(conf_read_all(&c, s[1], buf, 3), 3);
        stream_close(s[0]);
        stream_close(s[1]);
        signal(SIGPIPE, SIG_IGN);
        EXPECT_EQ(write(got[1], "x", 1), -1);
        signal(SIGPIPE, SIG_DFL);
        close(got[1]);
        conf_drop(&c);
    }
}

/* With more bytes than fit at once, the descriptors go with the first ones, and only once. */
static void passes_descriptors_once(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_stream *s[2];
        static char big[1 << 20], in[1 << 20];
        struct probe w;
        int ends[2], got[8];

        conf_streams(&c, s);
        REQUIRE(pipe(ends) == 0);
        probe_init(&w, NULL);
        stream_write_fds(s[0], &w.op, big, sizeof(big), ends, 2);
        EXPECT_EQ(conf_read_all(&c, s[1], in, sizeof(in)), sizeof(in));
        EXPECT_EQ(probe_wait(&c, &w), sizeof(big));
        REQUIRE_EQ(stream_take_fds(s[1], got, 8), 2);
        for (int i = 0; i < 2; i++) {
            close(ends[i]);
            close(got[i]);
        }
        stream_close(s[0]);
        stream_close(s[1]);
        conf_drop(&c);
    }
}

static void refuses_descriptors_on_tcp(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_stream *s;
        struct probe p;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int zero = 0;

        s = reactor_stream_from_fd(c.r, fd);
        probe_init(&p, NULL);
        stream_write_fds(s, &p.op, "x", 1, &zero, 1);
        EXPECT_EQ(probe_wait(&c, &p), -EINVAL);
        stream_close(s);
        conf_drop(&c);
    }
}

static int64_t write_text(struct conf *c, struct reactor_stream *s, const char *text)
{
    struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
    struct probe p;

    probe_init(&p, NULL);
    stream_writev(s, &p.op, &iov, 1);
    return probe_wait(c, &p);
}

static void serves_pipes(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_stream *in, *out;
        static char big[1 << 20];
        struct iovec iov = { big, sizeof(big) };
        struct probe r, w;
        int ends[2];
        char buf[16];

        REQUIRE(pipe(ends) == 0);
        in = reactor_stream_from_fd(c.r, ends[0]);
        out = reactor_stream_from_fd(c.r, ends[1]);
        probe_init(&r, NULL);
        stream_read(in, &r.op, buf, 16);
        conf_settle(&c);
        EXPECT_EQ(r.calls, 0);
        EXPECT_EQ(write_text(&c, out, "hello"), 5);
        EXPECT_EQ(probe_wait(&c, &r), 5);
        /* More than it holds. */
        probe_init(&w, NULL);
        stream_writev(out, &w.op, &iov, 1);
        conf_settle(&c);
        EXPECT_EQ(w.calls, 0);
        EXPECT_EQ(conf_read_all(&c, in, big, sizeof(big)), sizeof(big));
        EXPECT_EQ(probe_wait(&c, &w), sizeof(big));
        /* Ends. */
        stream_read(in, &r.op, buf, 16);
        conf_settle(&c);
        stream_shutdown_write(out);
        EXPECT_EQ(probe_wait(&c, &r), 0);
        EXPECT_EQ(write_text(&c, out, "x"), -EPIPE);
        stream_close(out);
        stream_close(in);
        conf_drop(&c);
    }
}

static void survives_broken_pipe(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_stream *out;
        int ends[2];

        REQUIRE(pipe(ends) == 0);
        out = reactor_stream_from_fd(c.r, ends[1]);
        close(ends[0]);
        EXPECT_EQ(write_text(&c, out, "x"), -EPIPE); /* And no SIGPIPE. */
        stream_close(out);
        conf_drop(&c);
    }
}

static void cancels_and_closes_pipes(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        for (int settle = 0; settle < 2; settle++) {
            struct reactor_stream *in;
            struct probe r;
            int ends[2];
            char buf[16];

            REQUIRE(pipe(ends) == 0);
            in = reactor_stream_from_fd(c.r, ends[0]);
            probe_init(&r, NULL);
            stream_read(in, &r.op, buf, 16);
            if (settle)
                conf_settle(&c);
            op_cancel(&r.op);
            EXPECT_EQ(probe_wait(&c, &r), -ECANCELED);
            stream_read(in, &r.op, buf, 16);
            if (settle)
                conf_settle(&c);
            stream_shutdown(in);
            EXPECT_EQ(probe_wait(&c, &r), 0);
            EXPECT_EQ(r.calls, 2);
            stream_close(in);
            close(ends[1]);
        }
        conf_drop(&c);
    }
}

static void gives_terminals_back(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        struct reactor_stream *s;
        struct probe r;
        int slave, copy;
        char buf[16];

        REQUIRE(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
        slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        REQUIRE(slave >= 0);
        copy = dup(slave);
        s = reactor_stream_from_fd(c.r, slave);
        EXPECT(fcntl(copy, F_GETFL) & O_NONBLOCK);
        probe_init(&r, NULL);
        stream_read(s, &r.op, buf, 16);
        conf_settle(&c);
        EXPECT_EQ(write(master, "line\n", 5), 5);
        EXPECT_EQ(probe_wait(&c, &r), 5);
        EXPECT_EQ(write_text(&c, s, "out"), 3);
        stream_close(s);
        EXPECT(!(fcntl(copy, F_GETFL) & O_NONBLOCK));
        close(copy);
        close(master);
        conf_drop(&c);
    }
}

static void reads_files_as_streams(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_stream *s;
        char buf[16];
        int fd = open(conf_path(&c, "text"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        REQUIRE(fd >= 0);
        s = reactor_stream_from_fd(c.r, fd);
        EXPECT_EQ(write_text(&c, s, "text"), 4);
        EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
        EXPECT_EQ(conf_read_all(&c, s, buf, 16), 4);
        stream_close(s);
        conf_drop(&c);
    }
}

static void wraps_file_descriptors(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_file *f;
        struct file_stat st;
        struct probe p;
        char buf[4];
        int fd = open(conf_path(&c, "f"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        REQUIRE(fd >= 0);
        f = reactor_file_from_fd(c.r, fd, FILE_READ | FILE_WRITE);
        EXPECT_EQ(reactor_file_fd(f), fd);
        EXPECT_EQ(conf_pwrite(&c, f, "abc", 3, 0), 3);
        EXPECT_EQ(conf_pread(&c, f, buf, 3, 0), 3);
        probe_init(&p, NULL);
        reactor_file_stat(f, &p.op, &st);
        EXPECT_EQ(probe_wait(&c, &p), 0);
        EXPECT_EQ(st.size, 3);
        reactor_file_close(f);
        EXPECT_EQ(fcntl(fd, F_GETFD), -1);
        /* Served from threads on demand. */
        f = conf_file(&c, "f", FILE_READ | FILE_WRITE | FILE_THREADS);
        EXPECT_EQ(conf_pwrite(&c, f, "xyz", 3, 0), 3);
        EXPECT_EQ(conf_pread(&c, f, buf, 3, 0), 3);
        EXPECT_MEM(buf, "xyz", 3);
        reactor_file_close(f);
        conf_drop(&c);
    }
}

static void closes_devices(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_file *f = NULL;
        struct file_stat st;
        struct probe p;
        char buf[4] = "abc";

        probe_init(&p, NULL);
        reactor_file_open(c.r, &p.op, "/dev/zero", FILE_READ, &f);
        REQUIRE_EQ(probe_wait(&c, &p), 0);
        EXPECT_EQ(conf_pread(&c, f, buf, 4, 0), 4);
        EXPECT_MEM(buf, "\0\0\0\0", 4);
        reactor_file_stat(f, &p.op, &st);
        EXPECT_EQ(probe_wait(&c, &p), 0);
        EXPECT(st.is_char);
        reactor_file_close(f);
        reactor_file_open(c.r, &p.op, "/", FILE_READ, &f);
        EXPECT_EQ(probe_wait(&c, &p), -EISDIR);
        conf_drop(&c);
    }
}

/* ---- Addresses ---- */

static void listens_on_abstract_names(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        char name[64];
        struct addr addr = { .kind = ADDR_UNIX, .path = name, .abstract = true };
        struct reactor_listener *l;
        struct reactor_stream *s[2];
        struct probe p, q;
        char *text;

        snprintf(name, sizeof(name), "emu-test-%d", (int)getpid());
        for (int tight = 0; tight < 2; tight++) {
            addr.tight = tight;
            REQUIRE_OK(reactor_listen(c.r, &addr, 1, &l));
            probe_init(&p, NULL);
            probe_init(&q, NULL);
            reactor_connect(c.r, &p.op, &addr, &s[0]);
            listener_accept(l, &q.op, &s[1]);
            EXPECT_EQ(probe_wait(&c, &p), 0);
            EXPECT_EQ(probe_wait(&c, &q), 0);
            text = stream_name(s[0], true);
            EXPECT_CONTAINS(text, "unix:@emu-test-");
            free(text);
            stream_close(s[0]);
            stream_close(s[1]);
            listener_close(l);
        }
        conf_drop(&c);
    }
}

static void replaces_stale_sockets(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct addr addr = { .kind = ADDR_UNIX, .path = conf_path(&c, "s") };
        struct reactor_listener *l, *m = NULL;
        char first[300];
        struct err *err;

        REQUIRE_OK(reactor_listen(c.r, &addr, 1, &l));
        /* In use: refused. */
        err = reactor_listen(c.r, &addr, 1, &m);
        REQUIRE(err);
        EXPECT_CONTAINS(err_text(err), "Address already in use");
        err_free(err);
        /* Its maker went away without a word: replaced, and what it then removes is not ours. */
        snprintf(first, sizeof(first), "%s.old", addr.path);
        EXPECT_EQ(rename(addr.path, first), 0);
        REQUIRE_OK(reactor_listen(c.r, &addr, 1, &m));
        listener_close(l);
        EXPECT_EQ(access(addr.path, F_OK), 0);
        EXPECT_EQ(rename(first, addr.path), 0); /* Nobody listens on this one. */
        listener_close(m);
        EXPECT_EQ(access(addr.path, F_OK), 0);
        REQUIRE_OK(reactor_listen(c.r, &addr, 1, &l));
        listener_close(l);
        EXPECT_EQ(access(addr.path, F_OK), -1);
        /* Never a file. */
        close(open(addr.path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
        err = reactor_listen(c.r, &addr, 1, &l);
        EXPECT(err != NULL);
        err_free(err);
        unlink(addr.path);
        conf_drop(&c);
    }
}

static void finds_a_port_in_a_range(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct addr addr = {
            .kind = ADDR_INET, .host = "127.0.0.1", .port = "0", .ipv4 = -1, .ipv6 = -1
        };
        struct reactor_listener *l, *m;
        char port[16];

        REQUIRE_OK(reactor_listen(c.r, &addr, 1, &l));
        snprintf(port, sizeof(port), "%u", listener_port(l));
        addr.port = port;
        addr.port_to = (uint16_t)(listener_port(l) + 20);
        REQUIRE_OK(reactor_listen(c.r, &addr, 1, &m));
        EXPECT_GT(listener_port(m), listener_port(l));
        EXPECT_LE(listener_port(m), addr.port_to);
        listener_close(m);
        addr.port_to = (uint16_t)listener_port(l);
        EXPECT_ERR(reactor_listen(c.r, &addr, 1, &m),
                   "Failed to find an available port: Address already in use");
        listener_close(l);
        conf_drop(&c);
    }
}

static void resolves_names(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct addr addr = {
            .kind = ADDR_INET, .host = "localhost", .port = "0", .ipv4 = -1, .ipv6 = -1
        };
        struct addr bad = {
            .kind = ADDR_INET, .host = "name.invalid", .port = "1", .ipv4 = -1, .ipv6 = -1
        };
        struct reactor_listener *l;
        struct reactor_stream *s[2];
        struct probe p, q;
        char port[16], *text;

        REQUIRE_OK(reactor_listen(c.r, &addr, 1, &l));
        snprintf(port, sizeof(port), "%u", listener_port(l));
        addr.port = port;
        probe_init(&p, NULL);
        probe_init(&q, NULL);
        reactor_connect(c.r, &p.op, &addr, &s[0]);
        listener_accept(l, &q.op, &s[1]);
        EXPECT_EQ(probe_wait(&c, &p), 0);
        EXPECT_EQ(probe_wait(&c, &q), 0);
        text = stream_name(s[0], true);
        EXPECT_CONTAINS(text, port);
        free(text);
        stream_close(s[0]);
        stream_close(s[1]);
        listener_close(l);
        reactor_connect(c.r, &p.op, &bad, &s[0]);
        EXPECT_EQ(probe_wait(&c, &p), -ENXIO);
        conf_drop(&c);
    }
}

static void waits_for_a_full_backlog(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        enum { CLIENTS = 8 };
        struct addr addr = { .kind = ADDR_UNIX, .path = conf_path(&c, "s") };
        struct reactor_listener *l;
        struct reactor_stream *client[CLIENTS], *server;
        struct probe p[CLIENTS], q;

        REQUIRE_OK(reactor_listen(c.r, &addr, 1, &l));
        for (int i = 0; i < CLIENTS; i++) {
            probe_init(&p[i], NULL);
            reactor_connect(c.r, &p[i].op, &addr, &client[i]);
        }
        conf_settle(&c);
        op_cancel(&p[CLIENTS - 1].op);
        EXPECT_EQ(probe_wait(&c, &p[CLIENTS - 1]), -ECANCELED);
        probe_init(&q, NULL);
        for (int i = 0; i < CLIENTS - 1; i++) {
            listener_accept(l, &q.op, &server);
            EXPECT_EQ(probe_wait(&c, &q), 0);
            stream_close(server);
        }
        for (int i = 0; i < CLIENTS - 1; i++) {
            EXPECT_EQ(probe_wait(&c, &p[i]), 0);
            stream_close(client[i]);
        }
        listener_close(l);
        conf_drop(&c);
    }
}

/* A connect that hangs: the backlog of a TCP listener is full and nobody accepts. */
static void cancels_a_hanging_connect(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        enum { TRIES = 8 };
        struct addr addr = {
            .kind = ADDR_INET, .host = "127.0.0.1", .port = "0", .ipv4 = -1, .ipv6 = -1
        };
        struct reactor_listener *l;
        struct reactor_stream *client[TRIES];
        struct probe p[TRIES];
        char port[16];
        int cancelled = 0;

        REQUIRE_OK(reactor_listen(c.r, &addr, 1, &l));
        snprintf(port, sizeof(port), "%u", listener_port(l));
        addr.port = port;
        for (int i = 0; i < TRIES; i++) {
            probe_init(&p[i], NULL);
            reactor_connect(c.r, &p[i].op, &addr, &client[i]);
        }
        conf_sleep(&c, 20 * NS_PER_MS);
        for (int i = 0; i < TRIES; i++)
            op_cancel(&p[i].op);
        for (int i = 0; i < TRIES; i++) {
            cancelled += probe_wait(&c, &p[i]) == -ECANCELED;
            EXPECT(p[i].op.result == 0 || p[i].op.result == -ECANCELED);
            EXPECT_EQ(p[i].calls, 1);
            stream_close(client[i]);
        }
        EXPECT_GT(cancelled, 0);
        listener_close(l);
        conf_drop(&c);
    }
}

static void takes_sockets_by_descriptor(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct addr addr = { .kind = ADDR_FD };
        struct reactor_listener *l;
        struct reactor_stream *s;
        struct probe p;
        char buf[4];
        int fds[2];

        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
        addr.fd = fds[0];
        probe_init(&p, NULL);
        reactor_connect(c.r, &p.op, &addr, &s);
        EXPECT_EQ(probe_wait(&c, &p), 0);
        EXPECT_EQ(write(fds[1], "abc", 3), 3);
        EXPECT_EQ(conf_read_all(&c, s, buf, 3), 3);
        stream_close(s);
        EXPECT_EQ(fcntl(fds[0], F_GETFD), -1);
        addr.fd = fds[1];
        struct err *err = reactor_listen(c.r, &addr, 1, &l);
        REQUIRE(err);
        EXPECT_CONTAINS(err_text(err), "is not listening");
        err_free(err);
        close(fds[1]);
        conf_drop(&c);
    }
}

static void watches_foreign_descriptors(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        struct reactor_watch *w;
        struct probe p;
        char buf[4];
        int fds[2];

        REQUIRE(pipe2(fds, O_NONBLOCK) == 0);
        REQUIRE_OK(reactor_watch_new(c.r, fds[0], &w));
        probe_init(&p, NULL);
        /* Twice: what one read leaves behind is not the next wait's. */
        for (int i = 0; i < 2; i++) {
            reactor_watch_read(w, &p.op);
            while (reactor_run_once(c.r, 0))
                ;
            EXPECT(op_pending(&p.op));
            EXPECT_EQ(write(fds[1], "abc", 3), 3);
            EXPECT_EQ(probe_wait(&c, &p), 0);
            EXPECT_EQ(read(fds[0], buf, sizeof(buf)), 3);
        }
        reactor_watch_read(w, &p.op);
        while (reactor_run_once(c.r, 0))
            ;
        op_cancel(&p.op);
        EXPECT_EQ(probe_wait(&c, &p), -ECANCELED);
        /* The end of the other side is an event, too. */
        close(fds[1]);
        reactor_watch_read(w, &p.op);
        EXPECT_EQ(probe_wait(&c, &p), 0);
        reactor_watch_free(w);
        close(fds[0]);
        conf_drop(&c);
    }
}

static int64_t double_it(void *arg) { return *(int *)arg * 2; }

static void calls_on_threads(void)
{
    struct conf c;

    FOR_EACH_BODY(c)
    {
        int n = 21;
        struct probe p;

        probe_init(&p, NULL);
        reactor_call(c.r, &p.op, double_it, &n);
        EXPECT_EQ(probe_wait(&c, &p), 42);
        conf_drop(&c);
    }
}

static void names_bad_kinds(void)
{
    struct reactor *r;

    setenv("EMU_REACTOR", "steam", 1);
    EXPECT_ERR(reactor_new(REACTOR_AUTO, &r),
               "EMU_REACTOR is 'steam', expected 'uring' or 'epoll'");
    EXPECT_PTR(r, NULL);
    setenv("EMU_REACTOR", "epoll", 1);
    REQUIRE_OK(reactor_new(REACTOR_AUTO, &r));
    EXPECT_STR(reactor_kind_name(r), "epoll");
    reactor_free(r);
    unsetenv("EMU_REACTOR");
}

TEST_LIST(TEST(gets_posts_of_threads), TEST(stops_from_a_thread), TEST(runs_reactors_on_threads),
          TEST(delivers_signals), TEST(passes_descriptors), TEST(passes_descriptors_once),
          TEST(refuses_descriptors_on_tcp), TEST(serves_pipes), TEST(survives_broken_pipe),
          TEST(cancels_and_closes_pipes), TEST(gives_terminals_back), TEST(reads_files_as_streams),
          TEST(wraps_file_descriptors), TEST(closes_devices), TEST(listens_on_abstract_names),
          TEST(replaces_stale_sockets), TEST(finds_a_port_in_a_range), TEST(resolves_names),
          TEST(waits_for_a_full_backlog), TEST(cancels_a_hanging_connect),
          TEST(takes_sockets_by_descriptor), TEST(watches_foreign_descriptors),
          TEST(calls_on_threads), TEST(names_bad_kinds));
