/* Character devices on simulated sockets and files. */
#include "emu/chardev/chardev.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"
#include "emu/chardev/cmdline.h"
#include "emu/reactor/sim.h"
#include "emu/yank/yank.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

struct rig {
    struct sim *sim;
    struct reactor *reactor;
    struct yank *yank;
    struct chardevs *all;
};

/* What became of a chardev_add. */
struct result {
    bool done;
    struct err *err; /* owned */
    struct chardev *chr;
};

/* A front end that keeps what came, and on the server's side echoes it. */
struct user {
    struct chardev_frontend frontend;
    struct chardev *chr;
    struct channel *channel;
    struct str text;
    unsigned opened, ended;
    bool echo;
};

static void rig_init(struct rig *rig)
{
    struct sim_options options = { .seed = 7 };

    rig->sim = sim_new(&options);
    rig->reactor = sim_reactor_new(rig->sim);
    rig->yank = yank_new();
    rig->all = chardevs_new(rig->reactor, rig->yank);
}

static void rig_fini(struct rig *rig)
{
    chardevs_free(rig->all);
    EXPECT(sim_run(rig->sim, 100000));
    EXPECT_EQ(reactor_ops_pending(rig->reactor), 0);
    yank_free(rig->yank);
    reactor_free(rig->reactor);
    sim_free(rig->sim);
}

static void added(void *arg, struct err *err, struct chardev *chr)
{
    *(struct result *)arg = (struct result){ .done = true, .err = err, .chr = chr };
}

/* Begins to add what a command line says. */
static void begin(struct rig *rig, const char *line, struct result *result)
{
    CLEANUP(qapi_free_chardev_add_args) struct qapi_chardev_add_args *args = NULL;

    *result = (struct result){ 0 };
    REQUIRE_OK(chardev_parse(line, &args));
    chardev_add(rig->all, args->id, args->backend, added, result);
    EXPECT(!result->done);
}

/* The same, and lets the world run for a while. */
static struct chardev *add(struct rig *rig, const char *line, const char *error)
{
    struct result result;

    begin(rig, line, &result);
    sim_run_for(rig->sim, NS_PER_SEC / 2);
    REQUIRE(result.done);
    if (error)
        EXPECT_ERR(result.err, error);
    else
        EXPECT_OK(result.err);
    return result.chr;
}

static size_t received(void *arg, const char *bytes, size_t len)
{
    struct user *u = arg;

    str_addn(&u->text, bytes, len);
    if (u->echo)
        channel_send(u->channel, bytes, len);
    return len;
}

static void ended(void *arg)
{
    struct user *u = arg;

    u->ended++;
    channel_close(u->channel);
    u->channel = NULL;
    chardev_hangup(u->chr);
}

static void opened(struct chardev_frontend *fe, struct channel *ch)
{
    static const struct channel_user channel_user = { .received = received, .ended = ended };
    struct user *u = container_of(fe, struct user, frontend);

    u->opened++;
    u->channel = ch;
    channel_attach(ch, &channel_user, u);
    channel_resume(ch);
}

static void use(struct rig *rig, struct user *u, struct chardev *chr)
{
    *u = (struct user){ .chr = chr, .frontend.opened = opened };
    u->echo = !strcmp(chardev_id(chr), "s");
    REQUIRE_OK(chardev_claim(chr, &u->frontend));
    sim_run_for(rig->sim, NS_PER_SEC / 10);
}

static void drop(struct user *u)
{
    channel_close(u->channel);
    chardev_release(u->chr);
    str_fini(&u->text);
}

static char *names(struct rig *rig)
{
    struct qapi_chardev_info_list list = { 0 };
    struct str text = { 0 };

    chardevs_query(rig->all, &list);
    for (size_t i = 0; i < list.len; i++)
        str_addf(&text, "%s=%s%s ", list.items[i].label, list.items[i].filename,
                 list.items[i].frontend_open ? " (used)" : "");
    qapi_chardev_info_list_fini(&list);
    return str_steal(&text);
}

