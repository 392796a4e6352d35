/* The content of a simulated file, and its fate at a crash. */
#include "emu/reactor/sim_disk.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

struct sim_disk *sim_disk_new(const char *path, uint64_t ino)
{
    struct sim_disk *disk = NEW(struct sim_disk);

    disk->refs = 1;
    disk->path = xstrdup(path);
    disk->max_size = UINT64_MAX;
    disk->ino = ino;
    return disk;
}

struct sim_disk *sim_disk_ref(struct sim_disk *disk)
{
    disk->refs++;
    return disk;
}

void sim_disk_unref(struct sim_disk *disk)
{
    if (!disk || --disk->refs > 0)
        return;
    sim_tree_fini(&disk->pages);
    vec_fini(&disk->dirty_pages);
    vec_fini(&disk->locks);
    xfree(disk->path);
    xfree(disk);
}

/* ---- Pages ---- */

static void set_hole(struct sim_disk *disk, struct sim_page *page, bool hole)
{
    if (page->hole == hole)
        return;
    page->hole = hole;
    if (hole)
        disk->data_pages--;
    else
        disk->data_pages++;
}

static uint8_t *own_data(struct sim_page *page)
{
    if (!page->data)
        page->data = xcalloc(1, SIM_PAGE);
    return page->data;
}

static void copy_sector(uint8_t *to, const uint8_t *from, unsigned sector)
{
    if (from)
        memcpy(to + sector * SIM_SECTOR, from + sector * SIM_SECTOR, SIM_SECTOR);
    else
        memset(to + sector * SIM_SECTOR, 0, SIM_SECTOR);
}

/* Keeps the current content of a sector for the sync under way that covers it. */
static void keep_version(struct sim_page *page, unsigned sector)
{
    struct sim_version *version = NEW(struct sim_version);

    version->gen = page->gen[sector];
    version->sector = sector;
    if (page->data)
        memcpy(version->data, page->data + sector * SIM_SECTOR, SIM_SECTOR);
    version->older = page->versions;
    page->versions = version;
}

/* Drops the versions of a sector up to a generation; the newest of them is copied to `to`, if given. */
static bool take_versions(struct sim_page *page, unsigned sector, uint64_t gen, uint8_t *to)
{
    bool found = false;

    for (struct sim_version **link = &page->versions; *link;) {
        struct sim_version *version = *link;

        if (version->sector != sector || version->gen > gen) {
            link = &version->older;
            continue;
        }
        if (!found && to)
            memcpy(to + sector * SIM_SECTOR, version->data, SIM_SECTOR);
        found = true;
        *link = version->older;
        xfree(version);
    }
    return found;
}

/* Bytes [at, at+n) of the page are about to change: keeps what a crash may bring back. */
static void page_dirty(struct sim_disk *disk, struct sim_page *page, uint64_t index, uint64_t at,
                       uint64_t n)
{
    if (!page->dirty) {
        vec_push(&disk->dirty_pages, index);
        xfree(page->durable);
        page->durable = page->data ? xmemdup(page->data, SIM_PAGE) : NULL;
    }
    for (unsigned s = (unsigned)(at / SIM_SECTOR); s <= (at + n - 1) / SIM_SECTOR; s++) {
        uint8_t bit = (uint8_t)BIT(s);

        if (!(page->dirty & bit)) {
            if (page->data && !page->durable)
                page->durable = xcalloc(1, SIM_PAGE);
            if (page->durable)
                copy_sector(page->durable, page->data, s);
        } else if (disk->sync_gen >= page->gen[s] && !(page->lost & bit)) {
            keep_version(page, s);
        }
        page->gen[s] = disk->gen;
        page->dirty |= bit;
        page->lost &= (uint8_t)~bit;
    }
}

/* A page that has become clean: nothing but zeroes in a hole needs no page. */
static void page_cleaned(struct sim_disk *disk, uint64_t index, struct sim_page *page)
{
    sim_page_drop_versions(page);
    xfree(page->durable);
    page->durable = NULL;
    if (page->hole)
        sim_tree_remove(&disk->pages, index);
}

/* ---- Content ---- */

void sim_disk_read(const struct sim_disk *disk, uint64_t off, struct iov_view to, uint64_t len)
{
    while (len > 0) {
        uint64_t at = off % SIM_PAGE, n = MIN(len, SIM_PAGE - at);
        const struct sim_page *page = sim_tree_get(&disk->pages, off / SIM_PAGE);

        if (page && page->data)
            iov_copy_to(to, n, page->data + at);
        else
            iov_fill(to, n, 0);
        to = iov_view_advance(to, n);
        off += n;
        len -= n;
    }
}

