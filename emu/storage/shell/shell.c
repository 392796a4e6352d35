/* Lines, the table of commands, and what commands share. */
#include "emu/storage/shell/shell.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/storage/shell/private.h"

enum { ARGS_MAX = 1024 };

struct shell *shell_new(const struct shell_config *config)
{
    struct shell *shell = NEW(struct shell);

    shell->config = *config;
    list_init(&shell->waiters);
    shell->refs = 1;
    return shell;
}

void shell_unref(struct shell *shell)
{
    if (--shell->refs == 0)
        xfree(shell);
}

void shell_free(struct shell *shell)
{
    if (!shell)
        return;
    check(!shell->call.command && list_empty(&shell->waiters));
    shell->silent = true;
    shell_unref(shell);
}

void *shell_owner(struct shell *shell) { return shell->config.arg; }
void shell_set_edge(struct shell *shell, struct edge *edge) { shell->edge = edge; }
struct edge *shell_edge(struct shell *shell) { return shell->edge; }

/* ---- Output ---- */

void shell_print(struct shell *shell, const char *fmt, ...)
{
    va_list args;
    char *text;

    if (shell->silent)
        return;
    va_start(args, fmt);
    text = xvasprintf(fmt, args);
    va_end(args);
    shell->config.print(shell->config.arg, text);
    xfree(text);
}

void shell_complain(struct shell *shell, const char *fmt, ...)
{
    va_list args;
    char *text;

    if (shell->silent)
        return;
    va_start(args, fmt);
    text = xvasprintf(fmt, args);
    va_end(args);
    shell->config.complain(shell->config.arg, text);
    xfree(text);
}

void shell_report(struct shell *shell, struct err *err)
{
    if (shell->silent)
        err_free(err);
    else
        shell->config.report(shell->config.arg, err);
}

static void print_summary(struct shell *shell, const struct shell_command *command)
{
    shell_print(shell, "%s %s%s-- %s\n", command->name, command->args ? command->args : "",
                command->args ? " " : "", command->summary);
}

void shell_usage(struct shell_call *call)
{
    print_summary(call->shell, call->command);
    shell_done(call, -EINVAL);
}

/* ---- The table ---- */

static void help_run(struct shell_call *call);

static const struct shell_command help_command = {
    .name = "help",
    .alias = "?",
    .args_max = 1,
    .flags = SHELL_NO_FILE,
    .args = "[command]",
    .summary = "help for one or all commands",
    .run = help_run,
};

static const struct shell_command *const groups[] = { shell_rw_commands, shell_aio_commands,
                                                      shell_meta_commands, shell_reopen_commands };
enum { GROUPS = ARRAY_LEN(groups) };

/* The i-th command of all, NULL at the end. */
static const struct shell_command *command_at(const struct shell *shell, size_t i)
{
    if (i-- == 0)
        return &help_command;
    for (size_t group = 0; group <= GROUPS; group++) {
        const struct shell_command *command = group < GROUPS ? groups[group] : shell->config.extra;

        for (; command && command->name; command++)
            if (i-- == 0)
                return command;
    }
    return NULL;
}

static const struct shell_command *find(const struct shell *shell, const char *name)
{
    const struct shell_command *command;

    for (size_t i = 0; (command = command_at(shell, i)); i++)
        if (str_eq(command->name, name) || (command->alias && str_eq(command->alias, name)))
            return command;
    return NULL;
}

/* The first command after `after` in the order of names. */
static const struct shell_command *next_by_name(const struct shell *shell, const char *after)
{
    const struct shell_command *best = NULL, *command;

    for (size_t i = 0; (command = command_at(shell, i)); i++)
        if (strcmp(command->name, after) > 0 && (!best || strcmp(command->name, best->name) < 0))
            best = command;
    return best;
}

static void help_run(struct shell_call *call)
{
    const struct shell_command *command;

    if (call->argc > 1) {
        command = find(call->shell, call->argv[1]);
        if (!command) {
            shell_print(call->shell, "command %s not found\n", call->argv[1]);
            shell_done(call, -EINVAL);
            return;
        }
        print_summary(call->shell, command);
        if (command->help)
            shell_print(call->shell, "%s", command->help);
        shell_done(call, 0);
        return;
    }
    for (const char *last = ""; (command = next_by_name(call->shell, last)); last = command->name)
        print_summary(call->shell, command);
    shell_print(call->shell, "\nUse 'help commandname' for extended help.\n");
    shell_done(call, 0);
}

/* ---- Running ---- */

void shell_done(struct shell_call *call, int result)
{
    struct shell *shell = call->shell;
    shell_done_fn *done = shell->done;

    check(call == &shell->call && call->command);
    call->command = NULL;
    xfree(call->argv);
    xfree(shell->line);
    call->argv = NULL;
    shell->line = NULL;
    done(shell->done_arg, result);
}