static void expect_names(struct rig *rig, const char *expected)
{
    CLEANUP(xfree) char *text = names(rig);

    EXPECT_STR(text, expected);
}

static void serves_one_client_after_the_other(void)
{
    struct rig rig;
    struct user server, a, b;

    rig_init(&rig);
    use(&rig, &server, add(&rig, "socket,id=s,path=/s,server=on,wait=off", NULL));
    expect_names(&rig, "s=disconnected:unix:/s,server=on (used) ");
    use(&rig, &a, add(&rig, "socket,id=a,path=/s", NULL));
    sim_run_for(rig.sim, NS_PER_SEC);
    EXPECT_EQ(server.opened, 1);
    use(&rig, &b, add(&rig, "socket,id=b,path=/s", NULL)); /* Connected, but not yet served. */
    channel_send(b.channel, "b", 1);
    channel_send(a.channel, "hello", 5);
    sim_run_for(rig.sim, NS_PER_SEC);
    EXPECT_EQ(server.opened, 1);
    EXPECT_STR(str_cstr(&a.text), "hello");
    EXPECT_STR(str_cstr(&b.text), "");
    channel_close(a.channel);
    a.channel = NULL;
    sim_run_for(rig.sim, NS_PER_SEC);
    EXPECT_EQ(server.opened, 2);
    EXPECT_EQ(server.ended, 1);
    EXPECT_STR(str_cstr(&server.text), "hellob");
    EXPECT_STR(str_cstr(&b.text), "b");
    drop(&server);
    drop(&a);
    drop(&b);
    rig_fini(&rig);
}

static void wait_lasts_until_the_first_client(void)
{
    struct rig rig;
    struct result server;
    struct user user;

    rig_init(&rig);
    begin(&rig, "socket,id=s,path=/s,server=on", &server);
    sim_run_for(rig.sim, 100 * NS_PER_SEC);
    EXPECT(!server.done);
    EXPECT_PTR(chardev_find(rig.all, "s"), NULL);
    add(&rig, "socket,id=c,path=/s", NULL);
    REQUIRE(server.done);
    EXPECT_OK(server.err);
    use(&rig, &user, server.chr);
    sim_run_for(rig.sim, NS_PER_SEC);
    EXPECT_EQ(user.opened, 1);
    drop(&user);
    rig_fini(&rig);
}

static void a_client_tries_again_when_told_to(void)
{
    struct rig rig;
    struct user client, server;

    rig_init(&rig);
    add(&rig, "socket,id=x,path=/s", "Failed to connect to '/s': No such file or directory");
    EXPECT_PTR(chardev_find(rig.all, "x"), NULL);
    use(&rig, &client, add(&rig, "socket,id=c,path=/s,reconnect-ms=200", NULL));
    expect_names(&rig, "c=disconnected:unix:/s (used) ");
    use(&rig, &server, add(&rig, "socket,id=s,path=/s,server=on,wait=off", NULL));
    sim_run_for(rig.sim, NS_PER_SEC);
    EXPECT_EQ(client.opened, 1);
    EXPECT_EQ(server.opened, 1);
    channel_shutdown(server.channel);
    sim_run_for(rig.sim, NS_PER_SEC);
    EXPECT_EQ(client.ended, 1);
    EXPECT_EQ(client.opened, 2);
    EXPECT_EQ(server.opened, 2);
    drop(&client);
    drop(&server);
    rig_fini(&rig);
}