static void set_size(struct sim_disk *disk, uint64_t size)
{
    disk->size = size;
    disk->size_gen = disk->gen;
}

void sim_disk_write(struct sim_disk *disk, uint64_t off, struct iov_view from, uint64_t len)
{
    disk->gen++;
    if (len > 0 && off + len > disk->size)
        set_size(disk, off + len);
    while (len > 0) {
        uint64_t at = off % SIM_PAGE, n = MIN(len, SIM_PAGE - at);
        struct sim_page *page = sim_tree_own(&disk->pages, off / SIM_PAGE);

        page_dirty(disk, page, off / SIM_PAGE, at, n);
        set_hole(disk, page, false);
        iov_copy_from(from, n, own_data(page) + at);
        from = iov_view_advance(from, n);
        off += n;
        len -= n;
    }
}

static void zero_page(struct sim_disk *disk, uint64_t index, uint64_t at, uint64_t n, bool punch)
{
    struct sim_page *page = sim_tree_own(&disk->pages, index);

    page_dirty(disk, page, index, at, n);
    if (n == SIM_PAGE) {
        xfree(page->data);
        page->data = NULL;
        set_hole(disk, page, punch);
        return;
    }
    if (page->data)
        memset(page->data + at, 0, n);
    if (!punch)
        set_hole(disk, page, false);
}

void sim_disk_zero(struct sim_disk *disk, uint64_t off, uint64_t len, bool punch)
{
    uint64_t end = off + len;

    disk->gen++;
    while (off < end) {
        uint64_t index = off / SIM_PAGE, at = off % SIM_PAGE;
        uint64_t n = MIN(end - off, SIM_PAGE - at);

        /* Where there is nothing, there is nothing to take away. */
        if (punch && !sim_tree_get(&disk->pages, index)) {
            if (!sim_tree_next(&disk->pages, &index))
                return;
            off = index * SIM_PAGE;
            continue;
        }
        zero_page(disk, index, at, n, punch);
        off += n;
    }
}

void sim_disk_reserve(struct sim_disk *disk, uint64_t off, uint64_t len)
{
    disk->gen++;
    for (uint64_t p = off / SIM_PAGE; len > 0 && p <= (off + len - 1) / SIM_PAGE; p++) {
        const struct sim_page *page = sim_tree_get(&disk->pages, p);

        if (!page || page->hole)
            set_hole(disk, sim_tree_own(&disk->pages, p), false);
    }
    if (off + len > disk->size)
        set_size(disk, off + len);
}

void sim_disk_truncate(struct sim_disk *disk, uint64_t size)
{
    if (size < disk->size)
        sim_disk_zero(disk, size, disk->size - size, true);
    disk->gen++;
    set_size(disk, size);
}

/* ---- Durability ---- */

struct sim_disk_epoch sim_disk_sync_begin(struct sim_disk *disk)
{
    disk->syncs++;
    disk->sync_gen = disk->gen;
    return (struct sim_disk_epoch){ disk->gen, disk->size };
}

static void sync_sector(struct sim_page *page, unsigned s, uint64_t gen)
{
    uint8_t bit = (uint8_t)BIT(s);

    if (!(page->dirty & bit) || (page->lost & bit))
        return;
    if (page->gen[s] <= gen) {
        take_versions(page, s, UINT64_MAX, NULL);
        page->dirty &= (uint8_t)~bit;
    } else {
        if (page->versions && !page->durable)
            page->durable = xcalloc(1, SIM_PAGE);
        take_versions(page, s, gen, page->durable);
    }
}

static void lose_sector(struct sim_page *page, unsigned s, uint64_t gen)
{
    if (!(page->dirty & BIT(s)))
        return;
    take_versions(page, s, gen, NULL);
    if (page->gen[s] <= gen)
        page->lost |= (uint8_t)BIT(s);
}

/* Goes through the dirty pages and forgets those that are clean then. */
static void end_pages(struct sim_disk *disk, uint64_t gen,
                      void (*end_sector)(struct sim_page *page, unsigned s, uint64_t gen))
{
    size_t kept = 0;

    for (size_t i = 0; i < vec_len(&disk->dirty_pages); i++) {
        uint64_t index = vec_at(&disk->dirty_pages, i);
        struct sim_page *page = sim_tree_own(&disk->pages, index);

        for (unsigned s = 0; s < SIM_PAGE_SECTORS; s++)
            end_sector(page, s, gen);
        if (page->dirty)
            vec_at(&disk->dirty_pages, kept++) = index;
        else
            page_cleaned(disk, index, page);
    }
    vec_truncate(&disk->dirty_pages, kept);
}