static bool count_is_right(struct shell_call *call)
{
    const struct shell_command *command = call->command;
    const int n = call->argc - 1;
    char expected[64];

    if (n >= command->args_min && (command->args_max < 0 || n <= command->args_max))
        return true;
    if (command->args_max < 0)
        snprintf(expected, sizeof(expected), "at least %d arguments", command->args_min);
    else if (command->args_max == command->args_min)
        snprintf(expected, sizeof(expected), "%d arguments", command->args_min);
    else
        snprintf(expected, sizeof(expected), "between %d and %d arguments", command->args_min,
                 command->args_max);
    shell_complain(call->shell, "bad argument count %d to %s, expected %s\n", n, call->argv[0],
                   expected);
    return false;
}

/* The disk is there and takes what the command does to it. */
static int prepare_edge(struct shell_call *call)
{
    struct edge *edge = call->shell->edge;
    struct err *err;

    if (call->command->flags & SHELL_NO_FILE)
        return 0;
    if (!edge) {
        shell_complain(call->shell, "no file open, try 'help open'\n");
        return -EINVAL;
    }
    if ((edge->perm & call->command->perm) == call->command->perm)
        return 0;
    err = edge_set_perm(edge, edge->perm | call->command->perm, edge->shared);
    if (err)
        shell_report(call->shell, err);
    return err ? -EINVAL : 0;
}

static void edge_is_settled(void *arg, struct err *err)
{
    struct shell *shell = arg;

    if (err) {
        shell_report(shell, err);
        shell_done(&shell->call, -EINVAL);
        return;
    }
    shell->call.command->run(&shell->call);
}

static void start(struct shell *shell)
{
    struct shell_call *call = &shell->call;
    int result;

    if (!count_is_right(call)) {
        shell_done(call, -EINVAL);
        return;
    }
    result = prepare_edge(call);
    if (result < 0)
        shell_done(call, result);
    else if (!(call->command->flags & SHELL_NO_FILE) && call->command->perm)
        edge_settle(shell->edge, edge_is_settled, shell);
    else
        call->command->run(call);
}

void shell_run(struct shell *shell, const char *line, shell_done_fn *done, void *arg)
{
    struct shell_call *call = &shell->call;
    char *rest, *word;

    check(!call->command);
    shell->line = rest = xstrdup(line);
    call->shell = shell;
    call->argv = xcalloc(ARGS_MAX + 1, sizeof(*call->argv));
    call->argc = 0;
    while (call->argc < ARGS_MAX && (word = strsep(&rest, " \t\r\n")))
        if (*word)
            call->argv[call->argc++] = word;
    shell->done = done;
    shell->done_arg = arg;
    call->command = call->argc ? find(shell, call->argv[0]) : &help_command;
    if (call->argc && call->command) {
        start(shell);
        return;
    }
    if (call->argc) {
        shell_complain(shell, "command \"%s\" not found\n", call->argv[0]);
        call->command = &help_command;
    }
    shell_done(call, call->argc ? -EINVAL : 0);
}

/* ---- Arguments ---- */

void shell_getopt_start(void) { optind = 0; }

int shell_getopt(struct shell_call *call, const char *options)
{
    int c;

    opterr = 0;
    c = getopt(call->argc, call->argv, options);
    if (c != '?')
        return c;
    if (strchr(options, optopt) && optopt != ':')
        shell_complain(call->shell, "%s: option requires an argument -- '%c'\n", call->argv[0],
                       optopt);
    else
        shell_complain(call->shell, "%s: invalid option -- '%c'\n", call->argv[0], optopt);
    shell_usage(call);
    return '?';
}

bool shell_size(struct shell_call *call, const char *text, uint64_t *out)
{
    struct err *err = *text == '-' ? err_new("negative") : parse_size(text, out);

    if (!err && *out <= INT64_MAX)
        return true;
    if (!err || *text == '-' || err_errnum(err) == ERANGE)
        shell_print(call->shell, "Parsing error: argument too large -- %s\n", text);
    else
        shell_print(call->shell,
                    "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- "
                    "%s\n",
                    text);
    err_free(err);
    shell_done(call, -EINVAL);
    return false;
}

const char *shell_size_text(double bytes, char *buf)
{
    static const char *const units[] = { "EiB", "PiB", "TiB", "GiB", "MiB", "KiB" };
    char digits[48];
    size_t i = 0;
    double unit = 1152921504606846976.0;

    while (i < ARRAY_LEN(units) && bytes < unit) {
        unit /= 1024;
        i++;
    }
    if (i == ARRAY_LEN(units))
        snprintf(digits, sizeof(digits), "%f", bytes);
    else
        snprintf(digits, sizeof(digits), "%.3f", bytes / unit);
    if (str_has_suffix(digits, ".000") || str_has_suffix(digits, ".000000"))
        *strchr(digits, '.') = '\0';
    snprintf(buf, 64, "%s %s", digits, i == ARRAY_LEN(units) ? "bytes" : units[i]);
    return buf;
}