static void a_chardev_in_use_stays(void)
{
    struct rig rig;
    struct user user;
    struct chardev_frontend other = { .opened = opened };

    rig_init(&rig);
    use(&rig, &user, add(&rig, "null,id=n", NULL));
    EXPECT_ERR(chardev_claim(user.chr, &other), "Device 'n' is in use");
    EXPECT_ERR(chardev_remove(rig.all, "n"), "Chardev 'n' is busy");
    EXPECT_ERR(chardev_remove(rig.all, "zz"), "Chardev 'zz' not found");
    add(&rig, "null,id=n", "Chardev with id 'n' already exists");
    expect_names(&rig, "n=null (used) ");
    sim_run_for(rig.sim, NS_PER_SEC);
    drop(&user);
    EXPECT_OK(chardev_remove(rig.all, "n"));
    expect_names(&rig, "");
    rig_fini(&rig);
}

static void sockets_can_be_removed_in_any_state(void)
{
    struct rig rig;
    struct result result;

    rig_init(&rig);
    begin(&rig, "socket,id=a,path=/a,server=on,wait=off", &result);
    add(&rig, "socket,id=b,path=/b,server=on,wait=off", NULL);
    add(&rig, "socket,id=c,path=/b", NULL);
    add(&rig, "socket,id=d,path=/none,reconnect=5", NULL);
    begin(&rig, "socket,id=e,path=/b", &result);
    EXPECT_OK(chardev_remove(rig.all, "b"));
    EXPECT_OK(chardev_remove(rig.all, "c"));
    rig_fini(&rig); /* The rest goes with it. */
}

static void a_file_gets_the_output(void)
{
    struct rig rig;
    struct user user;
    char content[16] = "";

    rig_init(&rig);
    sim_file_create(rig.sim, "/out", 3);
    sim_file_poke(rig.sim, "/out", 0, "old", 3);
    use(&rig, &user, add(&rig, "file,id=f,path=/out,append=on", NULL));
    sim_run_for(rig.sim, NS_PER_SEC);
    channel_send(user.channel, "one", 3);
    channel_send(user.channel, "two", 3);
    sim_run_for(rig.sim, NS_PER_SEC);
    sim_file_peek(rig.sim, "/out", 0, content, 9);
    EXPECT_STR(content, "oldonetwo");
    drop(&user);
    EXPECT_OK(chardev_remove(rig.all, "f"));
    use(&rig, &user, add(&rig, "file,id=f,path=/out", NULL));
    sim_run_for(rig.sim, NS_PER_SEC);
    EXPECT_EQ(sim_file_size(rig.sim, "/out"), 0);
    drop(&user);
    rig_fini(&rig);
}

static void sockets_can_be_yanked_by_name(void)
{
    struct rig rig;
    struct qapi_yank_instance_list list = { 0 };

    rig_init(&rig);
    add(&rig, "socket,id=s,path=/s,server=on,wait=off", NULL);
    add(&rig, "null,id=n", NULL);
    yank_query(rig.yank, &list);
    REQUIRE_EQ(list.len, 1);
    EXPECT_STR(list.items[0].u.chardev.id, "s");
    EXPECT_OK(yank_run(rig.yank, &list)); /* Nobody is connected: nothing to do. */
    qapi_yank_instance_list_fini(&list);
    rig_fini(&rig);
}

static void options_that_do_not_go_together_are_refused(void)
{
    struct rig rig;

    rig_init(&rig);
    add(&rig, "socket,id=s,path=/s,server=on,reconnect=1",
        "'reconnect' option is incompatible with socket in server "
        "listen mode");
    add(&rig, "socket,id=s,path=/s,wait=on",
        "'wait' option is incompatible with socket in client connect "
        "mode");
    add(&rig, "socket,id=s,fd=abc", "Unable to parse FD number abc");
    add(&rig, "socket,id=s,fd=999999", "File descriptor '999999' is not a socket");
    rig_fini(&rig);
}

TEST_LIST(TEST(serves_one_client_after_the_other), TEST(wait_lasts_until_the_first_client),
          TEST(a_client_tries_again_when_told_to), TEST(a_chardev_in_use_stays),
          TEST(sockets_can_be_removed_in_any_state), TEST(a_file_gets_the_output),
          TEST(sockets_can_be_yanked_by_name), TEST(options_that_do_not_go_together_are_refused));