void sim_disk_sync_end(struct sim_disk *disk, const struct sim_disk_epoch *epoch,
                       enum sim_sync_outcome outcome)
{
    check(disk->syncs > 0);
    if (outcome == SIM_SYNC_DONE) {
        end_pages(disk, epoch->gen, sync_sector);
        disk->durable_size = disk->size_gen <= epoch->gen ? disk->size : epoch->size;
    } else if (outcome == SIM_SYNC_LOST) {
        end_pages(disk, epoch->gen, lose_sector);
    }
    if (--disk->syncs == 0)
        disk->sync_gen = 0;
}

void sim_disk_sync_all(struct sim_disk *disk)
{
    end_pages(disk, UINT64_MAX, sync_sector);
    disk->durable_size = disk->size;
}

void sim_disk_sync_range(struct sim_disk *disk, uint64_t off, uint64_t len)
{
    uint64_t end = off + len;

    for (; off < end; off += SIM_SECTOR - off % SIM_SECTOR) {
        const struct sim_page *page = sim_tree_get(&disk->pages, off / SIM_PAGE);
        unsigned s = (unsigned)(off % SIM_PAGE / SIM_SECTOR);

        /* A page left without dirty sectors is forgotten by the next sync. */
        if (page && (page->dirty & BIT(s))) {
            struct sim_page *own = sim_tree_own(&disk->pages, off / SIM_PAGE);

            own->lost &= (uint8_t)~BIT(s);
            if (own->data && !own->durable)
                own->durable = xcalloc(1, SIM_PAGE);
            if (own->durable)
                copy_sector(own->durable, own->data, s);
            take_versions(own, s, UINT64_MAX, NULL);
        }
    }
    disk->durable_size = MAX(disk->durable_size, MIN(end, disk->size));
}

/* ---- Space ---- */

static bool is_data(const struct sim_disk *disk, uint64_t index)
{
    const struct sim_page *page = sim_tree_get(&disk->pages, index);

    return page && !page->hole;
}

bool sim_disk_extent(const struct sim_disk *disk, uint64_t off, uint64_t *end)
{
    uint64_t index = off / SIM_PAGE, limit = (disk->size + SIM_PAGE - 1) / SIM_PAGE;
    bool data = is_data(disk, index);

    if (data) {
        while (index < limit && is_data(disk, index))
            index++;
    } else {
        while (sim_tree_next(&disk->pages, &index) && !is_data(disk, index))
            index++;
        if (!is_data(disk, index))
            index = limit;
    }
    *end = index < limit ? index * SIM_PAGE : disk->size;
    return data;
}

uint64_t sim_disk_allocated(const struct sim_disk *disk) { return disk->data_pages * SIM_PAGE; }

/* ---- Crash ---- */

/* Gives a dirty sector one of its possible contents. */
static void crash_sector(struct sim_page *page, unsigned s, struct rng *rng)
{
    const struct sim_version *chosen = NULL;
    uint64_t choices = page->lost & BIT(s) ? 1 : 2; /* The durable and the current one. */
    uint64_t pick;

    for (const struct sim_version *v = page->versions; v; v = v->older)
        choices += v->sector == s;
    pick = rng_below(rng, choices);
    if (pick == 0) {
        copy_sector(own_data(page), page->durable, s);
    } else if (pick >= 2) {
        for (chosen = page->versions; pick > 2 || chosen->sector != s; chosen = chosen->older)
            pick -= chosen->sector == s;
        memcpy(own_data(page) + s * SIM_SECTOR, chosen->data, SIM_SECTOR);
    }
}

static void crash_page(struct sim_disk *disk, uint64_t index, struct rng *rng)
{
    struct sim_page *page = sim_tree_own(&disk->pages, index);

    for (unsigned s = 0; s < SIM_PAGE_SECTORS; s++) {
        if (page->dirty & BIT(s))
            crash_sector(page, s, rng);
    }
    if (page->data && !mem_is_zero(page->data, SIM_PAGE))
        set_hole(disk, page, false);
    page->dirty = page->lost = 0;
    page_cleaned(disk, index, page);
}

struct sim_disk *sim_disk_crash_copy(const struct sim_disk *disk, struct rng *rng)
{
    struct sim_disk *copy = sim_disk_new(disk->path, disk->ino);

    copy->max_size = disk->max_size;
    copy->data_pages = disk->data_pages;
    sim_tree_share(&copy->pages, &disk->pages);
    for (size_t i = 0; i < vec_len(&disk->dirty_pages); i++)
        crash_page(copy, vec_at(&disk->dirty_pages, i), rng);
    copy->size = rng_chance(rng, 1, 2) ? disk->size : disk->durable_size;
    if (copy->size < disk->size)
        sim_disk_zero(copy, copy->size, disk->size - copy->size, true);
    sim_disk_sync_all(copy);
    return copy;
}
