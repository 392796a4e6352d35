#include "emu/cmd/img/snapshot_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "emu/base/str.h"

void snapshot_print_head(int indent)
{
    printf("%*s%-7s %-16s %8s %19s %15s %10s\n", indent, "", "ID", "TAG", "VM_SIZE", "DATE",
           "VM_CLOCK", "ICOUNT");
}

void snapshot_print(const struct snapshot_info *info, int indent)
{
    char date[64] = "", clock[64], size[SIZE_HUMAN_MAX], icount[32] = "--";
    uint64_t ms = info->vm_clock_nsec / 1000000;
    time_t seconds = (time_t)info->date_sec;
    struct tm tm;

    if (localtime_r(&seconds, &tm))
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(clock, sizeof(clock), "%04" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64,
             ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
    if (info->icount != UINT64_MAX)
        snprintf(icount, sizeof(icount), "%" PRIu64, info->icount);
    size_human(info->vm_state_size, size, sizeof(size));
    printf("%*s%-7s %-16s %8s %19s %15s %10s\n", indent, "", info->id, info->name, size, date,
           clock, icount);
}
