/*
 * The pages of a simulated file, by page number: a radix tree whose nodes and pages are shared between
 * copies and copied when one of them changes. Private to the package.
 *
 * A page not in the tree is a hole that reads as zeroes.
 */
#ifndef EMU_REACTOR_SIM_TREE_H
#define EMU_REACTOR_SIM_TREE_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_PAGE = 4096, SIM_SECTOR = 512, SIM_PAGE_SECTORS = SIM_PAGE / SIM_SECTOR };

/* A content of a sector between the durable one and the current one, needed by a sync under way. */
struct sim_version {
    struct sim_version *older;
    uint64_t gen;
    unsigned sector;
    uint8_t data[SIM_SECTOR];
};

struct sim_page {
    unsigned refs;
    bool hole;     /* Deallocated: not data. Reads as zeroes. */
    uint8_t dirty; /* Sectors whose durable content is another one. */
    uint8_t lost;  /* Of those: a sync failed, no later one makes the current content durable. */
    uint64_t gen[SIM_PAGE_SECTORS]; /* Dirty sectors: of the last write. */
    uint8_t *data;                  /* Owned; NULL: zeroes. */
    uint8_t *durable;               /* Owned; of the dirty sectors; NULL: zeroes. */
    struct sim_version *versions;   /* Owned; newest first. */
};

struct sim_tree_node;

/* Zeroed memory is an empty tree. */
struct sim_tree {
    struct sim_tree_node *root; /* owned */
    unsigned height;            /* Levels of nodes; 0: empty. */
};

void sim_tree_fini(struct sim_tree *tree);
/* Makes the empty tree `to` a copy of `from`, at the cost of one counter. */
void sim_tree_share(struct sim_tree *to, const struct sim_tree *from);

/* NULL: not there. */
const struct sim_page *sim_tree_get(const struct sim_tree *tree, uint64_t index);
/* The page for changing; made, as a hole, when it is not there. */
struct sim_page *sim_tree_own(struct sim_tree *tree, uint64_t index);
void sim_tree_remove(struct sim_tree *tree, uint64_t index);
/* Finds the first page from *index on. */
bool sim_tree_next(const struct sim_tree *tree, uint64_t *index);

/* For the owner of a page. */
void sim_page_drop_versions(struct sim_page *page);

#endif
